/** One subject to a thousand readers: as published and from a stream, beside a bare HTTP server and nats.js. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { type Stack, startStack } from "@countersign/devstack/stack.ts";
import type { ReadersPlan } from "./fan-out-readers.ts";

const READERS = 1_000;
const USERS = 10;
const MESSAGES = 200;
const PUBLISHERS = 16;
const SUBJECT = "orders.eu.fan-out";
const BARE_SUBJECT = "bare.fan-out";

const POLICY = `version: 1
roles:
  reader:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ 'publish orders.{region}.*', 'subscribe orders.{region}.>', 'read-stream ORDERS orders.{region}.>' ]
    limits: { connections: ${(1.5 * READERS) / USERS} }
`;

export async function run(_options: { readonly seconds: number }): Promise<Record<string, number>> {
  const stateDir = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  const policyFile = join(stateDir, "policy.yaml");
  await writeFile(policyFile, POLICY);
  const stack = await startStack({ stateDir, policyFile });
  try {
    const tokens = Array.from({ length: USERS }, (_, n) =>
      stack.identityProvider.tokenFor("alice", { claims: { sub: `reader-${n}` } }),
    );
    const port = Number(new URL(stack.gatewayUrl).port);
    const path = `/v1/subscribe?subject=${SUBJECT}`;
    const publish = () => publishSealed(stack);
    const plan = { readers: READERS, port, path, tokens };
    const core = await measure(plan, stack.gateway().pid, publish);
    // A process of its own for each, or the second would take what the first has left.
    const { pid } = await stack.restartGateway();
    const stored = await measure({ ...plan, path: `${path}&stream=ORDERS` }, pid, publish);
    const bare = await measureBare(stack);
    const natsJs = await measureNatsJs(stack);
    return {
      eventsPerSecond: core.eventsPerSecond,
      eventsPerSecondFromStream: stored.eventsPerSecond,
      eventsPerSecondBareHttp: bare.eventsPerSecond,
      eventsPerSecondNatsJs: natsJs.eventsPerSecond,
      ratioToBareHttp: core.eventsPerSecond / bare.eventsPerSecond,
      ratioToBareHttpFromStream: stored.eventsPerSecond / bare.eventsPerSecond,
      bytesPerReader: core.bytesPerReader,
      bytesPerReaderFromStream: stored.bytesPerReader,
      bytesPerReaderBareHttp: bare.bytesPerReader,
    };
  } finally {
    await stack.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

interface Measured {
  readonly eventsPerSecond: number;
  readonly bytesPerReader: number;
}

/** @param pid  of the process whose memory the readers take */
async function measure(plan: ReadersPlan, pid: number, publish: () => Promise<void>): Promise<Measured> {
  const before = await residentBytes(pid);
  const readers = await openReaders(plan);
  try {
    const bytesPerReader = ((await residentBytes(pid)) - before) / READERS;
    // What is compiled and cached on the way is not what fan-out costs.
    await Promise.all([readers.had(READERS * MESSAGES), publish()]);
    const began = performance.now();
    await Promise.all([readers.had(2 * READERS * MESSAGES), publish()]);
    const seconds = (performance.now() - began) / 1000;
    return { eventsPerSecond: (READERS * MESSAGES) / seconds, bytesPerReader };
  } finally {
    await readers.leave();
  }
}

/** Several at once, as users are. */
async function publishSealed({ gatewayUrl, identityProvider }: Stack): Promise<void> {
  const headers = { authorization: `Bearer ${identityProvider.tokenFor("alice")}` };
  const url = `${gatewayUrl}/v1/publish?subject=${SUBJECT}`;
  let next = 0;
  const publisher = async (): Promise<void> => {
    for (let n = next++; n < MESSAGES; n = next++)
      await fetch(url, { method: "POST", headers, body: `message ${n}` });
  };
  await Promise.all(Array.from({ length: PUBLISHERS }, publisher));
}

async function measureBare({ nats, adminCredsFile, admin }: Stack): Promise<Measured> {
  const child = start("fan-out-baseline.ts", [nats.url, adminCredsFile, BARE_SUBJECT]);
  try {
    const { value: port } = await linesOf(child).next();
    const plan = { readers: READERS, port: Number(port), path: "/", tokens: [""] };
    return await measure(plan, child.pid ?? 0, () => publishPlain(admin));
  } finally {
    child.kill();
  }
}

async function measureNatsJs({ nats, adminCredsFile, admin }: Stack): Promise<Measured> {
  const plan = {
    readers: READERS,
    natsUrl: nats.url,
    credsFile: adminCredsFile,
    subject: BARE_SUBJECT,
    connections: USERS,
  };
  return await measure(plan, process.pid, () => publishPlain(admin));
}

/** As many bytes as the gateway makes of a message. */
const EVENT = `data: {"subject":"${SUBJECT}","data":"message 000","headers":{},"sender":{"verified":true,"user":"demo-alice","issuer":"demo"},"id":"01a21a03-678a-750b-9e0c-1f25e5571788","txn":"01a21a03-678a-750b-9e0c-1f25e5571788","time":"2026-01-31T12:00:00.000Z"}\n\n`;

async function publishPlain(admin: Stack["admin"]): Promise<void> {
  for (let n = 0; n < MESSAGES; n += 1) {
    admin.publish(BARE_SUBJECT, EVENT);
    await admin.flush();
  }
}

interface Readers {
  /** Fulfils once all of them together have had so many events. */
  had(events: number): Promise<void>;
  leave(): Promise<void>;
}

async function openReaders(plan: ReadersPlan): Promise<Readers> {
  const child = start("fan-out-readers.ts", []);
  const lines = linesOf(child);
  child.stdin.write(`${JSON.stringify(plan)}\n`);
  await lines.next();
  return {
    async had(events) {
      child.stdin.write(`${events}\n`);
      const { done } = await lines.next();
      if (done) throw new Error("the readers have ended");
    },
    async leave() {
      const exited = new Promise((resolve) => child.once("exit", resolve));
      child.kill();
      await exited;
    },
  };
}

type Child = ChildProcessByStdio<Writable, Readable, null>;

function start(script: string, args: readonly string[]): Child {
  const path = fileURLToPath(new URL(script, import.meta.url));
  return spawn(process.execPath, [path, ...args], { stdio: ["pipe", "pipe", "inherit"] });
}

function linesOf(child: Child): AsyncIterator<string> {
  return createInterface({ input: child.stdout })[Symbol.asyncIterator]();
}

/** @returns what the process holds in memory, from /proc; NaN on systems without */
async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}
