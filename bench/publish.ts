/**
 * What the whole flow costs beside a bare server that only publishes: (a) one publish a request, (a') its publishes
 * coalesced per event-loop turn, (b) Countersign with identity, policy, seal and record. The three take turns, several
 * rounds in one run, against the same nats-server; the figures are medians.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Stack, startStack } from "@countersign/devstack/stack.ts";
import { type LoadResult, load } from "./load.ts";

const CONNECTIONS = 64;
const USERS = 16;
const ROUNDS = 3;
const PATH = "/v1/publish?subject=orders.eu.1.create";
const BODY = JSON.stringify({ order: "x".repeat(244) });

/** The sample policy's rule for the same subject, without its rate. */
const POLICY = `version: 1
roles:
  order-clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ 'publish orders.{region}.*.create' ]
`;

interface Server {
  readonly port: number;
  readonly pid: number;
}

interface Measured extends LoadResult {
  /** CPU of the server's process per request, microseconds; NaN where the system does not tell. */
  readonly cpuUs: number;
}

export async function run({ seconds }: { readonly seconds: number }): Promise<Record<string, number>> {
  const stateDir = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  const policyFile = join(stateDir, "policy.yaml");
  await writeFile(policyFile, POLICY);
  const stack = await startStack({ stateDir, policyFile });
  const baselines: ChildProcess[] = [];
  try {
    const plain = await startBaseline(stack, "plain", baselines);
    const coalesced = await startBaseline(stack, "coalesced", baselines);
    const port = Number(new URL(stack.gatewayUrl).port);
    const gateway = { port, pid: stack.gateway().pid };
    const rounds = { plain: [] as Measured[], coalesced: [] as Measured[], gateway: [] as Measured[] };
    const authorizations = Array.from(
      { length: USERS },
      (_, index) =>
        `Bearer ${stack.identityProvider.tokenFor("alice", { claims: { sub: `user-${index}` } })}`,
    );
    for (let round = 0; round < ROUNDS; round += 1) {
      rounds.plain.push(await measure(plain, ["none"], seconds));
      rounds.gateway.push(await measure(gateway, authorizations, seconds));
      rounds.coalesced.push(await measure(coalesced, ["none"], seconds));
    }
    return figuresOf(rounds);
  } finally {
    for (const child of baselines) child.kill();
    await stack.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

async function startBaseline(stack: Stack, form: string, started: ChildProcess[]): Promise<Server> {
  const program = fileURLToPath(new URL("publish-baseline.ts", import.meta.url));
  const child = spawn(process.execPath, [program, stack.nats.url, stack.adminCredsFile, form], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  started.push(child);
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return JSON.parse(line.toString()) as Server;
}

async function measure(
  server: Server,
  authorizations: readonly string[],
  seconds: number,
): Promise<Measured> {
  const before = await cpuSeconds(server.pid);
  const result = await load({
    port: server.port,
    connections: CONNECTIONS,
    warmUpSeconds: 1,
    seconds,
    path: PATH,
    body: BODY,
    authorizations,
    expect: "HTTP/1.1 202",
  });
  const used = (await cpuSeconds(server.pid)) - before;
  if (result.unexpected > 0) throw new Error(`${result.unexpected} answers were not 202`);
  // The warm-up used CPU too, at the same rate.
  const share = seconds / (seconds + 1);
  return { ...result, cpuUs: (used * share * 1e6) / result.requests };
}

/** @returns user and system time of a process, from /proc; NaN on systems without */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function figuresOf(
  rounds: Readonly<Record<"plain" | "coalesced" | "gateway", readonly Measured[]>>,
): Record<string, number> {
  const rate = (name: keyof typeof rounds) =>
    median(rounds[name].map(({ requests, seconds }) => requests / seconds));
  const of = (name: keyof typeof rounds, figure: "p50Ms" | "p99Ms" | "cpuUs") =>
    median(rounds[name].map((each) => each[figure]));
  const [a, coalesced, b] = [rate("plain"), rate("coalesced"), rate("gateway")];
  return {
    ratioBare: b / a,
    ratioCoalesced: b / coalesced,
    barePerSecond: a,
    bareP50Ms: of("plain", "p50Ms"),
    bareP99Ms: of("plain", "p99Ms"),
    bareCpuUs: of("plain", "cpuUs"),
    coalescedPerSecond: coalesced,
    coalescedP50Ms: of("coalesced", "p50Ms"),
    coalescedP99Ms: of("coalesced", "p99Ms"),
    coalescedCpuUs: of("coalesced", "cpuUs"),
    countersignPerSecond: b,
    countersignP50Ms: of("gateway", "p50Ms"),
    countersignP99Ms: of("gateway", "p99Ms"),
    countersignCpuUs: of("gateway", "cpuUs"),
  };
}

function median(values: readonly number[]): number {
  return [...values].sort((x, y) => x - y)[Math.floor(values.length / 2)] ?? Number.NaN;
}
