/**
 * NATS does not answer: at the start, and under load. The gateway refuses rather than drops, says what is wrong on
 * its administration listener, and recovers by itself. (A nats-server older than 2.12.8 is refused too; dial.test.ts
 * and fitness.test.ts show that with servers that say they are one.)
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type GatewayProcess, startGateway } from "@countersign/devstack/gateway-process.ts";
import type { NatsServer } from "@countersign/devstack/nats-server.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { type EventReader, type JsonObject, send, startTestStack, type TestStack } from "./support.ts";
import {
  type Check,
  eventually,
  type RunningCommand,
  readinessAt,
  ready,
  restartNats,
  runCommand,
  startCommand,
  storedOrders,
  withAdmin,
} from "./support-operations.ts";

let stack: TestStack;
let nats: NatsServer;
let gateway: GatewayProcess;
let adminPort: number;
/** Waits in vain all the while the other tests run. */
let doomed: RunningCommand;

before(async () => {
  adminPort = await findFreePort();
  stack = await startTestStack({ gateway: false, configure: withAdmin(adminPort) });
  nats = stack.nats;
  const yaml = (await readFile(stack.configFile, "utf8"))
    .replace(stack.nats.url, `nats://127.0.0.1:${await findFreePort()}`)
    .replaceAll(/127\.0\.0\.1:\d+' }$/gm, "127.0.0.1:0' }");
  const configFile = join(stack.stateDir, "doomed.yaml");
  await writeFile(configFile, yaml);
  doomed = startCommand(["serve", "--config", configFile]);
});
after(async () => {
  doomed?.kill("SIGKILL");
  await gateway?.stop();
  await nats?.stop();
  await stack?.stop();
});

async function wrongChecks(): Promise<readonly Check[] | undefined> {
  const readiness = await readinessAt(adminPort);
  return readiness?.status === 503 ? readiness.checks.filter(({ ok }) => !ok) : undefined;
}

async function publish(token: string): Promise<{ readonly status: number; readonly body: JsonObject }> {
  const url = `${stack.gatewayUrl}/v1/publish?subject=orders.eu.1.create`;
  const answer = await send(url, { method: "POST", token, body: "x" });
  return { status: answer.status, body: answer.json() };
}

test("a gateway that starts before NATS waits for it, serves nobody meanwhile, and says what it waits for", async () => {
  await nats.stop();
  const starting = startGateway({
    configFile: stack.configFile,
    publicUrl: stack.gatewayUrl,
    logFile: join(stack.stateDir, "gateway.log"),
  });
  const [check] = await eventually("readyz to be red", wrongChecks);
  assert.deepEqual([check?.check, check?.found], ["nats", "not connected yet"]);
  assert.match(check?.remedy ?? "", /countersign doctor/);
  await assert.rejects(send(`${stack.gatewayUrl}/healthz`, {}), { code: "ECONNREFUSED" });
  nats = await restartNats(stack);
  gateway = await starting;
  await ready(adminPort);
  await eventually("the administrator's connection", () =>
    stack.admin.flush().then(
      () => true,
      () => undefined,
    ),
  );
  assert.equal((await publish(stack.token("alice"))).status, 202);
});

test("when NATS stops under load, what it had received is in the stream, all that was accepted has a completion, and the rest is refused", async () => {
  const stream = await stack.stream(["orders.eu.>"], { token: stack.token("alice") });
  const accepted: string[] = [];
  const refused: JsonObject[] = [];
  let stopping: Promise<void> | undefined;
  let received: readonly string[] = [];
  /** What the record knows to be received by then; what is on its way while nats-server ends, it may not store. */
  async function stop(): Promise<void> {
    received = [...completions()].filter(([, outcome]) => outcome === "received").map(([txn]) => txn);
    await nats.stop();
  }
  async function load(): Promise<void> {
    const token = stack.token("alice");
    for (let after = 0; after < 20; ) {
      const { status, body } = await publish(token);
      if (status === 202) accepted.push(String(body.txn));
      else if (status === 503) refused.push(body);
      else assert.equal(status, 429);
      if (accepted.length >= 300) stopping ??= stop();
      if (status === 503) after += 1;
    }
  }
  await Promise.all(Array.from({ length: 6 }, load));
  await stopping;

  assert(accepted.length >= 300, String(accepted.length));
  for (const body of refused) {
    assert.equal(body.code, "unavailable");
    assert.doesNotMatch(JSON.stringify(body), /nats|stream|connection/i);
  }
  const checks = await eventually("readyz to be red", wrongChecks);
  assert(checks.some(({ check }) => check === "nats"));
  await eventually("the completion of all", () => {
    const found = completions();
    return accepted.every((txn) => ["received", "unknown"].includes(found.get(txn) ?? "")) ? true : undefined;
  });

  nats = await restartNats(stack);
  await ready(adminPort);
  await eventually("the administrator's connection", () =>
    stack.admin.flush().then(
      () => true,
      () => undefined,
    ),
  );
  const stored = new Set((await storedOrders(stack)).map(({ txn }) => txn));
  assert(received.length > 100, String(received.length));
  assert.deepEqual(
    received.filter((txn) => !stored.has(txn)),
    [],
  );
  const recorded = new Set(stack.audit().map(({ txn }) => txn));
  assert.deepEqual(
    [...stored].filter((txn) => !recorded.has(txn)),
    [],
  );
  await endsWithItsGap(stream);
});

/** How each message fared, as far as the record knows. */
function completions(): ReadonlyMap<string, string> {
  const lines = stack.audit().filter(({ kind }) => kind === "completion");
  return new Map(
    lines.flatMap(({ txns, outcome }) =>
      (txns as readonly string[]).map((txn) => [txn, String(outcome)] as const),
    ),
  );
}

/** What was published while NATS was away is missing on the stream of before: it ends, and says to open another. */
async function endsWithItsGap(stream: EventReader): Promise<void> {
  const last = await stream.ended;
  assert.deepEqual(last, { event: "end", data: { code: "unavailable", reconnect: true } });
  const again = await stack.stream(["orders.eu.>"], { token: stack.token("alice") });
  await eventually("publishing", async () =>
    (await publish(stack.token("alice"))).status === 202 ? true : undefined,
  );
  await again.read(1);
  again.leave();
}

test("after NATS was away the gateway is as it was: publishing, sign-outs, records", async () => {
  await eventually("publishing", async () =>
    (await publish(stack.token("bob"))).status === 403 ? true : undefined,
  );
  const { status, body } = await publish(stack.token("alice"));
  assert.equal(status, 202);
  const [, completion] = await stack.auditOf(body.txn, 2);
  assert.equal(completion?.outcome, "received");
});

test("a server that trusts no proxy is not fit: readyz is red, and doctor says what to do about it", async () => {
  await gateway.stop();
  await nats.stop();
  let trusting = "";
  nats = await restartNats(stack, (config) => {
    trusting = config;
    return config.replace(/^proxies \{[\s\S]*?^\}$/m, "");
  });
  const starting = startCommand(["serve", "--config", stack.configFile]);
  const [check] = await eventually("readyz to be red", wrongChecks);
  assert.equal(check?.check, "nats");
  starting.kill("SIGTERM");
  await starting.done;
  const { code, out } = await runCommand(["doctor", "--config", stack.configFile]);
  assert.equal(code, 1);
  assert.match(out, /WRONG/);
  assert.match(out, /Authorization Violation\n.*→ .*`proxies`/);
  await nats.stop();
  nats = await restartNats(stack, () => trusting);
});

test("a gateway that is told to end while NATS is away ends, whether it waits or serves", async () => {
  await nats.stop();
  const waiting = startCommand(["serve", "--config", stack.configFile]);
  await eventually("readyz to be red", wrongChecks);
  waiting.kill("SIGTERM");
  const toldAt = performance.now();
  const { code, err } = await waiting.done;
  assert.equal(code, 0);
  assert.doesNotMatch(err, /cannot connect/);
  // By itself it would give up after thirty seconds.
  assert(performance.now() - toldAt < 10_000);

  nats = await restartNats(stack);
  const serving = startCommand(["serve", "--config", stack.configFile]);
  await ready(adminPort);
  await nats.stop();
  serving.kill("SIGTERM");
  assert.equal((await serving.done).code, 0);
});

test("a gateway whose NATS never comes ends, saying what to do", async () => {
  const { code, err } = await doomed.done;
  assert.equal(code, 1);
  assert.match(
    err,
    /^Waited 30 seconds for NATS, in vain: cannot connect to NATS at 127\.0\.0\.1:\d+: .*`countersign doctor`/m,
  );
});
