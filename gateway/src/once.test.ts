import assert from "node:assert/strict";
import { test } from "node:test";
import { Deadline } from "./deadline.ts";
import { type Attempt, type AttemptStore, createOnce, type Keyed, type Sent } from "./once.ts";
import { allowed, type Refusal, refused } from "./refusal.ts";

const AT = { stream: "LAB", sequence: 7 };
const STORED: Sent = { outcome: allowed({ ...AT, duplicate: false }), root: "r" };
const UNKNOWN: Sent = { outcome: refused({ reason: "outcome_unknown", timeoutMs: 1 }) };
const FAILED: Sent = { outcome: refused({ reason: "precondition_failed", why: "no" }) };

/** A memory that answers as the bucket does, `fails` times not at all. */
class Memory implements AttemptStore {
  readonly entries = new Map<string, { attempt?: Attempt; revision: number }>();
  fails = 0;
  /** Writes that arrive while nobody learns of it. */
  inDoubt = 0;
  #revision = 0;

  async write(id: string, attempt: Attempt | undefined, replaces: number): Promise<number | undefined> {
    if (this.fails-- > 0) throw new Error("no leader");
    if ((this.entries.get(id)?.revision ?? 0) !== replaces) return undefined;
    const revision = ++this.#revision;
    this.entries.set(id, { ...(attempt && { attempt }), revision });
    if (this.inDoubt-- > 0) throw new Error("timeout");
    return revision;
  }

  async read(id: string): Promise<{ attempt?: Attempt; revision: number }> {
    return this.entries.get(id) ?? { revision: 0 };
  }
}

class Bench {
  readonly memory = new Memory();
  now = 1_000;
  sent = 0;
  readonly #once = createOnce({ attempts: this.memory, clock: () => this.now });

  async send(of: Partial<Keyed>, result: Sent | (() => Promise<Sent>), deadlineMs = 2_000): Promise<Sent> {
    const deadline = new Deadline(deadlineMs);
    const keyed = { id: "i", txn: "t1", fingerprint: "f", timeoutMs: 10_000, ...of };
    try {
      return await this.#once(keyed, deadline, async () => {
        this.sent += 1;
        return typeof result === "function" ? await result() : result;
      });
    } finally {
      deadline.end();
    }
  }
}

function reasonOf({ outcome }: Sent): Refusal["reason"] | undefined {
  return outcome.ok ? undefined : outcome.refusal.reason;
}

test("once() answers a retry from memory: the place of the first, as a duplicate, without sending", async () => {
  const bench = new Bench();
  assert.deepEqual(await bench.send({}, STORED), STORED);
  bench.now += 3_000;
  const again = await bench.send({ txn: "t2" }, UNKNOWN);
  assert.deepEqual(again, { outcome: allowed({ ...AT, duplicate: true }) });
  assert.equal(bench.sent, 1);
});

test("once() refuses another message under the same key, whatever became of the first", async () => {
  const bench = new Bench();
  for (const first of [STORED, UNKNOWN]) {
    const id = String(bench.sent);
    await bench.send({ id }, first);
    const other = await bench.send({ id, txn: "t2", fingerprint: "g" }, STORED);
    assert.equal(reasonOf(other), "key_reused");
  }
  assert.equal(bench.sent, 2);
});

test("once() refuses a second attempt while the first is under way, here or elsewhere", async () => {
  const bench = new Bench();
  const { promise, resolve } = Promise.withResolvers<Sent>();
  const first = bench.send({}, () => promise);
  await new Promise(setImmediate);
  const second = await bench.send({ txn: "t2" }, STORED);
  assert.deepEqual(second.outcome, refused({ reason: "key_in_use", retryAfterSeconds: 10 }));
  resolve(STORED);
  assert.deepEqual(await first, STORED);
  assert.equal(bench.sent, 1);
});

test("once() sends again what ended unknown, under the same id, as long as the stream knows copies", async () => {
  const bench = new Bench();
  await bench.send({}, UNKNOWN);
  bench.now += 11;
  const had: Sent = { outcome: allowed({ ...AT, duplicate: true }) };
  assert.deepEqual(await bench.send({ txn: "t2" }, had), had);
  assert.equal(bench.sent, 2);
});

test("once() does not send again what ended unknown too long ago, counted from the first attempt", async () => {
  const bench = new Bench();
  await bench.send({}, UNKNOWN);
  bench.now += 60;
  await bench.send({ txn: "t2" }, UNKNOWN);
  bench.now += 60;
  assert.equal(reasonOf(await bench.send({ txn: "t3" }, STORED)), "key_undecided");
  assert.equal(bench.sent, 2);
});

test("once() has an attempt end before the stream may forget the first", async () => {
  const bench = new Bench();
  await bench.send({}, UNKNOWN);
  bench.now += 104.95;
  const deadline = new Deadline(60_000);
  const once = createOnce({ attempts: bench.memory, clock: () => bench.now });
  const keyed = { id: "i", txn: "t2", fingerprint: "f", timeoutMs: 60_000 };
  await once(keyed, deadline, async () => {
    await deadline.pause(60_000);
    return UNKNOWN;
  });
  assert.equal(deadline.passed, true);
  deadline.end();
});

test("once() frees the key of what was certainly not stored, so that it may be mended", async () => {
  const bench = new Bench();
  assert.equal(reasonOf(await bench.send({}, FAILED)), "precondition_failed");
  assert.deepEqual(await bench.send({ txn: "t2", fingerprint: "mended" }, STORED), STORED);
  assert.equal(bench.sent, 2);
});

test("once() keeps the key of an attempt that may have been stored, whatever a later one says", async () => {
  const bench = new Bench();
  await bench.send({}, UNKNOWN);
  bench.now += 11;
  await bench.send({ txn: "t2" }, FAILED);
  assert.equal(reasonOf(await bench.send({ txn: "t3", fingerprint: "g" }, STORED)), "key_reused");
});

test("once() waits for a memory whose leader is elected, and knows its own writing again", async () => {
  const bench = new Bench();
  bench.memory.fails = 2;
  bench.memory.inDoubt = 1;
  assert.deepEqual(await bench.send({}, STORED), STORED);
  assert.equal(bench.sent, 1);
});

test("once() sends nothing when the memory cannot be reached", async () => {
  const bench = new Bench();
  bench.memory.fails = Number.POSITIVE_INFINITY;
  const { outcome } = await bench.send({}, STORED, 300);
  const refusal = { reason: "check_unavailable", check: "idempotency", why: "no leader" } as const;
  assert.deepEqual(outcome, refused(refusal));
  assert.equal(bench.sent, 0);
});
