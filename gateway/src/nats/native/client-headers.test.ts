import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseClientHeaders } from "./client-headers.ts";

function parse(text: string): ReturnType<typeof parseClientHeaders> {
  return parseClientHeaders(Buffer.from(text, "latin1"));
}

test("parseClientHeaders() takes names and values as clients write them, in their order and case", () => {
  assert.deepEqual(parse("NATS/1.0\r\nKind: apples\r\nkind:pears\r\nKind: two words\r\n\r\n"), {
    ok: true,
    value: [
      ["Kind", "apples"],
      ["kind", "pears"],
      ["Kind", "two words"],
    ],
  });
  assert.deepEqual(parse("NATS/1.0\r\n\r\n"), { ok: true, value: [] });
});

for (const [what, text] of [
  ["a status, which clients take for a server's", "NATS/1.0 503\r\n\r\n"],
  ["another version", "NATS/2.0\r\nA: b\r\n\r\n"],
  ["no version", "A: b\r\n\r\n"],
  ["no empty line", "NATS/1.0\r\nA: b\r\n"],
  ["an early end", "NATS/1.0\r\nA: b\r\n\r\nB: c\r\n\r\n"],
  ["a bare LF in a value", "NATS/1.0\r\nA: b\nNats-Rollup: all\r\n\r\n"],
  ["a bare CR in a value", "NATS/1.0\r\nA: b\rNats-Rollup: all\r\n\r\n"],
  ["a folded line", "NATS/1.0\r\nA: b\r\n c\r\n\r\n"],
  ["a blank before the colon", "NATS/1.0\r\nA : b\r\n\r\n"],
  ["no colon", "NATS/1.0\r\nA\r\n\r\n"],
  ["an empty name", "NATS/1.0\r\n: b\r\n\r\n"],
  ["an empty value, which cannot be sealed", "NATS/1.0\r\nA: \r\n\r\n"],
  ["a value outside ASCII", "NATS/1.0\r\nA: \u00e4\r\n\r\n"],
  ["a NUL", "NATS/1.0\r\nA: b\0c\r\n\r\n"],
  ["too many", `NATS/1.0\r\n${"A: b\r\n".repeat(33)}\r\n`],
  ["too long a block", `NATS/1.0\r\nA: ${"b".repeat(8_192)}\r\n\r\n`],
] as const) {
  test(`parseClientHeaders() refuses ${what}`, () => {
    const parsed = parse(text);
    assert(!parsed.ok);
    assert.equal(parsed.refusal.reason, "header_refused");
  });
}

test("parseClientHeaders() takes nothing that, written anew, would be read as something else", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(..."AaN-: \t\r\n\0é"), maxLength: 60 }), (body) => {
      const parsed = parse(`NATS/1.0\r\n${body}\r\n\r\n`);
      if (!parsed.ok) return;
      const lines = parsed.value.map(([name, value]) => `${name}: ${value}\r\n`);
      assert.deepEqual(parse(`NATS/1.0\r\n${lines.join("")}\r\n`), parsed);
      assert(lines.every((line) => !/[\r\n\0]/.test(line.slice(0, -2))));
    }),
    { numRuns: 2_000 },
  );
});
