/** Whatever a client asks, what leaves is within the permissions of the same Grant, and within the client's own inbox. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { includes } from "../../policy/pattern.ts";
import { permissionsOf } from "../../policy/permissions.ts";
import { ConsumerNames } from "./consumer-names.ts";
import { createInboxMap } from "./inbox-map.ts";
import type { JetStreamStep, JetStreamVerdict } from "./jetstream.ts";
import { createJetStreamJudge } from "./jetstream-judge.ts";
import { bytesOf, grantFor } from "./testing/judged.ts";

const SEED = 20_261_123;
const INBOX = "_INBOX.identity";
const { grant } = grantFor({
  may: [
    "read-stream S orders.eu.>",
    "read-stream S orders.us.*.x",
    "read-stream T logs.> consumers [a, b]",
    "read-kv K demo-alice.>",
    "write-kv K demo-alice.>",
  ],
  never: ["write-kv K demo-alice.fixed"],
  connections: 3,
});
const permissions = permissionsOf(grant, INBOX);

const stream = fc.constantFrom("S", "T", "KV_K", "KV_L");
const name = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("oc_1", "oc_2", "a") },
  { weight: 1, arbitrary: fc.constantFrom("demo-alice-a", "demo-alice-1", "demo-bob-1", "*", ">", "") },
);
const key = fc.constantFrom("demo-alice.1", "demo-alice.fixed", "demo-alice.>", "demo-bob.a", "*.1", ">");
const filter = fc.oneof(
  fc.constantFrom(
    ">",
    "orders.>",
    "orders.eu.>",
    "orders.eu.1",
    "orders.*.1",
    "orders.us.1.x",
    "logs.a",
    "a..b",
  ),
  key.map((one) => `$KV.K.${one}`),
);
const inbox = fc.constantFrom(
  "_INBOX.mine.1",
  "_INBOX.mine.2",
  "_INBOX.>",
  "_INBOX.identity.other",
  "admin.pwn",
);
/** Settings, most of them such as stock clients send. */
const settings = fc.record(
  {
    deliver_policy: fc.constantFrom("all", "last_per_subject", "by_start_sequence"),
    ack_policy: fc.constantFrom("none", "explicit"),
    inactive_threshold: fc.constantFrom(300e9, 0),
    flow_control: fc.boolean(),
    idle_heartbeat: fc.constantFrom(30e9, 5e9),
    metadata: fc.constant({ countersign: "mine" }),
  },
  { requiredKeys: [] },
);
const hostile = fc.oneof(
  { weight: 9, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      { deliver_group: "g" },
      { backoff: [1] },
      { constructor: 1 },
      { inactive_threshold: 1e15 },
      { filter_subjects: ["orders.eu.1", "orders.us.1"] },
      { name: "b" },
    ),
  },
);
/** CONSUMER.CREATE in its three forms; subject and payload agree, but for what is hostile. */
const creating = fc
  .record({
    stream,
    name,
    filter: fc.option(filter),
    deliver: fc.option(inbox),
    settings,
    hostile,
    durable: fc.boolean(),
  })
  .map(({ stream, name, filter, deliver, settings, hostile, durable }) => ({
    subject: durable
      ? `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.${name}`
      : ["$JS.API.CONSUMER.CREATE", stream, ...(name === "" ? [] : [name, ...(filter ? [filter] : [])])].join(
          ".",
        ),
    payload: {
      stream_name: stream,
      config: {
        ...(durable ? { durable_name: name } : { name }),
        ...(filter && { filter_subject: filter }),
        ...(deliver && { deliver_subject: deliver }),
        ...settings,
        ...hostile,
      },
    },
  }));
const anything = fc.record({
  subject: fc.oneof(
    fc
      .tuple(fc.constantFrom("INFO", "DELETE", "MSG.NEXT", "LIST", "PAUSE"), stream, name)
      .map((parts) => `$JS.API.CONSUMER.${parts.join(".")}`),
    fc
      .tuple(fc.constantFrom("INFO", "MSG.GET", "MSG.DELETE", "PURGE", "DELETE", "UPDATE"), stream)
      .map((parts) => `$JS.API.STREAM.${parts.join(".")}`),
    fc.tuple(stream, filter).map((parts) => `$JS.API.DIRECT.GET.${parts.join(".")}`),
    stream.map((one) => `$JS.API.DIRECT.GET.${one}`),
    fc.tuple(stream, name).map(([one, other]) => `$JS.ACK.${one}.${other}.1.1.1.1.1`),
    fc.tuple(stream, name).map(([one, other]) => `$JS.FC.${one}.${other}.x`),
    key.map((one) => `$KV.K.${one}`),
    filter,
  ),
  payload: fc.oneof(
    filter.map((one) => ({ last_by_subj: one })),
    fc.constant({ seq: 3 }),
    fc.constantFrom("", "1", "+ACK", "-NAK", "+NXT 1", "{", "[]"),
  ),
});
const header = fc.tuple(
  fc.constantFrom("a", "Nats-Rollup", "Nats-Msg-Id", "Nats-Schedule-Target", "KV-Operation", "nats-ttl"),
  fc.constantFrom("sub", "all", "1", "DEL", "admin.x"),
);
const request = fc
  .tuple(fc.oneof(creating, anything), fc.array(header, { maxLength: 1 }), fc.boolean())
  .map(([{ subject, payload }, headers, taken]) => ({
    taken,
    subject,
    payload: bytesOf(payload),
    headers,
  }));

test("JetStreamJudge.judge() forwards nothing beyond the permissions of the same Grant", () => {
  fc.assert(
    fc.property(fc.array(request, { minLength: 10, maxLength: 40, size: "max" }), (requests) => {
      let now = 1_000;
      const names = new ConsumerNames({ user: grant.user, count: 3, clock: () => (now += 4) });
      const judge = createJetStreamJudge({
        grant,
        inbox: createInboxMap(`${INBOX}.c1`),
        names,
        subscribed: () => false,
      });
      for (const one of requests) {
        const verdict = judge.judge({ ...one, reply: "_INBOX.r.1" });
        if (verdict.do === "forward") forwarded.add(verdict.subject.split(".").slice(0, 4).join("."));
        examine(verdict, one.taken);
      }
    }),
    { numRuns: 2_000, seed: SEED },
  );
  // It has seen what it is about.
  const kinds = ["CONSUMER.CREATE", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.MSG", "DIRECT.GET"];
  for (const kind of kinds) assert(forwarded.has(`$JS.API.${kind}`), kind);
  assert(forwarded.has("$KV.K.demo-alice.1"));
});

const forwarded = new Set<string>();

/** @param isTaken  whether another has every number that is tried */
function examine(verdict: JetStreamVerdict, isTaken: boolean): void {
  if (verdict.do !== "forward") return;
  examineStep(verdict);
  for (const [header, value] of verdict.headers) {
    if (/^nats-/i.test(header)) assert.equal(`${header}: ${value}`, "Nats-Rollup: sub");
  }
  if (!isTaken || !verdict.onReply) return;
  // Each further request is as good as the first.
  const taken = Buffer.from(JSON.stringify({ error: { code: 400, err_code: 10148 } }));
  let reply = verdict.onReply({ payload: taken });
  for (let step = 0; reply.do === "ask"; step++) {
    assert(step < 10, "it comes to an end");
    examineStep(reply);
    reply = reply.onReply({ payload: taken });
  }
}

function examineStep({ subject, payload }: Pick<JetStreamStep, "subject" | "payload">): void {
  const { allow = [], deny = [] } = permissions.pub;
  const fits = allow.some((one) => includes(one, subject)) && !deny.some((one) => includes(one, subject));
  assert(fits, `nats-server would refuse ${subject}`);
  if (!subject.startsWith("$JS.API.CONSUMER.CREATE.")) return;
  const [, , , , stream, name, ...filter] = subject.split(".");
  const { stream_name, config } = JSON.parse(Buffer.from(payload).toString());
  assert.deepEqual(
    [stream_name, config.name, config.filter_subject, config.filter_subjects, config.deliver_group],
    [stream, name, filter.join("."), undefined, undefined],
  );
  if (config.deliver_subject !== undefined) {
    assert.match(config.deliver_subject, /^_INBOX\.identity\.c1\.[^*>]+$/);
  }
}
