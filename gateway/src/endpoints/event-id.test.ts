import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatEventId, parseEventId } from "./event-id.ts";

const SEED = 20_261_126;
const sequence = fc.oneof(fc.nat({ max: 3 }), fc.nat({ max: Number.MAX_SAFE_INTEGER }));
const subject = fc.stringMatching(/^[a-z]{1,8}(?:\.[a-z*]{1,8}){0,3}$/);
const read = fc
  .uniqueArray(fc.tuple(subject, sequence), { minLength: 1, maxLength: 16, selector: ([name]) => name })
  .map((pairs) => ({ subjects: pairs.map(([name]) => name), positions: pairs.map(([, at]) => at) }));

test("an event's id is the stream and the sequence where one is enough", () => {
  assert.equal(formatEventId("ORDERS", ["a"], [4711]), "ORDERS:4711");
  assert.equal(formatEventId("ORDERS", ["a", "b"], [4711, 4711]), "ORDERS:4711");
  assert.deepEqual(parseEventId("ORDERS:4711", ["a", "b"]), { stream: "ORDERS", positions: [4711, 4711] });
});

test("an id gives back the place of each subject, in whichever order they are asked for, and of no others", () => {
  fc.assert(
    fc.property(read, fc.infiniteStream(fc.nat()), subject, ({ subjects, positions }, entropy, other) => {
      const id = formatEventId("S-1_x", subjects, positions);
      const shuffled = subjects
        .map((name, index) => ({ name, at: positions[index], by: entropy.next().value ?? 0 }))
        .sort((a, b) => a.by - b.by);
      const names = shuffled.map(({ name }) => name);
      assert.deepEqual(parseEventId(id, names), { stream: "S-1_x", positions: shuffled.map(({ at }) => at) });
      if (!id.includes(",") || subjects.includes(other)) return;
      assert.equal(parseEventId(id, names.with(0, other)), undefined);
      assert.equal(parseEventId(id, [...names, other]), undefined);
      assert.equal(parseEventId(id, names.slice(1)), undefined);
    }),
    { seed: SEED },
  );
});

test("parseEventId() reads nothing but ids", () => {
  const others = [
    "",
    "4711",
    "S:",
    ":1",
    "S:01",
    "S:+1",
    "S:1.5",
    "S:1e3",
    "S:9007199254740992",
    "S:1,2",
    "S:1~",
    "S:1 ",
    " S:1",
    "a.b:1",
    "S:1\n",
  ];
  for (const other of others) assert.equal(parseEventId(other, ["a"]), undefined, other);
  assert.equal(parseEventId(`S:${"1,".repeat(400)}1`, ["a"]), undefined);
});

test("parseEventId() takes no text for an id that formatEventId() would not write", () => {
  const text = fc.stringMatching(/^[A-Z]{0,2}:[0-9,]{0,8}(~[\w-]{8})?$/);
  fc.assert(
    fc.property(text, fc.constantFrom(["a"], ["a", "b"]), (id, subjects) => {
      const parsed = parseEventId(id, subjects);
      if (parsed) assert.equal(formatEventId(parsed.stream, subjects, parsed.positions), id);
    }),
    { seed: SEED, numRuns: 2_000 },
  );
});
