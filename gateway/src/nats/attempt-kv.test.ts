import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Attempt } from "../once.ts";
import { createAttemptKv } from "./attempt-kv.ts";
import { type Control, openControl } from "./control.ts";
import { controlOptionsOf, startCluster, type TestCluster } from "./testing/cluster.ts";

let cluster: TestCluster;
let control: Control;
before(async () => {
  cluster = await startCluster();
  control = await openControl(controlOptionsOf(cluster, "one"));
});
after(async () => {
  await control?.close();
  await cluster?.close();
});

const attempt: Attempt = { fingerprint: "f", txn: "t", untilAt: 1_010.5, begunAt: 1_000 };

function idOf(n: number): string {
  return `01a20c69-d43b-8398-8a57-${String(n).padStart(12, "0")}`;
}

test("an attempt is written once, read by every instance, and replaced by who knows what stands there", async () => {
  const [here, there] = [createAttemptKv(control), createAttemptKv(control)];
  assert.deepEqual(await there.read(idOf(1)), { revision: 0 });
  const first = await here.write(idOf(1), attempt, 0);
  assert(first);
  assert.deepEqual(await there.read(idOf(1)), { attempt, revision: first });
  assert.equal(await there.write(idOf(1), { ...attempt, txn: "other" }, 0), undefined);
  const stored = { ...attempt, stored: { stream: "LAB", sequence: 7 } };
  const second = await there.write(idOf(1), stored, first);
  assert.deepEqual(await here.read(idOf(1)), { attempt: stored, revision: second });
});

test("an attempt that is forgotten leaves its place to the next", async () => {
  const attempts = createAttemptKv(control);
  const first = (await attempts.write(idOf(2), attempt, 0)) ?? assert.fail("not written");
  const gone = await attempts.write(idOf(2), undefined, first);
  assert.deepEqual(await attempts.read(idOf(2)), { revision: gone });
  assert(await attempts.write(idOf(2), attempt, gone ?? 0));
});

test("attempts are kept for an hour", async () => {
  const { config } = await control.manager.streams.info("KV_attempts");
  assert.equal(config.max_age, 3_600 * 1_000_000_000);
});

test("what no gateway has written is no attempt, and nothing but the id of a message names one", async () => {
  const attempts = createAttemptKv(control);
  const others = ["{", "null", "{}", JSON.stringify({ ...attempt, untilAt: "1" }), '{"fingerprint":"f"}'];
  for (const [n, text] of [...others, JSON.stringify({ ...attempt, stored: {} })].entries()) {
    await control.bucket("attempts").put(idOf(10 + n), text);
    await assert.rejects(attempts.read(idOf(10 + n)), text);
  }
  await assert.rejects(attempts.read("a.>"), /is a UUID/);
});
