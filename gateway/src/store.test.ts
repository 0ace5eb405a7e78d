import assert from "node:assert/strict";
import { test } from "node:test";
import type { Admission } from "./admit.ts";
import type { Done } from "./completions.ts";
import type { Connection, OutboundMessage, Pool } from "./nats/connection.ts";
import type { StreamAnswer } from "./nats/stream-answer.ts";
import type { Message } from "./prepare.ts";
import { allowed, type Outcome, type Refusal, refused } from "./refusal.ts";
import { createStore, type Stored } from "./store.ts";

const ADMISSION = { facts: { txn: "t" } } as unknown as Admission;
const MESSAGE: Message = {
  facts: { id: "i", subject: "lab.a", bytes: 1, digest: "d" },
  payload: Buffer.from("1"),
  headers: [],
};

type Answer = Outcome<StreamAnswer> | "never";

const stored = (duplicate = false): Answer =>
  allowed({ stored: true, stream: "LAB", sequence: 7, duplicate });
const error = (status: number, code: number, description = ""): Answer =>
  allowed({ stored: false, status, code, description });
const no = (refusal: Refusal): Answer => refused(refusal);
const GONE = no({ reason: "nats_unavailable", why: "not connected" });
const LOST = no({ reason: "connection_lost" });
const NOBODY = no({ reason: "no_responders", subject: "lab.a" });

/** Answers attempt after attempt as written; the last answer holds for all that follow. */
async function storing(
  answers: readonly Answer[],
  { timeoutMs = 5_000, standalone = false, over = () => false as boolean } = {},
): Promise<{
  outcome: Outcome<Stored>;
  sent: readonly OutboundMessage[];
  done: readonly Done[];
  holds: number;
}> {
  const sent: OutboundMessage[] = [];
  const done: Done[] = [];
  let holds = 0;
  const connection = {
    standalone,
    get over() {
      return over();
    },
    store(message: OutboundMessage) {
      sent.push(message);
      const answer = answers[Math.min(sent.length, answers.length) - 1];
      return answer === "never" ? new Promise(() => {}) : Promise.resolve(answer);
    },
  } as unknown as Connection;
  const hold = () => {
    holds += 1;
    return () => {
      holds -= 1;
    };
  };
  const store = createStore({
    pool: { hold } as unknown as Pool,
    prepare: async () => allowed({ connection, headers: [["Nats-Msg-Id", "i"]], root: "r" }),
    complete: (one) => done.push(one),
    attempts: { write: () => assert.fail("it has no key"), read: () => assert.fail("it has no key") },
    clock: () => 0,
  });
  const preconditions = [["Nats-Expected-Last-Sequence", "6"]] as const;
  const outcome = await store(ADMISSION, MESSAGE, { stream: "LAB", timeoutMs, preconditions, keyed: false });
  return { outcome, sent, done, holds };
}

const STORED = { txn: "t", id: "i", subject: "lab.a", stream: "LAB", sequence: 7, duplicate: false };

test("store() names the stream and the preconditions in the message, and completes the record with its place", async () => {
  const { outcome, sent, done, holds } = await storing([stored()]);
  assert.deepEqual(outcome, allowed(STORED));
  assert.deepEqual(sent[0]?.headers, [
    ["Nats-Msg-Id", "i"],
    ["Nats-Expected-Stream", "LAB"],
    ["Nats-Expected-Last-Sequence", "6"],
  ]);
  const at = { stream: "LAB", sequence: 7, duplicate: false };
  assert.deepEqual(done, [{ txn: "t", outcome: "stored", stored: at, root: "r" }]);
  assert.equal(holds, 0);
});

for (const [what, passing] of Object.entries({
  "nobody answers, as while a leader is elected": NOBODY,
  "the connection is being made anew": GONE,
  "JetStream says that it is not available": error(503, 10008),
  "one under this id is in process": error(409, 10158),
  "the connection breaks": LOST,
  "no acknowledgement comes": no({ reason: "timeout", timeoutMs: 1 }),
})) {
  test(`store() sends the same message again when ${what}`, async () => {
    const { outcome, sent } = await storing([passing, passing, stored()]);
    assert.deepEqual(outcome, allowed(STORED));
    assert.equal(sent.length, 3);
    assert(sent.every((message) => message === sent[0]));
  });
}

test("store() says duplicate of what the stream had before, not of what it sent again itself", async () => {
  const had = await storing([NOBODY, stored(true)]);
  assert.equal(had.outcome.ok && had.outcome.value.duplicate, true);
  const again = await storing([LOST, stored(true)]);
  assert.equal(again.outcome.ok && again.outcome.value.duplicate, false);
});

const LASTING: readonly (readonly [Answer, Refusal])[] = [
  [error(400, 10060), { reason: "stream_mismatch", stream: "LAB", subject: "lab.a" }],
  [
    allowed({ stored: true, stream: "OTHER", sequence: 1, duplicate: false }),
    { reason: "stream_mismatch", stream: "LAB", subject: "lab.a" },
  ],
  [
    error(400, 10071, "wrong last sequence: 5"),
    { reason: "precondition_failed", why: "the last sequence is 5", last: 5 },
  ],
  [
    error(400, 10164, "wrong last sequence"),
    { reason: "precondition_failed", why: "the last sequence is another one" },
  ],
  [
    error(400, 10070, "wrong last msg ID: secret"),
    { reason: "precondition_failed", why: "the last message has another id" },
  ],
  [
    error(400, 10054, "message size exceeds maximum allowed"),
    { reason: "stream_refused", stream: "LAB", code: 10054, why: "message size exceeds maximum allowed" },
  ],
  [
    no({ reason: "payload_too_large", bytes: 2, bytesMax: 1 }),
    { reason: "payload_too_large", bytes: 2, bytesMax: 1 },
  ],
];
for (const [answer, refusal] of LASTING) {
  test(`store() does not send again what is refused for good: ${JSON.stringify(refusal)}`, async () => {
    const { outcome, sent, done, holds } = await storing([answer]);
    assert.deepEqual(outcome, refused(refusal));
    assert.equal(sent.length, 1);
    assert.deepEqual(done, [{ txn: "t", outcome: "failed", why: refusal.reason, root: "r" }]);
    assert.equal(holds, 0);
  });
}

const LATE: readonly (readonly [string, readonly Answer[], Refusal])[] = [
  ["an acknowledgement that does not come", ["never"], { reason: "outcome_unknown", timeoutMs: 120 }],
  [
    "one that may be stored, before nobody answered",
    [LOST, NOBODY],
    { reason: "outcome_unknown", timeoutMs: 120 },
  ],
  ["nobody who answers", [NOBODY], { reason: "no_stream", stream: "LAB", subject: "lab.a" }],
  ["no connection", [GONE], { reason: "nats_unavailable", why: "not connected" }],
  [
    "a stream that is full",
    [error(503, 10077, "maximum messages exceeded")],
    { reason: "stream_refused", stream: "LAB", code: 10077, why: "maximum messages exceeded" },
  ],
];
for (const [what, answers, refusal] of LATE) {
  test(`store() gives up at the deadline on ${what}, and says what is known`, async () => {
    const { outcome, done } = await storing(answers, { timeoutMs: 120 });
    assert.deepEqual(outcome, refused(refusal));
    const fate = refusal.reason === "outcome_unknown" ? "unknown" : "failed";
    assert.deepEqual([done[0]?.outcome, done[0]?.why], [fate, refusal.reason]);
  });
}

test("store() asks once where a server stands alone and nobody answers", async () => {
  const { outcome, sent } = await storing([NOBODY], { standalone: true });
  assert(!outcome.ok && outcome.refusal.reason === "no_stream");
  assert.equal(sent.length, 1);
});

test("store() sends nothing more once the identity's connection has ended: its proof may have been revoked", async () => {
  const { outcome, sent } = await storing([LOST, stored()], { over: () => true });
  assert.deepEqual(outcome, refused({ reason: "outcome_unknown", timeoutMs: 5_000 }));
  assert.equal(sent.length, 1);
});
