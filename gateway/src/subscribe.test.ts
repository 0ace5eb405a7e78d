import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turnEnd } from "node:timers/promises";
import type { AuditCompletion } from "./audit/record.ts";
import type { Identity } from "./identity/identity.ts";
import type { Connection, InboundMessage, Pool, SubscribeOptions } from "./nats/connection.ts";
import type { Grant } from "./policy/grant.ts";
import { allowed, type Outcome, refused } from "./refusal.ts";
import {
  createArrivals,
  createSubscribe,
  type EndCode,
  type Sender,
  type StreamEvent,
  type StreamSink,
  type Subscribe,
  type SubscribeAdmission,
} from "./subscribe.ts";

const NOW = 1_000;

function admissionOf({
  subject = "lab.a",
  user = "test-ada",
  actor,
  connections = 2,
  provedAt = 900,
  expiresAt = NOW + 60,
  until,
}: {
  readonly subject?: string;
  readonly user?: string;
  readonly actor?: string;
  readonly connections?: number;
  readonly provedAt?: number;
  readonly expiresAt?: number;
  readonly until?: number;
} = {}): SubscribeAdmission {
  const identity = {
    user,
    ...(actor !== undefined && { actor: { user: actor } }),
    proof: { kind: "bearer", hash: "hash" },
    provedAt,
    expiresAt,
  } as Identity;
  const grant = { limits: { connections }, ...(until !== undefined && { until }) } as Grant;
  const facts = { txn: "txn", requestId: "txn", lane: "sse" };
  return { admission: { identity, grant, facts, at: NOW }, subject };
}

interface Bench {
  /** What nats-server answers to a subscription. */
  readonly answer?: (subject: string) => Outcome<void> | Promise<Outcome<void>>;
  readonly connection?: Outcome<never>;
  readonly senderOf?: (message: InboundMessage) => Promise<Sender>;
}

function bench({ answer = () => allowed(undefined), connection, senderOf }: Bench = {}) {
  const subscribed: SubscribeOptions[] = [];
  const open = new Set<SubscribeOptions>();
  const completions: AuditCompletion[] = [];
  let holds = 0;
  const fake = {
    async subscribe(options: SubscribeOptions) {
      const taken = await answer(options.subject);
      if (!taken.ok) return taken;
      subscribed.push(options);
      open.add(options);
      return allowed({ end: () => open.delete(options) });
    },
  } as unknown as Connection;
  const pool = {
    connectionFor: () => connection ?? allowed(fake),
    hold() {
      holds += 1;
      return () => {
        holds -= 1;
      };
    },
  } as unknown as Pool;
  const streams = createSubscribe({
    pool,
    arrivalOf: createArrivals(
      senderOf ?? (async () => ({ verified: false, code: "seal_missing" })),
      () => NOW,
    ),
    audit: {
      record: async () => {},
      complete: (entry) => completions.push(entry),
      close: async () => {},
    },
    clock: () => NOW,
    instance: "test",
  });
  return { streams, subscribed, open, completions, holds: () => holds };
}

function openOn(
  streams: Subscribe,
  admissions: readonly SubscribeAdmission[],
  to: StreamSink,
): ReturnType<Subscribe["open"]> {
  return streams.open({ admissions, sink: to });
}

function sink(deliver: (event: StreamEvent) => boolean = () => true) {
  const events: StreamEvent[] = [];
  const ends: EndCode[] = [];
  return {
    events,
    ends,
    deliver(event: StreamEvent) {
      events.push(event);
      return deliver(event);
    },
    drained: async () => false,
    reached: () => assert.fail("only what is stored has places"),
    end: (code: EndCode) => ends.push(code),
  };
}

function messageOf(text: string): InboundMessage {
  return { subject: "lab.a", payload: Buffer.from(text), headers: [] };
}

test("open() delivers in order although verification of some takes longer", async () => {
  const key = Promise.withResolvers<Sender>();
  const senderOf = ({ payload }: InboundMessage): Promise<Sender> =>
    payload[0] === 0x31 ? key.promise : Promise.resolve({ verified: false, code: "seal_missing" });
  const { streams, subscribed } = bench({ senderOf });
  const reader = sink();
  await openOn(streams, [admissionOf()], reader);
  for (const text of ["1", "2", "3"]) subscribed[0]?.onMessage(messageOf(text));
  await turnEnd();
  assert.equal(reader.events.length, 0);
  key.resolve({ verified: false, code: "kid_unknown" });
  await turnEnd();
  assert.deepEqual(
    reader.events.map(({ arrival: { message, at }, sender }) => [
      String(message.payload),
      !sender.verified && sender.code,
      at,
    ]),
    [
      ["1", "kid_unknown", NOW],
      ["2", "seal_missing", NOW],
      ["3", "seal_missing", NOW],
    ],
  );
});

test("open() refuses more streams than the grant says, also of requests that come at once, and agents apart", async () => {
  const { streams, completions } = bench();
  const opened = await Promise.all([1, 2, 3].map(() => openOn(streams, [admissionOf()], sink())));
  const refusal = { reason: "connections_exceeded", connectionsMax: 2 };
  assert.deepEqual(
    opened.map((outcome) => (outcome.ok ? "open" : outcome.refusal)),
    ["open", "open", refusal],
  );
  assert.deepEqual(
    completions.map(({ txns, outcome, why }) => [txns, outcome, why]),
    [[["txn"], "failed", "connections_exceeded"]],
  );
  assert.equal((await openOn(streams, [admissionOf({ actor: "test-agent" })], sink())).ok, true);
  const [first] = opened;
  assert(first?.ok);
  first.value();
  assert.equal((await openOn(streams, [admissionOf()], sink())).ok, true);
});

test("open() refuses none at all", async () => {
  const { streams } = bench();
  const outcome = await openOn(streams, [], sink());
  const refusal = { reason: "request_invalid", what: "subject", why: "none is given" };
  assert.deepEqual(outcome, { ok: false, refusal });
});

test("open() lets go of everything when one subject is not taken, and completes the record", async () => {
  const away = refused({ reason: "nats_unavailable", why: "refused" });
  const { streams, open, completions, holds } = bench({
    answer: (subject) => (subject === "lab.b" ? away : allowed(undefined)),
  });
  const reader = sink();
  const outcome = await openOn(streams, [admissionOf(), admissionOf({ subject: "lab.b" })], reader);
  assert.deepEqual(outcome, away);
  assert.deepEqual([open.size, holds(), streams.size, reader.ends], [0, 0, 0, []]);
  assert.deepEqual(
    completions.map(({ outcome: how, why }) => [how, why]),
    [["failed", "nats_unavailable"]],
  );
});

test("open() passes on why there is no connection", async () => {
  const connection = refused({ reason: "capacity_exceeded", what: "connections", max: 1 });
  const { streams, holds } = bench({ connection });
  assert.deepEqual(await openOn(streams, [admissionOf()], sink()), connection);
  assert.deepEqual([holds(), streams.size], [0, 0]);
});

test("open() leaves no subscription behind that is taken after the end", async () => {
  const late = Promise.withResolvers<Outcome<void>>();
  const { streams, open } = bench({ answer: () => late.promise });
  const reader = sink();
  const opening = openOn(streams, [admissionOf()], reader);
  streams.close();
  late.resolve(allowed(undefined));
  assert.equal((await opening).ok, false);
  assert.deepEqual([open.size, reader.ends], [0, ["shutdown"]]);
});

for (const [what, ends] of [
  ["the proof", { expiresAt: NOW + 5 }],
  ["the grant", { expiresAt: NOW + 60, until: NOW + 5 }],
] as const) {
  test(`a stream ends with ${what}, and says so once`, async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { streams, open, completions, holds } = bench();
    const reader = sink();
    await openOn(streams, [admissionOf(ends)], reader);
    t.mock.timers.tick(4_999);
    assert.deepEqual(reader.ends, []);
    t.mock.timers.tick(1);
    assert.deepEqual([reader.ends, open.size, holds(), streams.size], [["expired"], 0, 0, 0]);
    streams.close();
    assert.deepEqual(reader.ends, ["expired"]);
    assert.deepEqual(
      completions.map(({ outcome, why, messages }) => [outcome, why, messages]),
      [["ended", "expired", 0]],
    );
  });
}

test("a stream ends when its reader is too far behind, and nothing is delivered after", async () => {
  const { streams, subscribed, open } = bench();
  const reader = sink(() => false);
  await openOn(streams, [admissionOf()], reader);
  subscribed[0]?.onMessage(messageOf("1"));
  subscribed[0]?.onMessage(messageOf("2"));
  await turnEnd();
  assert.deepEqual([reader.events.length, reader.ends, open.size], [1, ["slow_reader"], 0]);
});

test("a stream ends when too many messages wait for their seals to be verified", async () => {
  const { streams, subscribed } = bench({ senderOf: () => new Promise(() => {}) });
  const reader = sink();
  await openOn(streams, [admissionOf()], reader);
  for (let n = 0; n < 4_096; n++) subscribed[0]?.onMessage(messageOf(""));
  assert.deepEqual(reader.ends, []);
  subscribed[0]?.onMessage(messageOf(""));
  assert.deepEqual(reader.ends, ["slow_reader"]);
});

test("a stream ends when too many bytes wait for their seals to be verified", async () => {
  const { streams, subscribed } = bench({ senderOf: () => new Promise(() => {}) });
  const reader = sink();
  await openOn(streams, [admissionOf()], reader);
  const large = { ...messageOf(""), payload: new Uint8Array(1_048_576) };
  for (let n = 0; n < 16; n++) subscribed[0]?.onMessage(large);
  assert.deepEqual(reader.ends, []);
  subscribed[0]?.onMessage(large);
  assert.deepEqual(reader.ends, ["slow_reader"]);
});

test("revoke() ends the streams whose proof is not newer, of that user or session, and no others", async () => {
  const { streams } = bench();
  const readers = { before: sink(), after: sink(), other: sink() };
  await openOn(streams, [admissionOf({ provedAt: 500 })], readers.before);
  await openOn(streams, [admissionOf({ provedAt: 501 })], readers.after);
  await openOn(streams, [admissionOf({ user: "test-bob", provedAt: 500 })], readers.other);
  streams.revoke({ user: "test-ada" }, 500);
  assert.deepEqual([readers.before.ends, readers.after.ends, readers.other.ends], [["logout"], [], []]);
  streams.revoke({ session: "another" }, 900);
  assert.deepEqual(readers.after.ends, []);
  streams.revoke({ session: "hash" }, 501);
  assert.deepEqual([readers.after.ends, readers.other.ends], [["logout"], ["logout"]]);
});

test("regrant() ends the streams that lost a subject, or have no grant at all, and takes the nearer end of the others", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { streams, completions } = bench();
  const readers = { keeps: sink(), loses: sink(), none: sink() };
  await openOn(streams, [admissionOf({ user: "test-ada" })], readers.keeps);
  await openOn(streams, [admissionOf({ user: "test-bob" })], readers.loses);
  await openOn(streams, [admissionOf({ user: "test-eve" })], readers.none);
  const rule = { text: "subscribe lab.>", file: "p.yaml", line: 1 };
  const grantOf = (pattern: string): Grant =>
    ({
      may: [{ verb: "subscribe", pattern, rule }],
      never: [],
      limits: { connections: 2 },
      until: NOW + 10,
    }) as unknown as Grant;
  streams.regrant(({ user }) =>
    user === "test-eve" ? undefined : grantOf(user === "test-ada" ? "lab.>" : "other.>"),
  );
  assert.deepEqual([readers.keeps.ends, readers.loses.ends, readers.none.ends], [[], ["policy"], ["policy"]]);
  assert.deepEqual(
    completions.map(({ why }) => why),
    ["policy", "policy"],
  );
  t.mock.timers.tick(10_000);
  assert.deepEqual(readers.keeps.ends, ["expired"]);
});

test("a stream ends with its connection: as a sign-out when that was why", async () => {
  const { streams, subscribed } = bench();
  for (const [why, code] of [
    ["revoked", "logout"],
    ["closed", "unavailable"],
    ["refused", "unavailable"],
  ] as const) {
    const reader = sink();
    await openOn(streams, [admissionOf()], reader);
    subscribed.at(-1)?.onEnd(why);
    assert.deepEqual(reader.ends, [code]);
  }
});

test("close() ends all with `shutdown`, and refuses further ones", async () => {
  const { streams } = bench();
  const reader = sink();
  await openOn(streams, [admissionOf()], reader);
  streams.close();
  assert.deepEqual([reader.ends, streams.size], [["shutdown"], 0]);
  const outcome = await openOn(streams, [admissionOf()], sink());
  assert.deepEqual(outcome, { ok: false, refusal: { reason: "shutting_down" } });
});
