/**
 * Two gateways on three nats-servers are restarted one after the other while 200 readers each read 5,000 events of one
 * stream: a million deliveries, none lost, none twice, every one in order and with its sender.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { startGateway } from "@countersign/devstack/gateway-process.ts";
import { type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, credsAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { readLean } from "./lean-reader.ts";
import { openStream, send } from "./support.ts";
import { type ClusterGateway, startTestCluster, type TestCluster } from "./support-cluster.ts";
import { eventually, ready } from "./support-operations.ts";

const READERS = 200;
const EVENTS = 5_000;
/** Each with a connection of their own. */
const USERS = 10;
const PUBLISHERS = 8;
/** Ten times what it takes on two cores that others use as well. */
const TIMEOUT_MS = 600_000;

const POLICY = `version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ publish orders.>, 'read-stream ORDERS orders.{region}.>' ]
    limits: { connections: ${(2 * READERS) / USERS} }
`;

let cluster: TestCluster;
let admin: NatsConnection;
let manager: JetStreamManager;
before(async () => {
  cluster = await startTestCluster({ policy: POLICY });
  const authenticator = credsAuthenticator(await readFile(cluster.adminCredsFile));
  const servers = cluster.servers.map(({ url }) => url);
  admin = await connect({ servers, authenticator, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  manager = await jetstreamManager(admin);
  await manager.streams.add({ name: "ORDERS", subjects: ["orders.>"], num_replicas: 3 });
});
after(async () => {
  await admin?.close();
  await cluster?.stop();
});

/** One reader, as a page's own loop: it goes on at the other gateway wherever it was cut off. */
class Reader {
  readonly #token: string;
  readonly #bodies: number[] | undefined;
  readonly #done = Promise.withResolvers<void>();
  #gateway: number;
  #lastId: string | undefined;
  /** Of the next event. */
  #next = 0;
  opened = 0;

  /** @param bodies  to which it adds what it reads */
  constructor(token: string, gateway: number, bodies?: number[]) {
    this.#bodies = bodies;
    this.#token = token;
    this.#gateway = gateway;
    this.#open();
  }

  /** Fulfils when it has read everything; rejects with what was wrong. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  get read(): number {
    return this.#next;
  }

  #open(): void {
    this.opened += 1;
    const leave = readLean({
      port: Number(new URL(gatewayAt(this.#gateway).url).port),
      path: "/v1/subscribe?subject=orders.eu.%3E&stream=ORDERS&from=all",
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(this.#lastId !== undefined && { "last-event-id": this.#lastId }),
      },
      onBlock: (block) => {
        const fault = this.#take(block);
        if (fault !== undefined) this.#done.reject(new Error(`${fault}: ${block}`));
        if (this.#next === EVENTS) {
          this.#done.resolve();
          leave();
        }
      },
      onClose: (status) => void this.#openAgain(status),
    });
  }

  async #openAgain(status: number): Promise<void> {
    if (this.#next >= EVENTS) return;
    if (![0, 200, 503].includes(status)) this.#done.reject(new Error(`answered ${status}`));
    this.#gateway = 1 - this.#gateway;
    await delay(50);
    this.#open();
  }

  /** The stream has these events alone, so that their sequences leave no number out. @returns what is wrong with it */
  #take(block: string): string | undefined {
    if (!block.startsWith("id: ORDERS:")) return undefined;
    this.#lastId = block.slice(4).split("\n", 1)[0];
    const body = /"data":"(\d+)"/.exec(block)?.[1];
    if (body === undefined) return undefined;
    const expected = `ORDERS:${this.#next + 1}`;
    if (this.#lastId !== expected) return `expected ${expected}`;
    this.#next += 1;
    this.#bodies?.push(Number(body));
    return block.includes('"verified":true') ? undefined : "not verified";
  }
}

function gatewayAt(index: number): ClusterGateway {
  return index === 0 ? cluster.first : cluster.second;
}

/** Publishes events, each until it is acknowledged, at whichever gateway is there. */
async function publish(from: number, to: number): Promise<void> {
  let next = from;
  const token = cluster.provider.tokenFor("alice");
  const one = async (): Promise<void> => {
    let gateway = 0;
    for (let n = next++; n < to; n = next++) {
      for (;;) {
        const answer = await send(`${gatewayAt(gateway).url}/v1/publish?subject=orders.eu.1&stream=ORDERS`, {
          method: "POST",
          token,
          headers: { "idempotency-key": `event-${n}` },
          body: String(n),
        }).catch(() => undefined);
        if (answer?.status === 200) break;
        assert(answer === undefined || answer.status >= 500, answer?.text);
        gateway = 1 - gateway;
      }
    }
  };
  await Promise.all(Array.from({ length: PUBLISHERS }, one));
}

const started: (() => Promise<void>)[] = [];
after(() => Promise.all(started.map((stop) => stop())));

async function restart({ gateway, url, adminUrl }: ClusterGateway, name: string): Promise<void> {
  await gateway.stop();
  const again = await startGateway({ configFile: join(cluster.folder, `${name}.yaml`), publicUrl: url });
  started.push(again.stop);
  await ready(Number(new URL(adminUrl).port));
}

test("a rolling restart of two gateways loses nothing of a million deliveries, and brings nothing twice", {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const began = performance.now();
  const seconds = (): string => `${((performance.now() - began) / 1000).toFixed(1)} s`;
  const tokens = Array.from({ length: USERS }, (_, n) =>
    cluster.provider.tokenFor("alice", { claims: { sub: `reader-${n}` } }),
  );
  const bodies: number[] = [];
  const readers = Array.from(
    { length: READERS },
    (_, n) => new Reader(tokens[n % USERS] ?? "", Math.floor(n / USERS) % 2, n === 0 ? bodies : undefined),
  );
  const all = Promise.all(readers.map(({ done }) => done));
  // Awaited at the end; what is wrong before is not to be taken for a fault of the test itself.
  all.catch(() => {});
  const quarter = EVENTS / 4;
  await publish(0, quarter);
  t.diagnostic(`a quarter is published after ${seconds()}`);
  await Promise.all([restart(cluster.first, "first"), publish(quarter, 2 * quarter)]);
  t.diagnostic(`the first gateway is back after ${seconds()}`);
  await Promise.all([restart(cluster.second, "second"), publish(2 * quarter, 3 * quarter)]);
  t.diagnostic(`the second gateway is back after ${seconds()}`);
  await publish(3 * quarter, EVENTS);
  t.diagnostic(`all is published after ${seconds()}`);
  await all;
  const opened = readers.reduce((sum, reader) => sum + reader.opened, 0);
  t.diagnostic(`all is read after ${seconds()}, by ${opened} streams`);
  assert.deepEqual(
    bodies.toSorted((a, b) => a - b),
    Array.from({ length: EVENTS }, (_, n) => n),
  );
  assert(opened >= 2 * READERS, "each reader was cut off");
});

test("a nats-server that is killed with the consumers of readers, and their connections, is not noticed", {
  timeout: TIMEOUT_MS,
}, async () => {
  const subject = "orders.eu.survives";
  const readers = await Promise.all(
    Array.from({ length: 8 }, (_, n) =>
      openStream(`${gatewayAt(n % 2).url}/v1/subscribe?subject=${subject}&stream=ORDERS`, {
        token: cluster.provider.tokenFor("alice", { claims: { sub: `survivor-${n}` } }),
      }),
    ),
  );
  const store = (body: number) =>
    eventually("the stream to take it", () =>
      jetstream(admin)
        .publish(subject, String(body), { msgID: `survives-${body}` })
        .then(
          () => true,
          () => undefined,
        ),
    );
  for (let n = 0; n < 10; n += 1) await store(n);
  const killed = await homeOfMost(subject);
  process.kill(killed.pid, "SIGKILL");
  await killed.exited;
  for (let n = 10; n < 20; n += 1) await store(n);
  for (const { events } of readers) {
    await eventually("all twenty", () => (events.length >= 21 ? true : undefined));
    assert.deepEqual(
      events.map(({ event, data }) => (event === "message" ? Number(data.data) : event)),
      ["begin", ...Array.from({ length: 20 }, (_, n) => n)],
    );
  }
  for (const reader of readers) reader.leave();
});

/** The server that has most consumers of the subject. */
async function homeOfMost(subject: string): Promise<TestCluster["servers"][number]> {
  const counts = new Map<string, number>();
  for await (const { config, cluster: home } of manager.consumers.list("ORDERS")) {
    const name = home?.leader ?? "";
    if (config.filter_subject === subject) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const [most] = [...counts].toSorted(([, a], [, b]) => b - a);
  const server = cluster.servers[Number(most?.[0].slice(1)) - 1];
  assert(server, `a server of ${JSON.stringify([...counts])}`);
  return server;
}
