import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { sessionStoreSuite, testSession } from "../identity/testing/session-suite.ts";
import { type Control, openControl } from "./control.ts";
import { openSessionKv, type SessionKv } from "./session-kv.ts";
import { controlOptionsOf, startCluster, type TestCluster, testClock, until } from "./testing/cluster.ts";

let cluster: TestCluster;
let control: Control;
let other: Control;
before(async () => {
  cluster = await startCluster();
  control = await openControl(controlOptionsOf(cluster, "one"));
  other = await openControl(controlOptionsOf(cluster, "two"));
});
after(async () => {
  await control?.close();
  await other?.close();
  await cluster?.close();
});

/** When the suite's sessions are not over yet. */
const suiteClock = () => 1_790_000_100 + (Date.now() % 1_000_000) / 1_000;

sessionStoreSuite("openSessionKv()", async () => {
  const store = await openSessionKv({ control, clock: suiteClock, instance: "suite" });
  return { store, stop: async () => store.stop() };
});

async function withTwo(run: (here: SessionKv, there: SessionKv) => Promise<void>): Promise<void> {
  const here = await openSessionKv({ control, clock: testClock, instance: "one" });
  const there = await openSessionKv({ control: other, clock: testClock, instance: "two" });
  try {
    await run(here, there);
  } finally {
    here.stop();
    there.stop();
  }
}

const lasting = (seconds = 600) => testSession({ endsAt: testClock() + seconds });

test("raiseNotBefore() reaches another instance within a second, and one that starts later", async () => {
  await withTwo(async (here, there) => {
    const heard = Promise.withResolvers<[object, number]>();
    there.onNotBefore((key, at) => heard.resolve([key, at]));
    const raised = Date.now();
    await here.raiseNotBefore({ user: "demo-mallory" }, 1_234);
    assert.deepEqual(await heard.promise, [{ user: "demo-mallory" }, 1_234]);
    assert.ok(Date.now() - raised < 1_000);
    assert.equal(there.notBefore({ user: "demo-mallory" }), 1_234);

    const late = await openSessionKv({ control: other, clock: testClock, instance: "three" });
    assert.equal(late.notBefore({ user: "demo-mallory" }), 1_234);
    late.stop();
  });
});

test("two instances that raise one not-before at once leave the later of the two", async () => {
  await withTwo(async (here, there) => {
    await Promise.all(
      [1, 2, 3, 4].map((at) => (at % 2 ? here : there).raiseNotBefore({ session: "contended" }, at)),
    );
    await until(() => here.notBefore({ session: "contended" }) === 4);
    await until(() => there.notBefore({ session: "contended" }) === 4);
    // Memory never goes back; the bucket must not either, or the next instance to start would.
    await here.raiseNotBefore({ session: "contended" }, 3);
    const late = await openSessionKv({ control: other, clock: testClock, instance: "three" });
    assert.equal(late.notBefore({ session: "contended" }), 4);
    late.stop();
  });
});

test("a session deleted or replaced elsewhere is not answered from memory", async () => {
  await withTwo(async (here, there) => {
    const session = lasting();
    await here.create(session);
    const read = await there.get(session.hash);
    assert.ok(read);
    assert.equal(await there.get(session.hash), read, "the second time from memory");
    const mine = await here.get(session.hash);
    assert.ok(mine && (await here.update({ ...mine, lastSeenAt: 7 }, mine)));
    await until(async () => (await there.get(session.hash))?.lastSeenAt === 7, 1_000);
    await here.delete(session.hash);
    await until(async () => (await there.get(session.hash)) === undefined, 1_000);
  });
});

test("a session read while it was being replaced is not kept in memory", async () => {
  const gate = Promise.withResolvers<void>();
  const bucket = other.bucket("sessions");
  const slow: typeof bucket = Object.create(bucket);
  slow.get = async (key) => {
    const entry = await bucket.get(key);
    await gate.promise;
    return entry;
  };
  const behind: Control = { ...other, bucket: (name) => (name === "sessions" ? slow : other.bucket(name)) };
  const here = await openSessionKv({ control, clock: testClock, instance: "one" });
  const there = await openSessionKv({ control: behind, clock: testClock, instance: "two" });
  const session = lasting();
  await here.create(session);
  const stale = there.get(session.hash);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const mine = await here.get(session.hash);
  assert.ok(mine && (await here.update({ ...mine, lastSeenAt: 7 }, mine)));
  await new Promise((resolve) => setTimeout(resolve, 50));
  gate.resolve();
  assert.equal((await stale)?.lastSeenAt, session.lastSeenAt);
  assert.equal((await there.get(session.hash))?.lastSeenAt, 7);
  here.stop();
  there.stop();
});

test("a session is gone when it ends, in the bucket and in memory", async () => {
  await withTwo(async (here, there) => {
    const session = lasting(1);
    await here.create(session);
    assert.ok(await there.get(session.hash));
    await until(async () => (await there.get(session.hash)) === undefined, 5_000);
    assert.equal(await there.get(session.hash), undefined);
  });
});

test("what was used on one instance is known on another at once, until its time is over", async () => {
  await withTwo(async (here, there) => {
    const { hash } = lasting();
    await here.remember(hash, 1);
    assert.equal(await there.isRemembered(hash), true);
    await until(async () => !(await there.isRemembered(hash)), 5_000);
    await assert.rejects(here.remember("another.key", 1), /SHA-256/);
    await assert.rejects(here.isRemembered("*"), /SHA-256/);
  });
});

test("a value that is no session is none, and a damaged not-before refuses everybody", async () => {
  await withTwo(async (here) => {
    const { hash } = lasting();
    await control.jetstream.publish(`$KV.sessions.${hash}`, JSON.stringify({ hash, identity: {} }));
    assert.equal(await here.get(hash), undefined);
    await control.jetstream.publish("$KV.not-before.user.x", "{}");
    await until(() => !here.current);
    assert.throws(() => here.notBefore({ user: "demo-alice" }), /damaged/);
    await control.manager.streams.purge("KV_not-before", { filter: "$KV.not-before.user.x" });
  });
});

test("notBefore() throws while nats-server is away, and knows what happened when it is back", async () => {
  await withTwo(async (here) => {
    await here.raiseNotBefore({ user: "demo-eve" }, 5);
    assert.equal(here.notBefore({ user: "demo-eve" }), 5);
    await cluster.stop();
    // At once, not only when the last beacon has become too old.
    await until(() => !here.current, 2_000);
    assert.throws(() => here.notBefore({ user: "demo-eve" }), /out of date/);
    await assert.rejects(here.raiseNotBefore({ user: "demo-eve" }, 6));
    await assert.rejects(here.isRemembered(lasting().hash));
    await cluster.restart();
    await until(() => here.current, 20_000);
    assert.equal(here.notBefore({ user: "demo-eve" }), 5);
  });
});

test("notBefore() throws when no beacon comes round, though the connection is up", async () => {
  let ahead = 0;
  const store = await openSessionKv({ control, clock: () => testClock() + ahead, instance: "slow" });
  assert.equal(store.notBefore({ user: "demo-nobody" }), undefined);
  ahead = 6;
  assert.throws(() => store.notBefore({ user: "demo-nobody" }), /out of date/);
  store.stop();
});

test("isAlive() knows the instances that are there, and takes one for there until it can know", async () => {
  let ahead = 0;
  const clock = () => testClock() + ahead;
  const here = await openSessionKv({ control, clock, instance: "watching" });
  const there = await openSessionKv({ control: other, clock: testClock, instance: "leaving" });
  try {
    assert.deepEqual([here.isAlive("leaving"), here.isAlive("never was")], [true, true]);
    there.stop();
    // In steps, each with a beacon of its own: a clock that jumps looks like a watch that is stuck.
    for (let step = 0; step < 30 && here.isAlive("leaving"); step += 1) {
      ahead += 1.2;
      await delay(1_100);
    }
    assert.deepEqual(["watching", "leaving", "never was"].map(here.isAlive, here), [true, false, false]);
  } finally {
    here.stop();
    there.stop();
  }
});
