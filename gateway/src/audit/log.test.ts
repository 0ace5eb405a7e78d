import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type AuditFault, createAuditLog } from "./log.ts";
import type { AuditRecord } from "./record.ts";
import type { Sink } from "./sink.ts";

function recordOf(txn: string): AuditRecord {
  return {
    kind: "decision",
    at: "2026-11-24T06:40:00.000Z",
    txn,
    requestId: txn,
    instance: "gw1",
    lane: "http",
    action: "publish a",
    outcome: "allowed",
  };
}

/** A sink that remembers each append, and answers as told. */
function createMemorySink(answer: () => void | Promise<void> = () => {}) {
  const appends: { readonly txns: readonly string[]; readonly durable: boolean }[] = [];
  let closed = 0;
  const sink: Sink = {
    name: "memory",
    append(lines, durable) {
      appends.push({
        txns: lines.map((line) => JSON.parse(line)).map((e) => e.txn ?? e.txns.join()),
        durable,
      });
      return answer();
    },
    close() {
      closed += 1;
    },
  };
  return { sink, appends, closed: () => closed };
}

const noFault = (fault: AuditFault) => assert.fail(JSON.stringify(fault));

test("createAuditLog() makes one write of all records and completions of a turn, in order", async () => {
  const { sink, appends } = createMemorySink();
  const log = createAuditLog({ sinks: [sink], onFault: noFault });
  const first = log.record(recordOf("a"));
  log.complete({ kind: "completion", at: "", instance: "", txns: ["z"], outcome: "received" });
  await Promise.all([first, log.record(recordOf("b"))]);
  await log.record(recordOf("c"));
  assert.deepEqual(appends, [
    { txns: ["a", "z", "b"], durable: false },
    { txns: ["c"], durable: false },
  ]);
});

test("createAuditLog() fulfils no record before every sink has taken it", async () => {
  const gate = Promise.withResolvers<void>();
  const slow = createMemorySink(() => gate.promise);
  const log = createAuditLog({ sinks: [createMemorySink().sink, slow.sink], onFault: noFault });
  let done = false;
  const record = log.record(recordOf("a")).then(() => {
    done = true;
  });
  await nextTurn();
  await nextTurn();
  assert.equal(done, false);
  gate.resolve();
  await record;
  assert.equal(done, true);
});

test("createAuditLog() asks for durability once per turn, and later turns do not wait for it", async () => {
  const gate = Promise.withResolvers<void>();
  const appends: boolean[] = [];
  const sink: Sink = {
    name: "memory",
    append(_, durable) {
      appends.push(durable);
      return durable ? gate.promise : undefined;
    },
    close() {},
  };
  const log = createAuditLog({ sinks: [sink], onFault: noFault });
  const plain = log.record(recordOf("a"));
  const durable = log.record(recordOf("b"), true);
  await nextTurn();
  await log.record(recordOf("c"));
  assert.deepEqual(appends, [true, false]);
  gate.resolve();
  await Promise.all([plain, durable]);
});

for (const [how, fail] of [
  ["throws", () => assert.fail("disk full")],
  ["rejects", () => Promise.reject(new Error("disk full"))],
] as const) {
  test(`createAuditLog() rejects the records of the turn when one sink ${how}, and no others`, async () => {
    let failing = true;
    const faults: AuditFault[] = [];
    const good = createMemorySink();
    const bad = createMemorySink(() => (failing ? fail() : undefined));
    const log = createAuditLog({ sinks: [bad.sink, good.sink], onFault: (fault) => faults.push(fault) });
    log.complete({ kind: "completion", at: "", instance: "", txns: ["z"], outcome: "received" });
    const outcomes = await Promise.allSettled([log.record(recordOf("a")), log.record(recordOf("b"))]);
    assert.deepEqual(
      outcomes.map((outcome) => outcome.status),
      ["rejected", "rejected"],
    );
    await assert.rejects(log.record(recordOf("c")), { code: "AUDIT_UNWRITABLE" });
    failing = false;
    await log.record(recordOf("d"));
    assert.deepEqual(faults, [
      { sink: "memory", why: "disk full", records: 2, completions: 1 },
      { sink: "memory", why: "disk full", records: 1, completions: 0 },
    ]);
    assert.equal(good.appends.length, 3);
  });
}

test("createAuditLog() reports a lost completion that nobody waits for, without an unhandled rejection", async () => {
  const faults: AuditFault[] = [];
  const bad = createMemorySink(() => assert.fail("disk full"));
  const log = createAuditLog({ sinks: [bad.sink], onFault: (fault) => faults.push(fault) });
  log.complete({ kind: "completion", at: "", instance: "", txns: ["a"], outcome: "received" });
  await nextTurn();
  await nextTurn();
  assert.deepEqual(faults, [{ sink: "memory", why: "disk full", records: 0, completions: 1 }]);
});

test("createAuditLog() flushes on close, closes each sink once, and refuses records afterwards", async () => {
  const gate = Promise.withResolvers<void>();
  const { sink, appends, closed } = createMemorySink(() => gate.promise);
  const faults: AuditFault[] = [];
  const log = createAuditLog({ sinks: [sink], onFault: (fault) => faults.push(fault) });
  const record = log.record(recordOf("a"));
  const closing = log.close();
  assert.deepEqual(appends, [{ txns: ["a"], durable: false }]);
  assert.equal(closed(), 0);
  gate.resolve();
  await Promise.all([record, closing]);
  assert.equal(closed(), 1);
  await assert.rejects(log.record(recordOf("b")), { code: "AUDIT_UNWRITABLE" });
  log.complete({ kind: "completion", at: "", instance: "", txns: ["a"], outcome: "received" });
  assert.deepEqual(faults, [{ sink: "log", why: "the log is closed", records: 0, completions: 1 }]);
});

test("createAuditLog() refuses to be built without a sink", () => {
  assert.throws(() => createAuditLog({ sinks: [], onFault: noFault }), { code: "AUDIT_UNWRITABLE" });
});
