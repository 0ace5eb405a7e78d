/**
 * Processes that are killed under load, on three servers with two gateways: of 20,000 messages each that were acknowledged, none
 * is lost and none is there twice, as long as what was not answered is sent again under its key.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type GatewayProcess, startGateway } from "@countersign/devstack/gateway-process.ts";
import { type NatsServer, startNatsServer } from "@countersign/devstack/nats-server.ts";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, credsAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { send } from "./support.ts";
import { startTestCluster, type TestCluster } from "./support-cluster.ts";
import { eventually } from "./support-operations.ts";

const MESSAGES = 20_000;
/** Killed once so many are acknowledged. */
const KILL_AT = 5_000;
const LINES_PER_BATCH = 250;
const CALLERS = 4;
/** What may be answered while something is down; anything else is a fault. */
const PASSING: ReadonlySet<unknown> = new Set([409, 429, 503, 504]);
const TIMEOUT_MS = 110_000;

const POLICY = `version: 1
roles:
  clerk: { given-to: [ { issuer: demo, groups: Orders.Clerks } ], may: [ 'publish kill.>' ] }
`;

let cluster: TestCluster;
let admin: NatsConnection;
let restarted: GatewayProcess | undefined;
/** Those that run now. */
let servers: NatsServer[] = [];

before(async () => {
  cluster = await startTestCluster({ policy: POLICY });
  servers = [...cluster.servers];
  admin = await connect({
    servers: cluster.servers.map(({ url }) => url),
    authenticator: credsAuthenticator(await readFile(cluster.adminCredsFile)),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
  });
});
after(async () => {
  await admin?.close();
  await restarted?.stop();
  await cluster?.stop();
  for (const server of servers) await server.stop();
});

async function addStream(name: string): Promise<void> {
  const manager = await jetstreamManager(admin);
  await eventually(`the stream ${name}`, () =>
    manager.streams.add({ name, subjects: [`kill.${name}.>`], num_replicas: 3 }).catch(() => undefined),
  );
}

interface Load {
  readonly stream: string;
  readonly urls: readonly string[];
  /** Told after each acknowledgement how many there are. */
  readonly onAcknowledged: (count: number) => void;
}

/** Stores messages 0 to MESSAGES, each until it is acknowledged. @returns where each is */
async function storeAll({ stream, urls, onAcknowledged }: Load): Promise<ReadonlyMap<number, number>> {
  const places = new Map<number, number>();
  const token = cluster.provider.tokenFor("alice");
  const agent = new Agent({ keepAlive: true });
  let next = 0;

  async function caller(first: number): Promise<void> {
    for (let turn = first; next < MESSAGES; turn += 1) {
      let pending = Array.from({ length: Math.min(LINES_PER_BATCH, MESSAGES - next) }, () => next++);
      for (; pending.length > 0; turn += 1) {
        const answers = await sendBatch(urls[turn % urls.length] ?? "", pending);
        for (const [at, { status, sequence }] of answers.entries()) {
          if (status !== 200) assert(PASSING.has(status), `line answered ${String(status)}`);
          else places.set(pending[at] ?? -1, Number(sequence));
        }
        onAcknowledged(places.size);
        const before = pending.length;
        pending = pending.filter((n) => !places.has(n));
        if (pending.length === before) await delay(100);
      }
    }
  }

  /** @returns what was answered before the connection broke, line by line */
  function sendBatch(url: string, numbers: readonly number[]): Promise<Record<string, unknown>[]> {
    const lines = numbers.map((n) =>
      JSON.stringify({
        subject: `kill.${stream}.${n % 7}`,
        data: String(n),
        idempotencyKey: `${stream}-${n}`,
      }),
    );
    return new Promise((resolve) => {
      let text = "";
      const done = (): void => resolve(wholeLinesOf(text));
      const sending = request(`${url}/v1/publish?stream=${stream}&timeout=8s`, {
        method: "POST",
        agent,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/x-ndjson" },
      });
      sending.once("error", done);
      sending.once("response", (response) => {
        response.setEncoding("utf8").on("error", done).once("close", done);
        response.on("data", (more: string) => {
          if (response.statusCode === 200) text += more;
        });
      });
      sending.end(lines.join("\n"));
    });
  }

  await Promise.all(Array.from({ length: CALLERS }, (_, index) => caller(index)));
  agent.destroy();
  return places;
}

/** What broke off with its connection is no answer. */
function wholeLinesOf(text: string): Record<string, unknown>[] {
  const lines = text.split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** @returns of each message, where it is in the stream, as often as it is there */
async function stored(stream: string): Promise<ReadonlyMap<number, readonly number[]>> {
  const found = new Map<number, number[]>();
  const consumer = await jetstream(admin).consumers.get(stream);
  const { num_pending: count } = await consumer.info();
  if (count === 0) return found;
  for await (const message of await consumer.consume({ max_messages: 2_000 })) {
    const n = Number(message.string());
    found.set(n, [...(found.get(n) ?? []), message.seq]);
    if (message.info.pending === 0) break;
  }
  return found;
}

async function assertExactlyOnce(stream: string, places: ReadonlyMap<number, number>): Promise<void> {
  assert.equal(places.size, MESSAGES);
  const found = await stored(stream);
  assert.equal(found.size, MESSAGES);
  for (let n = 0; n < MESSAGES; n += 1) assert.deepEqual(found.get(n), [places.get(n)], `message ${n}`);
}

/** What runs once, when so many are acknowledged. */
function at(
  count: number,
  run: () => Promise<void>,
): { readonly look: (now: number) => void; readonly done: () => Promise<void> } {
  let running: Promise<void> | undefined;
  return {
    look: (now) => {
      if (now >= count) running ??= run();
    },
    done: async () => await (running ?? assert.fail("nothing was killed")),
  };
}

test("a gateway is killed: nothing that was acknowledged is lost, nothing is there twice", {
  timeout: TIMEOUT_MS,
}, async (t) => {
  await addStream("GATEWAY");
  const began = performance.now();
  const { first, second, folder } = cluster;
  const kill = at(KILL_AT, async () => {
    process.kill(first.gateway.pid, "SIGKILL");
    await first.gateway.exited;
    restarted = await startGateway({ configFile: join(folder, "first.yaml"), publicUrl: first.url });
  });
  const urls = [first.url, second.url];
  const places = await storeAll({ stream: "GATEWAY", urls, onAcknowledged: kill.look });
  await kill.done();
  await assertExactlyOnce("GATEWAY", places);
  t.diagnostic(`${MESSAGES} messages in ${Math.round(performance.now() - began)} ms`);
});

/** Kills the server that leads a stream. @returns starts it again */
async function killLeaderOf(stream: string): Promise<() => Promise<void>> {
  const { cluster: placed } = await (await jetstreamManager(admin)).streams.info(stream);
  const index = ["n1", "n2", "n3"].indexOf(placed?.leader ?? "");
  const leader = servers[index];
  assert(leader);
  process.kill(leader.pid, "SIGKILL");
  await leader.exited;
  return async () => {
    const config = await readFile(join(cluster.folder, `n${index + 1}.conf`), "utf8");
    servers[index] = await startNatsServer({ config, port: leader.port });
  };
}

test("the leader of the stream is killed: nothing that was acknowledged is lost, nothing is there twice", {
  timeout: TIMEOUT_MS,
}, async (t) => {
  await addStream("LEADER");
  const began = performance.now();
  let restart = async (): Promise<void> => {};
  const kill = at(KILL_AT, async () => {
    restart = await killLeaderOf("LEADER");
  });
  const urls = [cluster.first.url, cluster.second.url];
  const places = await storeAll({ stream: "LEADER", urls, onAcknowledged: kill.look });
  await kill.done();
  await assertExactlyOnce("LEADER", places);
  t.diagnostic(`${MESSAGES} messages in ${Math.round(performance.now() - began)} ms`);
  await restart();
});

test("within the caller's time an election is waited for: every message has its place, once, without a key", {
  timeout: TIMEOUT_MS,
}, async () => {
  await addStream("CHAIN");
  const token = cluster.provider.tokenFor("alice");
  const agent = new Agent({ keepAlive: true });
  const [chains, links] = [16, 60];
  let acknowledged = 0;
  const kill = at((chains * links) / 3, async () => void (await killLeaderOf("CHAIN")));

  /**
   * Each names the sequence of the one before it, so that none may be missing, and none be stored that was not
   * acknowledged. Where the gateway's own record or sign-outs had their leader there too, nothing is sent at all.
   */
  async function link(index: number, n: number, last: number): Promise<number> {
    const path = `/v1/publish?subject=kill.CHAIN.${index}&stream=CHAIN&timeout=30s`;
    const headers = { "nats-expected-last-subject-sequence": String(last) };
    for (let turn = n; ; turn += 1) {
      const url = [cluster.first.url, cluster.second.url][turn % 2];
      const how = { method: "POST", token, headers, body: `${index}.${n}` };
      const answer = await send(`${url}${path}`, how, agent);
      const { sequence, duplicate, code } = answer.json();
      if (code === "unavailable") {
        await delay(200);
        continue;
      }
      assert.deepEqual([answer.status, duplicate], [200, false], answer.text);
      return Number(sequence);
    }
  }

  async function chain(index: number): Promise<void> {
    let last = 0;
    for (let n = 0; n < links; n += 1) {
      last = await link(index, n, last);
      acknowledged += 1;
      kill.look(acknowledged);
    }
  }

  await Promise.all(Array.from({ length: chains }, (_, index) => chain(index)));
  await kill.done();
  agent.destroy();
  const { state } = await (await jetstreamManager(admin)).streams.info("CHAIN");
  assert.equal(state.messages, chains * links);
});
