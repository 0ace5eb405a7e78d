import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { checkSubject, isReservedSubject, subjectMatches } from "./subject.ts";

for (const [subject, why] of [
  ["", "is empty"],
  ["a".repeat(257), "is longer than 256 bytes"],
  ["a..b", "has an empty token"],
  [".a", "has an empty token"],
  ["a.", "has an empty token"],
  ["a b", "has a character outside printable ASCII, or a space"],
  ["a\0", "has a character outside printable ASCII, or a space"],
  ["a\n", "has a character outside printable ASCII, or a space"],
  ["é", "has a character outside printable ASCII, or a space"],
  [Array(17).fill("a").join("."), "has more than 16 tokens"],
  ["a*.b", "has a wildcard inside a token"],
  ["a.>.b", "has a > before the end"],
] as const) {
  test(`checkSubject() says of ${JSON.stringify(subject.slice(0, 20))} that it ${why}`, () => {
    assert.equal(checkSubject(subject, { wildcards: true }), why);
  });
}

test("checkSubject() takes wildcards only where they are allowed", () => {
  for (const pattern of ["*", ">", "a.*.>"]) {
    assert.equal(checkSubject(pattern, { wildcards: true }), undefined);
    assert.equal(checkSubject(pattern, { wildcards: false }), "has a wildcard");
  }
  assert.equal(checkSubject("a*b", { wildcards: false }), "has a wildcard");
});

test("checkSubject() takes the longest subject and the most tokens", () => {
  assert.equal(checkSubject("a".repeat(256), { wildcards: false }), undefined);
  assert.equal(checkSubject(Array(16).fill("a").join("."), { wildcards: false }), undefined);
});

test("isReservedSubject() knows what belongs to NATS, and patterns that reach there", () => {
  for (const subject of [
    "$SYS.x",
    "$JS.API.INFO",
    "$",
    "_INBOX",
    "_INBOX.x",
    "_INBOX_ann.x",
    "_R_.a",
    "_GR_.a",
    ">",
    "*.a",
  ]) {
    assert.equal(isReservedSubject(subject), true, subject);
  }
  for (const subject of ["orders.$JS", "a._INBOX", "_x.a", "_R_x", "a.>"])
    assert.equal(isReservedSubject(subject), false, subject);
});

for (const [pattern, subject, matches] of [
  ["a.b", "a.b", true],
  ["a.b", "a.c", false],
  ["a.b", "a", false],
  ["a", "a.b", false],
  ["a.*", "a.b", true],
  ["a.*", "a.b.c", false],
  ["a.>", "a.b.c", true],
  ["a.>", "a", false],
  [">", "a", true],
  ["*.b", "a.b", true],
  ["ab.c", "a.bc", false],
  ["a.*.c", "a.b.c", true],
] as const) {
  test(`subjectMatches(${pattern}, ${subject}) is ${matches}`, () => {
    assert.equal(subjectMatches(pattern, subject), matches);
  });
}

test("subjectMatches() agrees with the definition, token by token", () => {
  const token = fc.constantFrom("a", "b", "ab", "*");
  const pattern = fc
    .tuple(fc.array(token, { minLength: 1, maxLength: 5 }), fc.boolean())
    .map(([t, tail]) => [...t, ...(tail ? [">"] : [])]);
  const subject = fc.array(fc.constantFrom("a", "b", "ab"), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(pattern, subject, (p, s) => {
      assert.equal(subjectMatches(p.join("."), s.join(".")), byDefinition(p, s));
    }),
    { numRuns: 5_000, seed: 20_261_123 },
  );
});

function byDefinition(
  [head, ...pattern]: readonly string[],
  [token, ...subject]: readonly string[],
): boolean {
  if (head === undefined || token === undefined) return head === token;
  if (head === ">") return true;
  return (head === "*" || head === token) && byDefinition(pattern, subject);
}
