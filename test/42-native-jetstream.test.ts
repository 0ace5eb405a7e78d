/**
 * JetStream and buckets for stock clients: @nats-io/jetstream and @nats-io/kv as they come, over `wsconnect` to the
 * gateway. They name their own consumers and inboxes and ask what nobody may be told; they work all the same, within
 * what the policy says.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Consumer, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import { connectNative } from "./native-client.ts";
import { startTestStack, type TestStack } from "./support.ts";

const POLICY = `
version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may:
      - connect native
      - publish orders.{region}.>
      - read-stream ORDERS orders.{region}.>
      - 'read-stream ORDERS orders.{region}.> consumers [billing, packing]'
      - read-kv carts {user}.>
      - write-kv carts {user}.>
    # A credential is renewed at 60–70 % of this: after some 20 s.
    limits: { credential: 30s, connections: 6 }
`;
const COUNT = 10;
const NUMBERS: readonly string[] = Array.from({ length: COUNT }, (_, n) => String(n));

let stack: TestStack;
let alice: NatsConnection;
before(async () => {
  stack = await startTestStack({ policy: POLICY });
  const bucket = await new Kvm(stack.admin).create("carts", { history: 5, markerTTL: 60_000 });
  await bucket.put("demo-bob.a", "of bob");
  alice = await connectNative(stack, "alice");
});
after(async () => {
  await alice?.close();
  await stack?.stop();
});

/** All that is there, each message in its place. */
async function readAll(consumer: Consumer, count: number): Promise<string[]> {
  const read: string[] = [];
  const messages = await consumer.consume();
  for await (const message of messages) {
    read.push(message.string());
    if (read.length === count) break;
  }
  await messages.close();
  return read;
}

/** Fulfils when the client has come back by itself. */
async function loseConnection(connection: NatsConnection): Promise<void> {
  const back = (async () => {
    for await (const { type } of connection.status()) if (type === "reconnect") return;
  })();
  await connection.reconnect();
  await back;
}

describe("a stream", () => {
  test("takes what is published and acknowledges it; a message of the same id is the same", async () => {
    const js = jetstream(alice);
    for (const n of NUMBERS) assert.equal((await js.publish(`orders.eu.${n}`, n)).stream, "ORDERS");
    const once = await js.publish("orders.eu.once", "x", { msgID: "mine" });
    const again = await js.publish("orders.eu.once", "x", { msgID: "mine" });
    assert.deepEqual([once.duplicate, again.duplicate, again.seq], [false, true, once.seq]);
    // An id is its user's own, and the subject's: nobody makes another's message a duplicate.
    const bob = await connectNative(stack, "bob");
    assert.equal((await jetstream(bob).publish("orders.us.once", "y", { msgID: "mine" })).duplicate, false);
    assert.equal((await js.publish("orders.eu.other", "z", { msgID: "mine" })).duplicate, false);
    await bob.close();
    const wrong = js.publish("orders.eu.0", "x", { expect: { lastSubjectSequence: 4_711 } });
    await assert.rejects(wrong, { code: 10071 });
    await assert.rejects(js.publish("orders.us.0", "x"), /Permissions Violation/);
  });

  test("is read in order by two consumers at once, each with the filter of its own", async () => {
    const js = jetstream(alice);
    const [all, one] = await Promise.all([
      js.consumers.get("ORDERS", { deliver_policy: DeliverPolicy.All }),
      js.consumers.get("ORDERS", { filter_subjects: "orders.eu.3" }),
    ]);
    const [everything, three] = await Promise.all([readAll(all, COUNT), readAll(one, 1)]);
    assert.deepEqual(everything, NUMBERS);
    assert.deepEqual(three, ["3"]);
    assert.equal((await one.info()).config.filter_subject, "orders.eu.3");
    assert.equal(await all.delete(), true);
  });

  test("is found by subject, and says nothing of what it holds", async () => {
    const manager = await jetstreamManager(alice);
    assert.equal(await manager.streams.find("orders.eu.5"), "ORDERS");
    const { config, state } = await manager.streams.info("ORDERS", { subjects_filter: ">" });
    assert.deepEqual([config.subjects, state.messages, state.subjects], [["orders.eu.>"], 0, undefined]);
  });

  test("is pushed in order, with flow control", async () => {
    const consumer = await jetstream(alice).consumers.getPushConsumer("ORDERS");
    const read: string[] = [];
    for await (const message of await consumer.consume()) {
      read.push(message.string());
      if (read.length === COUNT) break;
    }
    assert.deepEqual(read, NUMBERS);
  });

  test("is fetched from a declared consumer, and acknowledged in every way", async () => {
    const manager = await jetstreamManager(alice);
    await manager.consumers.add("ORDERS", { durable_name: "billing", ack_policy: "explicit" });
    const consumer = await jetstream(alice).consumers.get("ORDERS", "billing");
    const fetched: string[] = [];
    for await (const message of await consumer.fetch({ max_messages: 3, expires: 5_000 })) {
      fetched.push(message.string());
      assert.equal(await message.ackAck(), true);
    }
    assert.deepEqual(fetched, ["0", "1", "2"]);
    const given = await consumer.next();
    given?.nak();
    const again = await consumer.next();
    assert.deepEqual([given?.string(), again?.string(), again?.redelivered], ["3", "3", true]);
    again?.term("nobody wants it");
    const slow = await consumer.next();
    slow?.working();
    assert.equal(await slow?.ackAck(), true);
    assert.equal((await consumer.info()).ack_floor.stream_seq, 5);
  });

  test("is consumed in order by two, after the connection was lost and over a renewal of the credential", async () => {
    const connection = await connectNative(stack, "alice", { reconnect: true, reconnectTimeWait: 50 });
    const js = jetstream(connection);
    const [one, two] = [
      await js.consumers.get("ORDERS", { filter_subjects: "orders.eu.live.>" }),
      await js.consumers.get("ORDERS", { deliver_policy: DeliverPolicy.New }),
    ];
    // From the middle of one connection's life over 22 s of the next one's, of whose credential 18 to 21 are used.
    const [lostAt, count] = [20, 120];
    const reading = Promise.all([readAll(one, count), readAll(two, count)]);
    let before: number | undefined;
    for (let n = 0; n < count; n++) {
      await jetstream(stack.admin).publish(`orders.eu.live.${n}`, String(n));
      await new Promise((resolve) => setTimeout(resolve, 220));
      if (n !== lostAt) continue;
      await loseConnection(connection);
      before = connection.info?.client_id;
    }
    const expected = Array.from({ length: count }, (_, n) => String(n));
    assert.deepEqual(await reading, [expected, expected]);
    assert.notEqual(connection.info?.client_id, before, "renewed");
    await connection.close();
  });

  test("of somebody else is refused, and so is somebody else's consumer", async () => {
    const js = jetstream(alice);
    await assert.rejects(
      js.consumers.get("ORDERS", { filter_subjects: "orders.us.>" }),
      /Permissions Violation/,
    );
    await assert.rejects(js.consumers.get("OTHER"), /Permissions Violation/);
    await assert.rejects(js.consumers.get("ORDERS", "demo-bob-billing"), /consumer not found/);
    const manager = await jetstreamManager(alice);
    await assert.rejects(manager.streams.purge("ORDERS"), /Permissions Violation/);
    const durable = manager.consumers.add("ORDERS", { durable_name: "mine", ack_policy: "explicit" });
    await assert.rejects(durable, /makes durable what the policy does not name/);
    const several = js.consumers.get("ORDERS", { filter_subjects: ["orders.eu.1", "orders.eu.2"] });
    await assert.rejects(several, /several filters/);
  });
});

describe("a bucket", () => {
  const ways: readonly (readonly [string, () => Promise<KV>])[] = [
    ["opened", () => new Kvm(alice).open("carts")],
    ["opened for direct gets", () => new Kvm(alice).open("carts", { allow_direct: true })],
    ["created, which finds it there", () => new Kvm(alice).create("carts")],
  ];
  for (const [how, open] of ways) {
    test(`${how}: keys are put, got, created, updated, deleted, purged, listed and watched`, async () => {
      const bucket = await open();
      const revision = await bucket.put("demo-alice.a", "1");
      assert.equal((await bucket.get("demo-alice.a"))?.string(), "1");
      assert.equal(await bucket.get("demo-alice.none"), null);
      await bucket.update("demo-alice.a", "2", revision);
      await assert.rejects(bucket.update("demo-alice.a", "3", revision), { code: 10071 });
      await bucket.delete("demo-alice.a");
      assert.equal((await bucket.get("demo-alice.a"))?.operation, "DEL");
      await bucket.create("demo-alice.a", "4");
      await assert.rejects(bucket.create("demo-alice.a", "5"), { code: 10071 });
      await bucket.put("demo-alice.b", "x");

      const keys: string[] = [];
      for await (const key of await bucket.keys()) keys.push(key);
      assert.deepEqual(keys.sort(), ["demo-alice.a", "demo-alice.b"]);
      assert.deepEqual(await historyOf(bucket, "demo-alice.a"), ["PUT", "PUT", "DEL", "PUT"]);

      const watch = await bucket.watch({ key: "demo-alice.>" });
      const seen: string[] = [];
      for await (const entry of watch) {
        seen.push(`${entry.key} ${entry.string()}`);
        if (seen.length === 2) await bucket.put("demo-alice.c", "live");
        if (seen.length === 3) break;
      }
      assert.deepEqual(seen, ["demo-alice.a 4", "demo-alice.b x", "demo-alice.c live"]);
      for (const key of ["demo-alice.a", "demo-alice.b", "demo-alice.c"]) await bucket.purge(key);
      assert.deepEqual(await historyOf(bucket, "demo-alice.a"), ["PURGE"]);
      await sweep();
    });
  }

  async function historyOf(bucket: KV, key: string): Promise<string[]> {
    const operations: string[] = [];
    for await (const { operation } of await bucket.history({ key })) operations.push(operation);
    return operations;
  }

  /** Past the gateway: the next way begins with an empty bucket of alice's. */
  async function sweep(): Promise<void> {
    const manager = await jetstreamManager(stack.admin);
    await manager.streams.purge("KV_carts", { filter: "$KV.carts.demo-alice.>" });
  }

  test("keeps what was put under its seal", async () => {
    const bucket = await new Kvm(alice).open("carts");
    await bucket.put("demo-alice.sealed", "1");
    const stored = await (await new Kvm(stack.admin).open("carts")).get("demo-alice.sealed");
    assert.equal(stored?.string(), "1");
    const manager = await jetstreamManager(stack.admin);
    const message = await manager.streams.getMessage("KV_carts", {
      last_by_subj: "$KV.carts.demo-alice.sealed",
    });
    const claims = JSON.parse(Buffer.from(message?.header.get("Seal-Claims") ?? "", "base64url").toString());
    assert.deepEqual(
      [claims.sub, claims.scope, claims.tctx.msg.s, claims.tctx.msg.id],
      [
        "demo-alice",
        "write-kv:$KV.carts.demo-alice.>",
        "$KV.carts.demo-alice.sealed",
        message?.header.get("Nats-Msg-Id"),
      ],
    );
  });

  test("is read and written nowhere but where the policy says", async () => {
    const bucket = await new Kvm(alice).open("carts");
    for (const forbidden of [
      () => bucket.get("demo-bob.a"),
      () => bucket.put("demo-bob.a", "x"),
      () => bucket.delete("demo-bob.a"),
      () => bucket.purge("demo-bob.a"),
      () => bucket.watch({ key: "demo-bob.>" }),
      () => bucket.keys("demo-bob.>"),
      () => bucket.history({ key: "demo-bob.a" }),
      () => bucket.destroy(),
    ]) {
      await assert.rejects(forbidden as () => Promise<unknown>, /Permissions Violation/, `${forbidden}`);
    }
    await assert.rejects(bucket.get("demo-alice.a", { revision: 1 }), /last_by_subj/);
    assert.equal((await (await new Kvm(stack.admin).open("carts")).get("demo-bob.a"))?.string(), "of bob");
  });

  test("may be listed again and again: a watcher that is left makes room for the next", async () => {
    const bucket = await new Kvm(alice).open("carts");
    await bucket.put("demo-alice.a", "1");
    for (let round = 0; round < 10; round++) {
      const keys: string[] = [];
      for await (const key of await bucket.keys("demo-alice.a")) keys.push(key);
      assert.deepEqual(keys, ["demo-alice.a"]);
    }
  });

  test("is watched again after the connection was lost", async () => {
    const connection = await connectNative(stack, "alice", { reconnect: true, reconnectTimeWait: 50 });
    const bucket = await new Kvm(connection).open("carts");
    await bucket.put("demo-alice.w", "before");
    const seen: string[] = [];
    for await (const entry of await bucket.watch({ key: "demo-alice.w" })) {
      seen.push(entry.string());
      if (entry.string() === "after") break;
      await loseConnection(connection);
      await bucket.put("demo-alice.w", "after");
    }
    assert.deepEqual(seen, ["before", "after"]);
    await connection.close();
  });
});
