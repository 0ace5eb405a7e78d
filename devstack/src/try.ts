// npm run -s try -- alice | bob | tamper: three things that go through, or do not.
import { readFile } from "node:fs/promises";
import { createVerifier, SealError } from "@countersign/seal";
import { connect, credsAuthenticator, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { DevstackError, reportAndExit } from "./devstack-error.ts";
import { fetchToken } from "./fetch-token.ts";
import { EXPLAIN } from "./greeting.ts";
import { type Running, readRunning, readScriptArguments } from "./running.ts";
import { TRUST_DOMAIN } from "./stack.ts";

const SUBJECT = "orders.eu.1.create";
const ORDER = JSON.stringify({ article: "apples", quantity: 3 });
const FORGED_ORDER = JSON.stringify({ article: "apples", quantity: 3000 });
const ARRIVAL_TIMEOUT_MS = 5_000;

const trials: Readonly<Record<string, (running: Running) => Promise<void>>> = { alice, bob, tamper };

try {
  const { asked, stateDir } = readScriptArguments();
  const trial = trials[asked ?? ""];
  if (trial === undefined) throw new DevstackError("Usage: npm run -s try -- alice | bob | tamper");
  await trial(await readRunning(stateDir));
} catch (error) {
  reportAndExit(error);
}

async function alice(running: Running): Promise<void> {
  console.log(`alice, an order clerk in region eu, publishes ${SUBJECT}:`);
  const { status, body } = await publishAs("alice", running);
  console.log(`  ${status} ${body}`);
  console.log("The subscriber in the terminal of `npm start` shows it with her name.");
}

async function bob(running: Running): Promise<void> {
  console.log(`bob, an order clerk in region us, publishes ${SUBJECT}:`);
  const { status, body } = await publishAs("bob", running);
  console.log(`  ${status} ${body}`);
  console.log("Vague on purpose. You hold the policy, and may know why:");
  console.log(`  ${EXPLAIN}`);
}

/** Somebody with full rights in NATS takes a message of alice's and changes what she ordered. */
async function tamper(running: Running): Promise<void> {
  const admin = await connect({
    servers: running.natsUrl,
    authenticator: credsAuthenticator(await readFile(running.adminCredsFile)),
  });
  try {
    const original = firstMessage(admin);
    const { status, body } = await publishAs("alice", running);
    if (status !== 202) throw new DevstackError(`alice's own message was not taken: ${status} ${body}`);
    const { headers } = await original;
    console.log(`alice ordered ${ORDER}.`);
    console.log("The administrator of NATS, who may publish anything, sends it again under her seal as");
    console.log(`  ${FORGED_ORDER}`);
    const forged = firstMessage(admin);
    admin.publish(SUBJECT, FORGED_ORDER, headers ? { headers } : {});
    const verify = createVerifier({ issuer: running.gatewayUrl, audience: TRUST_DOMAIN });
    const code = await verify(await forged).then(
      () => "nothing: it was taken as genuine",
      (error: unknown) => (error instanceof SealError ? error.code : String(error)),
    );
    console.log(`A subscriber refuses it: ${code}. So does the one in the terminal of \`npm start\`.`);
  } finally {
    await admin.close();
  }
}

async function firstMessage(connection: NatsConnection): Promise<Msg> {
  const subscription = connection.subscribe(SUBJECT, { max: 1, timeout: ARRIVAL_TIMEOUT_MS });
  await connection.flush();
  for await (const message of subscription) return message;
  throw new DevstackError(`nothing arrived on ${SUBJECT}`);
}

async function publishAs(
  who: "alice" | "bob",
  running: Running,
): Promise<{ readonly status: number; readonly body: string }> {
  const token = await fetchToken(running, who);
  const response = await fetch(`${running.gatewayUrl}/v1/publish?subject=${SUBJECT}`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: ORDER,
  });
  return { status: response.status, body: await response.text() };
}
