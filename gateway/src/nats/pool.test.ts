import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Connection, Pool } from "./connection.ts";
import { createPool, type PoolOptions } from "./pool.ts";
import {
  identityDialOf,
  startCluster,
  type TestCluster,
  type TestUser,
  testClock,
  until,
  userOf,
} from "./testing/cluster.ts";

let cluster: TestCluster;
before(async () => {
  cluster = await startCluster();
});
after(() => cluster.close());

interface World {
  readonly pool: Pool;
  readonly clock: () => number;
  /** Lets seconds pass. */
  readonly pass: (seconds: number) => void;
  readonly dials: () => number;
  readonly open: (user: TestUser) => Promise<Connection>;
  /** Names of the connections that nats-server shows in CORE, as it sees them. */
  readonly ended: string[];
  readonly read: (user: TestUser, name: string) => Promise<void>;
}

async function withPool(options: PoolOptions, run: (world: World) => Promise<void>): Promise<void> {
  let ahead = 0;
  let dials = 0;
  const clock = () => testClock() + ahead;
  const dial = identityDialOf(cluster);
  const pool = createPool(
    {
      ...dial,
      dialLink: (...args) => {
        dials += 1;
        return dial.dialLink(...args);
      },
      clock,
      onFault: assert.ifError,
    },
    { sweepIntervalMs: 10, ...options },
  );
  const ended: string[] = [];
  const world: World = {
    pool,
    clock,
    pass: (seconds) => {
      ahead += seconds;
    },
    dials: () => dials,
    async open({ identity, grant }) {
      const outcome = await pool.connectionFor(identity, grant);
      assert.ok(outcome.ok, JSON.stringify(outcome));
      return outcome.value;
    },
    ended,
    async read(user, name) {
      const connection = await world.open(user);
      const opened = await connection.subscribe({
        subject: "orders.>",
        onMessage: () => {},
        onEnd: (why) => ended.push(`${name} ${why}`),
      });
      assert.ok(opened.ok, JSON.stringify(opened));
    },
  };
  try {
    await run(world);
  } finally {
    await pool.close();
  }
}

test("connectionFor() dials once for all who ask meanwhile, then answers at once", async () => {
  await withPool({}, async ({ pool, dials }) => {
    const { identity, grant } = userOf("ada");
    const all = await Promise.all(Array.from({ length: 20 }, () => pool.connectionFor(identity, grant)));
    assert.equal(dials(), 1);
    assert.equal(new Set(all.map((outcome) => outcome.ok && outcome.value)).size, 1);
    assert.ok(!(pool.connectionFor(identity, grant) instanceof Promise));
  });
});

test("connectionFor() keeps users, actors and grants apart", async () => {
  await withPool({}, async ({ open, pool }) => {
    const all = [
      userOf("ada"),
      userOf("bob"),
      userOf("ada", { actor: "bot" }),
      userOf("ada", { grantHash: "older" }),
    ];
    assert.equal(new Set(await Promise.all(all.map(open))).size, 4);
    assert.equal(pool.size, 4);
  });
});

test("connectionFor() refuses a proof that is over, and everybody once the pool is closed", async () => {
  await withPool({}, async ({ pool, clock, open, pass }) => {
    const { identity, grant } = userOf("ada", { seconds: 10, clock });
    await open({ identity, grant });
    pass(10);
    const { expiresAt } = identity;
    const outcome = await pool.connectionFor(identity, grant);
    assert.ok(!outcome.ok && outcome.refusal.reason === "proof_expired");
    assert.equal(outcome.refusal.expiredAt, expiresAt);
    await pool.close();
    const { identity: other } = userOf("bob", { clock });
    assert.deepEqual(await pool.connectionFor(other, grant), {
      ok: false,
      refusal: { reason: "shutting_down" },
    });
  });
});

test("a failed dial is answered to all who waited and leaves no trace", async () => {
  const pool = createPool({
    ...identityDialOf(cluster, { pub: { allow: ["x"] } }),
    dialLink: async () => ({ ok: false, refusal: { reason: "nats_unavailable", why: "down" } }),
    clock: testClock,
    onFault: assert.ifError,
  });
  const { identity, grant } = userOf("ada");
  const both = await Promise.all([pool.connectionFor(identity, grant), pool.connectionFor(identity, grant)]);
  const expected = { ok: false, refusal: { reason: "nats_unavailable", why: "down" } };
  assert.deepEqual(both, [expected, expected]);
  assert.equal(pool.size, 0);
  await pool.close();
});

test("a connection lives as long as the last of its proofs, and not longer", async () => {
  await withPool({}, async ({ clock, read, pass, ended, pool }) => {
    await read(userOf("ada", { proofHash: "first", seconds: 30, clock }), "first");
    await read(userOf("ada", { proofHash: "second", seconds: 90, clock }), "second");
    pass(60);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(ended, []);
    pass(31);
    await until(() => ended.length === 2);
    assert.deepEqual(ended, ["first closed", "second closed"]);
    assert.equal(pool.size, 0);
  });
});

test("endLeases() of a proof closes only what no other proof holds", async () => {
  await withPool({}, async ({ pool, read, ended }) => {
    await read(userOf("ada", { proofHash: "laptop" }), "ada");
    await read(userOf("ada", { proofHash: "phone" }), "ada");
    await read(userOf("bob"), "bob");
    pool.endLeases({ proofHash: "laptop" });
    assert.deepEqual(ended, []);
    pool.endLeases({ proofHash: "phone" });
    assert.deepEqual(ended, ["ada revoked", "ada revoked"]);
    assert.equal(pool.size, 1);
  });
});

test("endLeases() of a user closes its connections, and those it uses in another's name", async () => {
  await withPool({}, async ({ pool, read, ended }) => {
    await read(userOf("ada", { proofHash: "one" }), "ada");
    await read(userOf("ada", { actor: "bot" }), "bot for ada");
    await read(userOf("bob", { actor: "bot" }), "bot for bob");
    pool.endLeases({ user: "test-ada" });
    assert.deepEqual(ended, ["ada revoked", "bot for ada revoked"]);
    pool.endLeases({ user: "test-bot" });
    assert.deepEqual(ended.slice(2), ["bot for bob revoked"]);
    assert.equal(pool.size, 0);
  });
});

test("endLeases() while dialling refuses those who wait", async () => {
  await withPool({}, async ({ pool }) => {
    const { identity, grant } = userOf("ada");
    const waiting = pool.connectionFor(identity, grant);
    pool.endLeases({ user: identity.user });
    const outcome = await waiting;
    assert.ok(!outcome.ok && outcome.refusal.reason === "nats_unavailable");
    assert.equal(pool.size, 0);
  });
});

test("an idle connection closes; one that is held, read from or asked does not", async () => {
  await withPool({ idleSeconds: 60 }, async ({ pool, open, read, pass, clock }) => {
    const [idle, held] = [userOf("idle", { clock }), userOf("held", { clock })];
    const letGo = pool.hold(held.identity, held.grant);
    await open(idle);
    await open(held);
    await read(userOf("reader", { clock }), "reader");
    pass(61);
    await until(() => pool.size === 2);
    letGo();
    letGo();
    pass(59);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(pool.size, 2);
    pass(2);
    await until(() => pool.size === 1);
  });
});

test("a full pool makes room from the idle one used longest ago, and refuses when all are busy", async () => {
  await withPool({ connectionsMax: 2 }, async ({ pool, open, read, pass, dials, clock }) => {
    await open(userOf("older", { clock }));
    pass(1);
    await open(userOf("newer", { clock }));
    pass(1);
    await read(userOf("reader", { clock }), "reader");
    assert.equal(pool.size, 2);
    await open(userOf("newer", { clock }));
    assert.equal(dials(), 3, "the newer one was kept");
    await read(userOf("newer", { clock }), "newer");
    const { identity, grant } = userOf("late", { clock });
    assert.deepEqual(await pool.connectionFor(identity, grant), {
      ok: false,
      refusal: { reason: "capacity_exceeded", what: "connections", max: 2 },
    });
  });
});

test("a stolen credential is refused: its key and JWT without the proxy's signature", async () => {
  const { proxyKey: _, ...keys } = cluster.keys;
  const stolen = createPool({
    ...identityDialOf({ ...cluster, keys }),
    clock: testClock,
    onFault: assert.ifError,
  });
  const { identity, grant } = userOf("ada");
  const outcome = await stolen.connectionFor(identity, grant);
  assert.ok(!outcome.ok && outcome.refusal.reason === "nats_unavailable");
  assert.match(outcome.refusal.why, /Authorization Violation/);
  await stolen.close();
});

test("nats-server restarted under load: refused while away, never dropped unsaid, back by itself", async () => {
  await withPool({}, async ({ open, read, ended }) => {
    const user = userOf("ada");
    const connection = await open(user);
    await read(user, "reader");
    const message = { subject: "orders.1", payload: Buffer.from("x"), headers: [] };
    const counts: Record<string, number> = { received: 0, unknown: 0, refused: 0, unavailable: 0 };
    let going = true;
    const load = (async () => {
      while (going) {
        const sent = connection.publish(message);
        const how = sent.ok ? await connection.confirm(message.subject) : "unavailable";
        counts[how] = (counts[how] ?? 0) + 1;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    await until(() => (counts.received ?? 0) > 20);
    await cluster.stop();
    await until(() => (counts.unavailable ?? 0) > 20);
    const asked = await connection.request(message, 1_000);
    assert.ok(!asked.ok && asked.refusal.reason === "nats_unavailable");
    const before = counts.received ?? 0;
    await cluster.restart();
    await until(() => (counts.received ?? 0) > before + 20, 20_000);
    going = false;
    await load;
    assert.equal(counts.refused, 0);
    assert.deepEqual(ended, []);

    const seen = Promise.withResolvers<void>();
    const opened = await connection.subscribe({
      subject: "orders.again",
      onMessage: () => seen.resolve(),
      onEnd: () => {},
    });
    assert.ok(opened.ok);
    connection.publish({ ...message, subject: "orders.again" });
    await seen.promise;
  });
});

test("a nats-server that hangs is noticed: unknown, refused, and back when it goes on", async () => {
  await withPool({}, async ({ open }) => {
    const connection = await open(userOf("ada"));
    const message = { subject: "orders.1", payload: Buffer.from("x"), headers: [] };
    const pid = cluster.servers[0]?.pid ?? 0;
    process.kill(pid, "SIGSTOP");
    try {
      assert.ok(connection.publish(message).ok);
      assert.equal(await connection.confirm(message.subject), "unknown");
      assert.equal(connection.publish(message).ok, false);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await until(async () => connection.publish(message).ok, 20_000);
    assert.equal(await connection.confirm(message.subject), "received");
  });
});

/** Dials with permissions that depend on the grant: `narrow` may publish and read `orders.eu` alone. */
function dialByGrant(): ReturnType<typeof identityDialOf> {
  const wide = identityDialOf(cluster);
  const narrow = identityDialOf(cluster, { pub: { allow: ["orders.eu"] }, sub: { allow: ["orders.eu"] } });
  return {
    ...wide,
    dialLink: (identity, grant, wish) =>
      (grant.hash === "narrow" ? narrow : wide).dialLink(identity, grant, wish),
  };
}

test("regrant() carries a connection to its new grant: readers go on, and nats-server enforces it", async () => {
  const pool = createPool({ ...dialByGrant(), clock: testClock, onFault: assert.ifError });
  try {
    const { identity, grant } = userOf("ada");
    const letGo = pool.hold(identity, grant);
    const outcome = await pool.connectionFor(identity, grant);
    assert.ok(outcome.ok);
    const connection = outcome.value;
    const seen: string[] = [];
    const opened = await connection.subscribe({
      subject: "orders.eu",
      onMessage: ({ payload }) => seen.push(Buffer.from(payload).toString()),
      onEnd: (why) => seen.push(why),
    });
    assert.ok(opened.ok);

    const narrow = { ...grant, hash: "narrow" };
    pool.regrant(() => narrow);
    assert.equal(pool.connectionFor(identity, narrow), pool.connectionFor(identity, narrow));
    assert.equal(pool.size, 1, "the same connection under another key");
    let sent = 0;
    await until(async () => {
      const message = { subject: "orders.eu", payload: Buffer.from(String(sent)), headers: [] };
      if (connection.publish(message).ok) sent += 1;
      connection.publish({ subject: "orders.us", payload: Buffer.of(), headers: [] });
      return (await connection.confirm("orders.us")) === "refused";
    });
    await until(() => seen.length === sent);
    assert.deepEqual(
      seen,
      Array.from({ length: sent }, (_, index) => String(index)),
      "none lost, none twice, in order",
    );
    letGo();
  } finally {
    await pool.close();
  }
});

test("regrant() leaves a connection alone whose grant says the same to NATS, and joins two that become one", async () => {
  await withPool({}, async ({ pool, open, dials, read, ended }) => {
    const [first, second] = [userOf("bob"), userOf("bob", { grantHash: "other", proofHash: "p2" })];
    await open(first);
    await read(second, "second");
    assert.deepEqual([pool.size, dials()], [2, 2]);
    pool.regrant((identity) => (identity.proof.hash === "p2" ? second.grant : first.grant));
    assert.deepEqual([pool.size, dials()], [2, 2]);
    pool.regrant(() => first.grant);
    await until(() => ended.length > 0);
    assert.deepEqual([pool.size, ended], [1, ["second closed"]]);
    await read(first, "first");
    pool.regrant(() => undefined);
    await until(() => ended.length > 1);
    assert.deepEqual([pool.size, ended.at(-1)], [0, "first revoked"], "an identity without a grant");
  });
});
