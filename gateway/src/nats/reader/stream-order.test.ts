import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Ordered, StreamOrder } from "./stream-order.ts";

const SEED = 20_261_126;

/** What a server brings to one reader: its messages in order, each with how many more wait. */
type Script = readonly Ordered[];

/** Whose message each of a stream is, of up to four readers, and in which turns they come. */
const course = fc.record({
  owners: fc.array(fc.nat({ max: 3 }), { maxLength: 40 }),
  turns: fc.array(fc.nat({ max: 3 }), { maxLength: 60 }),
});

function scriptsOf(owners: readonly number[]): readonly Script[] {
  return [0, 1, 2, 3].map((reader) => {
    const sequences = [...owners.keys()].filter((index) => owners[index] === reader);
    return sequences.map((index, n) => ({ sequence: index + 1, pending: sequences.length - 1 - n }));
  });
}

test("StreamOrder passes everything on once, history in the stream's order, whichever reader is ahead", () => {
  fc.assert(
    fc.property(course, ({ owners, turns }) => {
      const scripts = scriptsOf(owners).map((script) => [...script]);
      const order = new StreamOrder<Ordered>(4);
      const passed: Ordered[] = [];
      const pass = (released: readonly (readonly [number, Ordered])[]): void => {
        for (const [reader, message] of released) {
          assert.equal(owners[message.sequence - 1], reader, "with whose it is");
          passed.push(message);
        }
      };
      for (const reader of [...turns, ...owners]) {
        const next = scripts[reader]?.shift();
        if (next) pass(order.push(reader, next));
        else pass(order.idle(reader));
      }
      for (const [reader, script] of scripts.entries()) {
        for (const left of script) pass(order.push(reader, left));
        pass(order.idle(reader));
      }
      assert.deepEqual(
        passed.map(({ sequence }) => sequence),
        [...owners.keys()].map((index) => index + 1),
      );
    }),
    { seed: SEED },
  );
});

test("StreamOrder passes on at once what is new, and waits for nobody to whom nothing comes", () => {
  const order = new StreamOrder<Ordered>(2);
  assert.deepEqual(
    order.push(0, { sequence: 5, pending: 0 }),
    [],
    "the other one may have something earlier",
  );
  assert.equal(order.holds(0), true);
  assert.deepEqual(order.idle(1), [[0, { sequence: 5, pending: 0 }]]);
  assert.deepEqual(order.push(1, { sequence: 6, pending: 0 }), [[1, { sequence: 6, pending: 0 }]]);
  assert.deepEqual(order.push(0, { sequence: 7, pending: 0 }), [[0, { sequence: 7, pending: 0 }]]);
  assert.equal(order.holds(0), false);
});

test("StreamOrder waits for what a reader still has, until it has nothing any more: messages may be purged meanwhile", () => {
  const order = new StreamOrder<Ordered>(2);
  order.idle(1);
  const first = { sequence: 1, pending: 2 };
  assert.deepEqual(order.push(0, first), [[0, first]]);
  const other = { sequence: 9, pending: 0 };
  assert.deepEqual(order.push(1, other), []);
  assert.deepEqual(order.idle(0), [[1, other]]);
});
