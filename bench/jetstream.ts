/**
 * Publishing to a stream over HTTP, each message acknowledged, beside nats.js doing the same directly: alone, in batches,
 * and in batches whose lines have keys. They take turns, several rounds in one run, against the same nats-server, with
 * as many messages in flight; the figures are medians.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Stack, startStack } from "@countersign/devstack/stack.ts";
import { load } from "./load.ts";

const IN_FLIGHT = 64;
const ROUNDS = 3;
const SUBJECT = "orders.eu.1.create";
const BODY = JSON.stringify({ order: "x".repeat(244) });
/** Four callers, each with so many lines in a batch. */
const CALLERS = 4;
const LINES = 250;

const POLICY = `version: 1
roles:
  order-clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ 'publish orders.{region}.*.create' ]
`;

interface Measured {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

type Way = "direct" | "http" | "batch" | "keyedBatch";

export async function run({ seconds }: { readonly seconds: number }): Promise<Record<string, number>> {
  const stateDir = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  const policyFile = join(stateDir, "policy.yaml");
  await writeFile(policyFile, POLICY);
  const stack = await startStack({ stateDir, policyFile });
  try {
    const rounds: Record<Way, Measured[]> = { direct: [], http: [], batch: [], keyedBatch: [] };
    for (let round = 0; round < ROUNDS; round += 1) {
      rounds.direct.push(await publishDirectly(stack, seconds));
      rounds.http.push(await publishAlone(stack, seconds));
      rounds.batch.push(await publishInBatches(stack, seconds, () => ""));
      let key = 0;
      rounds.keyedBatch.push(
        await publishInBatches(stack, seconds, () => `,"idempotencyKey":"${round}-${key++}"`),
      );
    }
    return figuresOf(rounds);
  } finally {
    await stack.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

async function publishDirectly(stack: Stack, seconds: number): Promise<Measured> {
  const program = fileURLToPath(new URL("jetstream-baseline.ts", import.meta.url));
  const args = [program, stack.nats.url, stack.adminCredsFile, String(IN_FLIGHT), String(seconds), BODY];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as Measured;
}

async function publishAlone(stack: Stack, seconds: number): Promise<Measured> {
  const result = await load({
    port: Number(new URL(stack.gatewayUrl).port),
    connections: IN_FLIGHT,
    warmUpSeconds: 1,
    seconds,
    path: `/v1/publish?subject=${SUBJECT}&stream=ORDERS`,
    body: BODY,
    authorizations: [`Bearer ${stack.identityProvider.tokenFor("alice")}`],
    expect: "HTTP/1.1 200",
  });
  if (result.unexpected > 0) throw new Error(`${result.unexpected} answers were not 200`);
  return { ...result, perSecond: result.requests / result.seconds };
}

/** Latencies are of whole batches. */
async function publishInBatches(stack: Stack, seconds: number, member: () => string): Promise<Measured> {
  const agent = new Agent({ keepAlive: true });
  const token = stack.identityProvider.tokenFor("alice");
  const latencies: number[] = [];
  const began = performance.now();
  const end = began + seconds * 1000;
  const data = JSON.stringify(BODY);
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      for (let now = performance.now(); now < end; now = performance.now()) {
        const lines = Array.from(
          { length: LINES },
          () => `{"subject":"${SUBJECT}","data":${data}${member()}}\n`,
        );
        await sendBatch(`${stack.gatewayUrl}/v1/publish?stream=ORDERS`, {
          token,
          agent,
          body: lines.join(""),
        });
        latencies.push(performance.now() - now);
      }
    }),
  );
  agent.destroy();
  const took = (performance.now() - began) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (part: number): number => latencies[Math.floor(latencies.length * part)] ?? 0;
  return { perSecond: (latencies.length * LINES) / took, p50Ms: at(0.5), p99Ms: at(0.99) };
}

function sendBatch(
  url: string,
  { token, agent, body }: { readonly token: string; readonly agent: Agent; readonly body: string },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/x-ndjson" };
    const sending = request(url, { method: "POST", agent, headers });
    sending.once("error", reject).once("response", (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (more: string) => {
        text += more;
      });
      response.once("end", () => {
        const stored = text.match(/"status":200/g)?.length ?? 0;
        if (stored === LINES) resolve();
        else reject(new Error(`${LINES - stored} of ${LINES} lines were not stored: ${text.slice(-300)}`));
      });
    });
    sending.end(body);
  });
}

function figuresOf(rounds: Readonly<Record<Way, readonly Measured[]>>): Record<string, number> {
  const figure = (way: Way, name: keyof Measured): number => median(rounds[way].map((each) => each[name]));
  const figures: Record<string, number> = {};
  for (const way of ["http", "batch", "keyedBatch"] as const) {
    figures[`${way}Ratio`] = figure(way, "perSecond") / figure("direct", "perSecond");
  }
  for (const way of ["direct", "http", "batch", "keyedBatch"] as const) {
    figures[`${way}PerSecond`] = figure(way, "perSecond");
    figures[`${way} p50Ms`] = figure(way, "p50Ms");
    figures[`${way} p99Ms`] = figure(way, "p99Ms");
  }
  return figures;
}

function median(values: readonly number[]): number {
  return [...values].sort((x, y) => x - y)[Math.floor(values.length / 2)] ?? Number.NaN;
}
