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
/** One user is like with like: a baseline has one connection to NATS too. Each further user has one of their own. */
const MANY_USERS = 16;
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
    const rounds: Rounds = { plain: [], coalesced: [], gateway: [], gatewayManyUsers: [] };
    const users = Array.from(
      { length: MANY_USERS },
      (_, index) =>
        `Bearer ${stack.identityProvider.tokenFor("alice", { claims: { sub: `user-${index}` } })}`,
    );
    for (let round = 0; round < ROUNDS; round += 1) {
      rounds.plain.push(await measure(plain, ["none"], seconds));
      rounds.gateway.push(await measure(gateway, users.slice(0, 1), seconds));
      rounds.coalesced.push(await measure(coalesced, ["none"], seconds));
      rounds.gatewayManyUsers.push(await measure(gateway, users, seconds));
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

type Rounds = Readonly<Record<"plain" | "coalesced" | "gateway" | "gatewayManyUsers", Measured[]>>;

function figuresOf(rounds: Rounds): Record<string, number> {
  const rate = (name: keyof Rounds) =>
    median(rounds[name].map(({ requests, seconds }) => requests / seconds));
  const figures: Record<string, number> = {
    ratioBare: rate("gateway") / rate("plain"),
    ratioCoalesced: rate("gateway") / rate("coalesced"),
    ratioCoalescedManyUsers: rate("gatewayManyUsers") / rate("coalesced"),
  };
  for (const name of ["plain", "coalesced", "gateway", "gatewayManyUsers"] as const) {
    figures[`${name}PerSecond`] = rate(name);
    for (const figure of ["p50Ms", "p99Ms", "cpuUs"] as const) {
      figures[`${name} ${figure}`] = median(rounds[name].map((each) => each[figure]));
    }
  }
  return figures;
}

function median(values: readonly number[]): number {
  return [...values].sort((x, y) => x - y)[Math.floor(values.length / 2)] ?? Number.NaN;
}
