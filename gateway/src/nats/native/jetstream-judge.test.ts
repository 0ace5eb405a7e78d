/** The judge before a real nats-server: what it forwards is taken, what it refuses never leaves. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";
import { startCluster, type TestCluster } from "../testing/cluster.ts";
import { ConsumerNames } from "./consumer-names.ts";
import { type Judged, type JudgedOptions, startJudged } from "./testing/judged.ts";

let cluster: TestCluster;
let admin: NatsConnection;
const opened: Judged[] = [];

before(async () => {
  cluster = await startCluster();
  admin = await cluster.admin();
  const manager = await jetstreamManager(admin);
  await manager.streams.add({ name: "S", subjects: ["orders.>"] });
  const bucket = await new Kvm(admin).create("K", { history: 5 });
  for (const key of ["demo-alice.a", "demo-alice.b", "demo-bob.a"]) await bucket.put(key, `of ${key}`);
  for (let n = 0; n < 5; n++) await admin.request(`orders.eu.${n}`, `${n}`);
  await admin.request("orders.us.1", "us");
});

after(async () => {
  for (const one of opened) await one.close();
  await cluster?.close();
});

const READER = ["read-stream S orders.eu.>"];

async function start(options: JudgedOptions): Promise<Judged> {
  const judged = await startJudged(cluster, options);
  opened.push(judged);
  return judged;
}

const CREATE = "$JS.API.CONSUMER.CREATE.S";
/** As nats.js creates an ordered consumer. */
function ordered(name: string, more: object = {}): object {
  return {
    config: {
      name,
      deliver_policy: "by_start_sequence",
      opt_start_seq: 1,
      ack_policy: "none",
      inactive_threshold: 300_000_000_000,
      num_replicas: 1,
      max_deliver: 1,
      mem_storage: true,
      ...more,
    },
    stream_name: "S",
    action: "create",
    pedantic: false,
  };
}

test("an unfiltered ordered consumer reads what the Grant says, under an own name that its client never sees", async () => {
  const alice = await start({ may: READER });
  const made = await alice.ask(`${CREATE}.oc_1`, ordered("oc_1", { inactive_threshold: 3_600e9 }));
  assert.deepEqual(made.asked, [`${CREATE}.demo-alice-3.orders.eu.>`]);
  assert.equal(made.json.config.inactive_threshold, 300e9, "it does not outlive its reader by more");
  assert.equal(made.json.name, "oc_1");
  assert.equal(made.json.config.name, "oc_1");
  assert.equal(made.json.config.filter_subject, "orders.eu.>");
  assert.equal(made.json.config.metadata, undefined);
  assert.equal(made.json.num_pending, 5);

  const info = await alice.ask("$JS.API.CONSUMER.INFO.S.oc_1");
  assert.deepEqual(info.asked, ["$JS.API.CONSUMER.INFO.S.demo-alice-3"]);
  assert.equal(info.json.name, "oc_1");

  const next = await alice.ask("$JS.API.CONSUMER.MSG.NEXT.S.oc_1", { batch: 1, max_bytes: 0, expires: 1e9 });
  assert.equal(next.text, "0");

  const gone = await alice.ask("$JS.API.CONSUMER.DELETE.S.oc_1");
  assert.equal(gone.json.success, true);
  const after = await alice.ask("$JS.API.CONSUMER.INFO.S.oc_1");
  assert.deepEqual([after.by, after.json.error.err_code], ["gateway", 10014]);
  assert.deepEqual(alice.violations, []);
});

test("two clients of one user get two consumers, whatever either instance knows of the other", async () => {
  const [one, two] = [await start({ id: "carol", may: READER }), await start({ id: "carol", may: READER })];
  const first = await one.ask(`${CREATE}.oc_1`, ordered("oc_1"));
  const second = await two.ask(`${CREATE}.oc_1`, ordered("oc_1"));
  assert.deepEqual(first.asked, [`${CREATE}.demo-carol-3.orders.eu.>`]);
  assert.deepEqual(second.asked, [
    `${CREATE}.demo-carol-3.orders.eu.>`,
    `${CREATE}.demo-carol-2.orders.eu.>`,
  ]);
  assert.equal(second.json.name, "oc_1");
  // Each delivers from the beginning: neither took the other's messages.
  for (const reader of [one, two]) {
    const next = await reader.ask("$JS.API.CONSUMER.MSG.NEXT.S.oc_1", { batch: 1, expires: 1e9 });
    assert.equal(next.text, "0");
  }
});

test("when numbers run out, one whose client listens no more is taken over; while all listen, the client is told", async () => {
  let now = 1_000;
  const names = new ConsumerNames({ user: "demo-dora", count: 2, clock: () => now });
  const dora = await start({ id: "dora", may: READER, connections: 2, names });
  const push = (name: string): object =>
    ordered(name, { deliver_subject: `_INBOX.push.${name}`, flow_control: true, idle_heartbeat: 30e9 });
  for (const name of ["a", "b"]) {
    assert.equal((await dora.ask(`${CREATE}.${name}`, push(name))).json.name, name);
  }
  const refused = await dora.ask(`${CREATE}.c`, push("c"));
  assert.deepEqual(
    [refused.by, refused.json.error.err_code],
    ["refusal", 10026],
    "clients have time to listen",
  );

  dora.listen("_INBOX.push.a");
  now += 11;
  dora.listen("_INBOX.push.b");
  assert.equal((await dora.ask(`${CREATE}.c`, push("c"))).by, "refusal", "both are listened to");
  dora.subscriptions.delete("_INBOX.push.a");
  const made = await dora.ask(`${CREATE}.c`, push("c"));
  assert.deepEqual(made.asked, [
    "$JS.API.CONSUMER.DELETE.S.demo-dora-1",
    `${CREATE}.demo-dora-1.orders.eu.>`,
  ]);
  assert.equal(made.json.config.deliver_subject, "_INBOX.push.c");
  assert.equal((await dora.ask("$JS.API.CONSUMER.INFO.S.a")).json.error.err_code, 10014);
  assert.equal((await dora.ask("$JS.API.CONSUMER.INFO.S.b")).json.name, "b");
});

test("a declared consumer goes by the name the policy gives it, durable as its client wants it", async () => {
  const erin = await start({ id: "erin", may: ["read-stream S orders.eu.> consumers [billing]"] });
  const durable = {
    config: { durable_name: "billing", ack_policy: "explicit" },
    stream_name: "S",
    action: "create",
  };
  const made = await erin.ask("$JS.API.CONSUMER.DURABLE.CREATE.S.billing", durable);
  assert.deepEqual(made.asked, [`${CREATE}.demo-erin-billing.orders.eu.>`]);
  assert.deepEqual([made.json.name, made.json.config.durable_name], ["billing", "billing"]);
  for (const name of ["billing", "demo-erin-billing"]) {
    const info = await erin.ask(`$JS.API.CONSUMER.INFO.S.${name}`);
    assert.deepEqual([info.by, info.json.name], ["nats", name]);
  }
  assert.equal((await erin.ask("$JS.API.CONSUMER.MSG.NEXT.S.billing", "1")).text, "0");
  // It is the policy's, not its reader's, to make others or to delete it.
  assert.equal(erin.judge("$JS.API.CONSUMER.DELETE.S.billing").do, "refuse");
  const other = {
    config: { durable_name: "other", ack_policy: "explicit" },
    stream_name: "S",
    action: "create",
  };
  assert.equal(erin.judge("$JS.API.CONSUMER.DURABLE.CREATE.S.other", other).do, "refuse");
  assert.deepEqual(erin.violations, []);
});

test("what was delivered is acknowledged in every form that stock clients know, and by its reader alone", async () => {
  const gina = await start({ id: "gina", may: ["read-stream S orders.eu.> consumers [acks]"] });
  const durable = { config: { durable_name: "acks", ack_policy: "explicit" }, stream_name: "S" };
  await gina.ask("$JS.API.CONSUMER.DURABLE.CREATE.S.acks", durable);
  const next = async (): Promise<{ readonly text: string; readonly reply: string }> => {
    const { text, reply } = await gina.ask("$JS.API.CONSUMER.MSG.NEXT.S.acks", { batch: 1, expires: 2e9 });
    return { text, reply: reply ?? assert.fail("a message has a reply subject") };
  };
  const floor = async (): Promise<number> =>
    (await gina.ask("$JS.API.CONSUMER.INFO.S.acks")).json.ack_floor.stream_seq;

  const first = await next();
  assert.equal(first.text, "0");
  // Answered, since it asks to be: this is what `ackAck` does.
  assert.equal((await gina.ask(first.reply, "+WPI")).text, "");
  assert.equal((await gina.ask(first.reply, "-NAK")).text, "");
  const again = await next();
  assert.equal(again.text, "0", "given back, so it comes again");
  await gina.ask(again.reply, "+ACK");
  assert.equal(await floor(), 1);
  await gina.ask((await next()).reply, "+TERM nobody wants it");
  assert.equal(await floor(), 2);
  await gina.ask((await next()).reply, "");
  const more = await next();
  const following = await gina.ask(more.reply, '+NXT {"batch":1,"no_wait":true}');
  assert.equal(following.text, "4");
  assert.equal(await floor(), 4);
  await gina.ask(following.reply ?? "", '-NAK {"delay":1000000}');
  assert.equal((await next()).text, "4");

  const bob = await start({ id: "bob", may: ["read-stream S orders.eu.> consumers [acks]"] });
  assert.equal(bob.judge(more.reply, "+ACK").do, "refuse");
  assert.deepEqual(gina.violations, []);
});

test("a consumer that was made under a wider policy is not shown, and its reader is told", async () => {
  const manager = await jetstreamManager(admin);
  await manager.consumers.add("S", { durable_name: "demo-fred-old", ack_policy: "explicit" });
  const fred = await start({ id: "fred", may: ["read-stream S orders.eu.> consumers [old]"] });
  const info = await fred.ask("$JS.API.CONSUMER.INFO.S.old");
  assert.equal(info.json.error.code, 403);
});

test("other people's consumers, streams and names are refused or unknown", async () => {
  const alice = await start({ may: READER });
  for (const subject of [
    "$JS.API.CONSUMER.CREATE.OTHER.oc",
    "$JS.API.STREAM.INFO.OTHER",
    "$JS.API.STREAM.PURGE.S",
    "$JS.API.STREAM.DELETE.S",
    "$JS.API.STREAM.MSG.DELETE.S",
    "$JS.API.CONSUMER.LIST.S",
    "$JS.API.CONSUMER.NAMES.S",
    "$JS.API.CONSUMER.PAUSE.S.x",
    "$JS.ACK.S.demo-bob-0.1.1.1.1.1",
    "$JS.ACK.S.demo-alice-4.1.1.1.1.1",
    "$JS.FC.S.demo-bob-0.x",
    "$JS.ACK.>",
    "$JS.other.API.INFO",
    "$KV.K.demo-bob.a",
  ]) {
    assert.equal(alice.judge(subject).do, "refuse", subject);
  }
  for (const name of ["demo-bob-0", "demo-alice-0", "x"]) {
    const info = await alice.ask(`$JS.API.CONSUMER.INFO.S.${name}`);
    assert.deepEqual([info.by, info.json.error.err_code], ["gateway", 10014]);
    assert.deepEqual(pick(alice.judge(`$JS.API.CONSUMER.MSG.NEXT.S.${name}`)), ["answer", 503]);
  }
  function pick(verdict: ReturnType<Judged["judge"]>): unknown[] {
    return [verdict.do, verdict.do === "answer" && verdict.status];
  }
});

test("what a consumer is asked to be beyond its reader's rights is refused, in words", async () => {
  const alice = await start({ may: [...READER, "read-kv K demo-alice.>"] });
  const cases: readonly (readonly [string, object, RegExp])[] = [
    ["wider filter", { filter_subject: "orders.us.>" }, /^$/],
    ["two filters", { filter_subjects: ["orders.eu.1", "orders.eu.2"] }, /several filters/],
    ["foreign inbox", { deliver_subject: "admin.pwn" }, /own inbox/],
    ["wildcard inbox", { deliver_subject: "_INBOX.>" }, /own inbox/],
    ["queue push", { deliver_subject: "_INBOX.a", deliver_group: "g" }, /deliver_group/],
    ["backoff", { backoff: [1] }, /backoff/],
    ["durable", { durable_name: "oc_9" }, /durable/],
    ["paused", { pause_until: "2030-01-01T00:00:00Z" }, /pause_until/],
    ["inherited name", { constructor: 1 }, /constructor/],
    ["fraction", { max_deliver: 1.5 }, /max_deliver/],
    ["other stream", {}, /stream_name/],
  ];
  for (const [what, more, words] of cases) {
    const body = ordered("oc_9", more);
    const verdict = alice.judge(
      `${CREATE}.oc_9`,
      what === "other stream" ? { ...body, stream_name: "T" } : body,
    );
    assert.equal(verdict.do, "refuse", what);
    assert.match(verdict.payload ? Buffer.from(verdict.payload).toString() : "", words, what);
  }
  for (const raw of [
    // Read by the last of two equal names, it would be good.
    '{"stream_name":"S","config":{"filter_subject":"orders.us.>"},"config":{"name":"oc_9"}}',
    `{"config":{"name":"oc_9","metadata":${"[".repeat(20)}${"]".repeat(20)}}}`,
    `{"config":{"name":"oc_9","description":"${"x".repeat(9_000)}"}}`,
    "",
    "null",
    "[]",
  ]) {
    assert.equal(alice.judge(`${CREATE}.oc_9`, raw).do, "refuse", raw.slice(0, 40));
  }
  // The subject says one thing and the payload another.
  const twoNames = alice.judge(`${CREATE}.oc_8`, ordered("oc_9"));
  assert.equal(twoNames.do, "refuse");
  const twoFilters = alice.judge(
    `${CREATE}.oc_9.orders.eu.1`,
    ordered("oc_9", { filter_subject: "orders.eu.2" }),
  );
  assert.equal(twoFilters.do, "refuse");
});

test("questions about streams are answered from the Grant, with no subject of anybody else", async () => {
  const alice = await start({ may: [...READER, "read-kv K demo-alice.>", "write-kv W demo-alice.>"] });
  const info = await alice.ask("$JS.API.STREAM.INFO.S", { subjects_filter: ">" });
  assert.deepEqual(
    [info.by, info.json.config.name, info.json.config.subjects],
    ["gateway", "S", ["orders.eu.>"]],
  );
  assert.equal(info.json.state.subjects, undefined);
  const found = await alice.ask("$JS.API.STREAM.NAMES", { subject: "orders.eu.7" });
  assert.deepEqual(found.json.streams, ["S"]);
  assert.deepEqual((await alice.ask("$JS.API.STREAM.NAMES", { subject: "orders.us.7" })).json.streams, []);
  assert.deepEqual((await alice.ask("$JS.API.STREAM.NAMES", "")).json.streams, ["S", "KV_K", "KV_W"]);
  const list = await alice.ask("$JS.API.STREAM.LIST", {});
  assert.deepEqual(list.json.streams.length, 3);
  assert.equal((await alice.ask("$JS.API.INFO")).json.limits.max_streams, -1);
  assert.deepEqual(alice.violations, []);
});

test("a key is got directly, by whichever of the ways clients ask", async () => {
  const alice = await start({ may: ["read-kv K demo-alice.>"] });
  const key = "$KV.K.demo-alice.a";
  for (const [subject, body] of [
    [`$JS.API.DIRECT.GET.KV_K.${key}`, undefined],
    ["$JS.API.DIRECT.GET.KV_K", { last_by_subj: key }],
  ] as const) {
    const got = await alice.ask(subject, body);
    assert.deepEqual([got.text, got.asked], ["of demo-alice.a", [`$JS.API.DIRECT.GET.KV_K.${key}`]]);
  }
  const got = await alice.ask("$JS.API.STREAM.MSG.GET.KV_K", { last_by_subj: key });
  assert.equal(Buffer.from(got.json.message.data, "base64").toString(), "of demo-alice.a");
  assert.deepEqual([got.json.message.subject, typeof got.json.message.seq], [key, "number"]);
  const none = await alice.ask("$JS.API.STREAM.MSG.GET.KV_K", { last_by_subj: "$KV.K.demo-alice.none" });
  assert.equal(none.json.error.err_code, 10037);
  for (const [subject, body] of [
    ["$JS.API.STREAM.MSG.GET.KV_K", { seq: 3 }],
    ["$JS.API.STREAM.MSG.GET.KV_K", { last_by_subj: "$KV.K.demo-bob.a" }],
    ["$JS.API.STREAM.MSG.GET.KV_K", { last_by_subj: key, seq: 3 }],
    ["$JS.API.DIRECT.GET.KV_K", { seq: 3 }],
    ["$JS.API.DIRECT.GET.KV_K", { multi_last: [">"] }],
    ["$JS.API.DIRECT.GET.KV_K.$KV.K.demo-bob.a", undefined],
    ["$JS.API.DIRECT.GET.KV_K.$KV.K.demo-alice.>", undefined],
    ["$JS.API.DIRECT.GET.S.orders.eu.1", undefined],
  ] as const) {
    assert.equal(alice.judge(subject, body).do, "refuse", `${subject} ${JSON.stringify(body)}`);
  }
  assert.deepEqual(alice.violations, []);
});

test("a watcher of everything watches what may be read, with signs of life, into the client's own inbox", async () => {
  const alice = await start({ may: ["read-kv K demo-alice.>"] });
  const watch = {
    config: {
      deliver_policy: "last_per_subject",
      ack_policy: "none",
      filter_subject: "$KV.K.>",
      flow_control: true,
      idle_heartbeat: 30e9,
      inactive_threshold: 300e9,
      num_replicas: 1,
      max_deliver: 1,
      name: "oc_w_1",
      deliver_subject: "_INBOX.w.1",
    },
    stream_name: "KV_K",
    action: "create",
  };
  const made = await alice.ask("$JS.API.CONSUMER.CREATE.KV_K.oc_w_1.$KV.K.>", watch);
  assert.deepEqual(made.asked, ["$JS.API.CONSUMER.CREATE.KV_K.demo-alice-3.$KV.K.demo-alice.>"]);
  assert.equal(made.json.config.deliver_subject, "_INBOX.w.1");
  assert.equal(made.json.config.idle_heartbeat, 5e9);
  assert.equal(made.json.num_pending, 2);
  const manager = await jetstreamManager(admin);
  const really = await manager.consumers.info("KV_K", "demo-alice-3");
  assert.equal(really.config.deliver_subject, `${alice.inbox.serverPrefix}w.1`);
  // Wider than the Grant, narrower than everything: refused as it stands.
  const narrow = { ...watch, config: { ...watch.config, name: "oc_x", filter_subject: "$KV.K.*.a" } };
  assert.equal(alice.judge("$JS.API.CONSUMER.CREATE.KV_K.oc_x.$KV.K.*.a", narrow).do, "refuse");
  const pull = { ...watch, config: { ...watch.config, deliver_subject: "" } };
  assert.equal(alice.judge("$JS.API.CONSUMER.CREATE.KV_K.oc_w_1.$KV.K.>", pull).do, "refuse");
  assert.deepEqual(alice.violations, []);
});

test("a key is written with what concerns that key alone", async () => {
  const alice = await start({ may: ["write-kv K demo-alice.>"] });
  const key = "$KV.K.demo-alice.w";
  const put = await alice.ask(key, "one", [["Nats-Expected-Last-Subject-Sequence", "0"]]);
  assert.equal(put.json.stream, "KV_K");
  const again = await alice.ask(key, "two", [["Nats-Expected-Last-Subject-Sequence", "0"]]);
  assert.equal(again.json.error.err_code, 10071);
  const purge = [
    ["KV-Operation", "PURGE"],
    ["Nats-Rollup", "sub"],
  ] as const;
  assert.equal((await alice.ask(key, "", purge)).json.stream, "KV_K");
  const verdict = alice.judge(key, "x", [
    ["Nats-Msg-Id", "mine"],
    ["a", "b"],
  ]);
  assert(verdict.do === "forward");
  assert.deepEqual(verdict.seal, { scope: "write-kv:$KV.K.demo-alice.>", idempotencyKey: "mine" });
  assert.deepEqual(verdict.headers, [["a", "b"]]);
  assert.equal(alice.judge(`$KV.K.demo-alice.${"k".repeat(240)}`, "x").do, "refuse", "no seal can name it");
  for (const [name, value] of [
    ["Nats-Rollup", "all"],
    ["nats-rollup", "sub"],
    ["Nats-Schedule", "@every 1s"],
    ["Nats-Schedule-Target", "$KV.K.demo-bob.a"],
    ["Nats-Expected-Last-Msg-Id", "x"],
    ["Nats-Expected-Last-Subject-Sequence-Subject", "$KV.K.demo-bob.a"],
    ["Nats-Expected-Last-Sequence", "-1"],
    ["Nats-Batch-Id", "x"],
    ["Nats-Incr", "+1"],
    ["Nats-Trace-Dest", "x"],
    ["Nats-TTL", "0x1"],
    ["KV-Operation", "ROLLUP"],
    ["kv-operation", "DEL"],
  ] as const) {
    assert.equal(alice.judge(key, "x", [[name, value]]).do, "refuse", `${name}: ${value}`);
  }
  assert.deepEqual(alice.violations, []);
});
