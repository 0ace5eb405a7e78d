import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseStrictJson } from "./strict-json.ts";

const BOUNDS = { bytesMax: 4_096, depthMax: 8 };
const parse = (text: string) => parseStrictJson(Buffer.from(text), BOUNDS);

test("parseStrictJson() gives what JSON.parse gives for every value without duplicate keys", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), fc.boolean(), (json, pretty) => {
      const text = JSON.stringify(JSON.parse(json), null, pretty ? 2 : 0);
      if (Buffer.byteLength(text) <= BOUNDS.bytesMax) assert.deepEqual(parse(text), JSON.parse(text));
    }),
    { numRuns: 1_000, seed: 20_261_123 },
  );
});

for (const [what, text] of [
  ["a duplicate key", '{"a":1,"a":1}'],
  ["a duplicate key after a nested object", '{"a":{"a":1},"b":[{"a":1}],"a":2}'],
  ["a duplicate key in an array's object", '[{"a":1,"b":2,"a":3}]'],
  ["a duplicate key written with an escape", '{"a":1,"\\u0061":1}'],
  ["a duplicate key before white space", '{"a":1,"a" \n:1}'],
  ["a duplicate __proto__", '{"__proto__":1,"__proto__":1}'],
  ["nine levels", `${"[".repeat(9)}${"]".repeat(9)}`],
  ["thousands of levels", "[".repeat(4_000)],
  ["too many bytes", `"${"a".repeat(4_095)}"`],
  ["no JSON", "{'a':1}"],
  ["nothing", ""],
  ["a byte order mark", "\ufeff{}"],
] as const) {
  test(`parseStrictJson() refuses ${what}`, () => {
    assert.equal(parse(text), undefined);
  });
}

test("parseStrictJson() refuses invalid UTF-8", () => {
  assert.equal(parseStrictJson(Buffer.from([0x22, 0xff, 0x22]), BOUNDS), undefined);
});

test("parseStrictJson() tells keys from values that look alike", () => {
  assert.deepEqual(parse('{"a":"a","b":["a","a:","\\"a\\":"],"c":"\\\\"}'), {
    a: "a",
    b: ["a", "a:", '"a":'],
    c: "\\",
  });
});
