import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turnEnd } from "node:timers/promises";
import { createTurn } from "./turn.ts";

function gather(batchMax: number) {
  const batches: (readonly number[])[] = [];
  return { batches, add: createTurn<number>((batch) => batches.push(batch), { batchMax }) };
}

test("createTurn() hands over all of one turn at its end, in order", async () => {
  const { batches, add } = gather(100);
  add(1);
  await Promise.resolve();
  add(2);
  assert.deepEqual(batches, []);
  await turnEnd();
  add(3);
  await turnEnd();
  assert.deepEqual(batches, [[1, 2], [3]]);
});

test("createTurn() hands over early what would make a batch too large, and each item once", async () => {
  const { batches, add } = gather(2);
  for (const item of [1, 2, 3, 4, 5]) add(item);
  assert.deepEqual(batches, [
    [1, 2],
    [3, 4],
  ]);
  await turnEnd();
  await turnEnd();
  assert.deepEqual(batches.at(-1), [5]);
  assert.equal(batches.length, 3);
});
