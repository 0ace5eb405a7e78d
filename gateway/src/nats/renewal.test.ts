import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { refused } from "../refusal.ts";
import type { Connection, InboundMessage } from "./connection.ts";
import { createPool } from "./pool.ts";
import {
  identityDialOf,
  startCluster,
  type TestCluster,
  testClock,
  until,
  userOf,
} from "./testing/cluster.ts";

let cluster: TestCluster;
before(async () => {
  cluster = await startCluster();
});
after(() => cluster.close());

const RENEWALS = 10;
const MESSAGES_MIN = 20_000;
const textOf = ({ payload }: { readonly payload: Uint8Array }) => Buffer.from(payload).toString();

/** A pool whose credentials last a few seconds, and how often one was dialled with. */
async function shortLived({ credentialSeconds = 3, failing = (_dials: number): boolean => false } = {}) {
  const dial = identityDialOf(cluster);
  let dials = 0;
  const pool = createPool({
    ...dial,
    dialLink: (...args) => {
      dials += 1;
      if (failing(dials))
        return Promise.resolve(refused({ reason: "nats_unavailable", why: "the test says so" }));
      return dial.dialLink(...args);
    },
    clock: testClock,
    onFault: assert.ifError,
  });
  const { identity, grant } = userOf("ada", { credentialSeconds });
  const outcome = await pool.connectionFor(identity, grant);
  assert.ok(outcome.ok);
  return { pool, connection: outcome.value, renewals: () => dials - 1 };
}

async function subscribed(connection: Connection, subject: string, queue?: string): Promise<string[]> {
  const seen: string[] = [];
  const opened = await connection.subscribe({
    subject,
    ...(queue !== undefined && { queue }),
    onMessage: (message: InboundMessage) => seen.push(textOf(message)),
    onEnd: (why) => seen.push(`ended: ${why}`),
  });
  assert.ok(opened.ok, JSON.stringify(opened));
  return seen;
}

/** What one publisher sent, as it must arrive. */
const numbered = (name: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${name} ${index}`);
const by = (name: string, seen: readonly string[]) => seen.filter((text) => text.startsWith(`${name} `));

test("renewal loses, doubles and reorders nothing, in, out, in queues and in requests", async () => {
  const { pool, connection, renewals } = await shortLived();
  const [north, south] = [await cluster.admin(), await cluster.admin()];
  const everything = await subscribed(connection, "orders.>");
  const overlapping = await subscribed(connection, "orders.north.*");
  const work = await subscribed(connection, "orders.work", "workers");
  south.subscribe("orders.work", {
    queue: "workers",
    callback: (_, message) => void work.push(message.string()),
  });
  const own: string[] = [];
  south.subscribe("orders.own", { callback: (_, message) => void own.push(message.string()) });
  south.subscribe("echo.slow", {
    callback: (_, message) => void setTimeout(() => message.respond(message.data), 300),
  });
  await south.flush();

  let rounds = 0;
  const answers: Promise<boolean>[] = [];
  while (renewals() < RENEWALS || rounds * 10 < MESSAGES_MIN) {
    for (let index = 0; index < 5; index++) {
      const sequence = rounds * 5 + index;
      north.publish("orders.north.1", `north ${sequence}`);
      south.publish("orders.south.1", `south ${sequence}`);
      north.publish("orders.work", `work ${sequence}`);
      const sent = connection.publish({
        subject: "orders.own",
        payload: Buffer.from(`own ${sequence}`),
        headers: [],
      });
      assert.ok(sent.ok, JSON.stringify(sent));
    }
    if (rounds % 10 === 0) {
      const request = { subject: "echo.slow", payload: Buffer.from(`ask ${rounds}`), headers: [] };
      const expected = `ask ${rounds}`;
      answers.push(
        connection.request(request, 5_000).then((reply) => reply.ok && textOf(reply.value) === expected),
      );
    }
    rounds += 1;
    await delay(2);
  }
  const sent = rounds * 5;
  await Promise.all([north.flush(), south.flush(), connection.confirm("orders.own")]);
  await until(() => by("own", own).length >= sent && by("own", everything).length >= sent);
  await delay(100);

  assert.ok(renewals() >= RENEWALS && sent * 2 >= MESSAGES_MIN);
  for (const name of ["north", "south", "own", "work"])
    assert.deepEqual(by(name, everything), numbered(name, sent), name);
  assert.deepEqual(overlapping, numbered("north", sent));
  assert.deepEqual(own, numbered("own", sent));
  assert.deepEqual(new Set(work), new Set(numbered("work", sent)));
  assert.equal(work.length, sent);
  assert.ok((await Promise.all(answers)).every(Boolean));
  await pool.close();
});

test("a renewal that fails is tried again before the credential ends, and nobody notices", async () => {
  const { pool, connection, renewals } = await shortLived({
    credentialSeconds: 7,
    failing: (dials) => dials === 2 || dials === 3,
  });
  const publisher = await cluster.admin();
  const seen = await subscribed(connection, "orders.>");
  let sent = 0;
  for (; renewals() < 3 || sent < 4_000; await delay(1)) publisher.publish("orders.1", `one ${sent++}`);
  await publisher.flush();
  await until(() => seen.length >= sent);
  assert.deepEqual(seen, numbered("one", sent));
  await pool.close();
});

test("a credential that cannot be renewed ends the subscriptions with closed, and the pool forgets the connection", async () => {
  const pool = createPool({ ...identityDialOf(cluster), clock: testClock, onFault: assert.ifError });
  const { identity, grant } = userOf("bob", { seconds: 2.5 });
  const outcome = await pool.connectionFor(identity, grant);
  assert.ok(outcome.ok);
  const seen = await subscribed(outcome.value, "orders.>");
  await until(() => seen.length > 0, 10_000);
  assert.deepEqual(seen, ["ended: closed"]);
  assert.equal(pool.size, 0);
  assert.equal(outcome.value.publish({ subject: "orders.1", payload: Buffer.of(), headers: [] }).ok, false);
  await pool.close();
});

test("a server in lame duck mode is left for another one without loss, duplicate or change of order", async () => {
  const pair = await startCluster({ size: 2 });
  const dial = identityDialOf(pair);
  const dialled: string[] = [];
  const pool = createPool({
    ...dial,
    async dialLink(identity, grant, wish) {
      const first = dialled.length === 0 ? { first: pair.urls[0]?.replace("nats://", "") ?? "" } : {};
      const link = await dial.dialLink(identity, grant, { ...wish, ...first });
      if (link.ok) dialled.push(link.value.server);
      return link;
    },
    clock: testClock,
    onFault: assert.ifError,
  });
  try {
    const { identity, grant } = userOf("ada");
    const outcome = await pool.connectionFor(identity, grant);
    assert.ok(outcome.ok);
    const seen = await subscribed(outcome.value, "orders.>");
    const publisher = await pair.admin(1);
    await until(async () => {
      publisher.publish("orders.warm", "warm");
      await publisher.flush();
      return seen.length > 0;
    });
    let sent = 0;
    const publishFor = async (ms: number) => {
      const end = Date.now() + ms;
      for (; Date.now() < end; await delay(1)) publisher.publish("orders.1", `one ${sent++}`);
    };
    await publishFor(200);
    process.kill(pair.servers[0]?.pid ?? 0, "SIGUSR2");
    while (dialled.length < 2) await publishFor(100);
    await publishFor(2_000);
    await until(() => by("one", seen).length >= sent);
    await delay(100);
    assert.deepEqual(by("one", seen), numbered("one", sent));
    assert.deepEqual(
      dialled,
      pair.urls.map((url) => url.replace("nats://", "")),
    );
  } finally {
    await pool.close();
    await pair.close();
  }
});
