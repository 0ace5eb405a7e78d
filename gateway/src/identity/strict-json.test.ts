import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseStrictJson } from "./strict-json.ts";

test("parseStrictJson() reads what JSON.parse reads", () => {
  const value = fc.dictionary(
    fc.string({ unit: "grapheme" }).filter((name) => name !== "__proto__" && name.isWellFormed()),
    fc.jsonValue({ maxDepth: 3, stringUnit: "grapheme" }),
  );
  fc.assert(
    fc.property(value, fc.constantFrom(0, 1, "\t", "\n "), (object, indent) => {
      const text = JSON.stringify(object, null, indent);
      fc.pre(!text.includes('"__proto__"'));
      assert.equal(JSON.stringify(parseStrictJson(text)), JSON.stringify(JSON.parse(text)));
    }),
  );
});

test("parseStrictJson() neither throws nor accepts anything but an object", () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 40, unit: fc.constantFrom(...'{}[]":,\\u00e9 1.truefalsn'.split("")) }),
      (text) => {
        const value = parseStrictJson(text);
        assert.ok(value === undefined || Object.getPrototypeOf(value) === null);
      },
    ),
  );
  for (const text of ["", "null", "1", '"a"', "[]", "{", '{"a":1}x', "{'a':1}", '{"a":1,}']) {
    assert.equal(parseStrictJson(text), undefined, text);
  }
});

test("parseStrictJson() refuses duplicate names at every depth, however they are spelt", () => {
  for (const text of [
    '{"sub":"alice","sub":"bob"}',
    '{"sub":"alice","\\u0073ub":"bob"}',
    '{"a":[{"b":1,"b":2}]}',
    '{"a":1,"b":2,"a":1}',
  ]) {
    assert.equal(parseStrictJson(text), undefined, text);
  }
  assert.deepEqual({ ...parseStrictJson('{"a":1,"A":2}') }, { a: 1, A: 2 });
});

test("parseStrictJson() refuses __proto__ and inherits no name", () => {
  assert.equal(parseStrictJson('{"__proto__":{"sub":"root"}}'), undefined);
  assert.equal(parseStrictJson('{"a":{"\\u005f_proto__":1}}'), undefined);
  assert.equal(parseStrictJson("{}")?.constructor, undefined);
  assert.equal(parseStrictJson('{"constructor":1}')?.constructor, 1);
});

test("parseStrictJson() accepts depth 8 and refuses depth 9, and never overflows", () => {
  const nested = (depth: number): string => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
  assert.notEqual(parseStrictJson(nested(8)), undefined);
  assert.equal(parseStrictJson(nested(9)), undefined);
  assert.equal(parseStrictJson(`{"a":${"[".repeat(8)}${"]".repeat(8)}}`), undefined);
  assert.equal(parseStrictJson(`{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`), undefined);
});

test("parseStrictJson() refuses lone surrogates in values and names", () => {
  assert.equal(parseStrictJson('{"sub":"\\ud800"}'), undefined);
  assert.equal(parseStrictJson('{"\\udc00":1}'), undefined);
  assert.equal(parseStrictJson('{"sub":"\\ud83d\\ude00"}')?.sub, "😀");
});
