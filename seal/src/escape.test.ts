import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { escapeToken, parseUserName, TOKEN_BYTES_MAX, unescapeToken, userName } from "./escape.ts";

const RUNS = { numRuns: 2_000, seed: 20_261_123 };
const anyText = fc.oneof(
  fc.string(),
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: "grapheme" }),
);
const anyUnits = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 })
  .map((u) => String.fromCharCode(...u));
const ONE_TOKEN = /^[A-Za-z0-9=_-]+$/;

test("escapeToken() makes exactly one subject token, and unescapeToken() gives the value back", () => {
  fc.assert(
    fc.property(fc.oneof(anyText, anyUnits), fc.boolean(), (value, first) => {
      const token = escapeToken(value, { first });
      if (token === undefined) return;
      assert.match(token, ONE_TOKEN);
      assert.ok(token.length <= TOKEN_BYTES_MAX);
      assert.ok(!(first && token.startsWith("_")));
      assert.equal(unescapeToken(token, { first }), value);
    }),
    RUNS,
  );
});

test("escapeToken() makes different tokens of different values", () => {
  fc.assert(
    fc.property(anyText, anyText, (a, b) => {
      const token = escapeToken(a);
      if (a !== b && token !== undefined) assert.notEqual(token, escapeToken(b));
    }),
    RUNS,
  );
});

test("unescapeToken() accepts only what escapeToken() makes", () => {
  const almost = fc
    .array(fc.constantFrom("=", "=4", "=41", "=2E", "=2e", "=C3", "=A9", "=FF", "_", "a", ".", "*"))
    .map((p) => p.join(""));
  fc.assert(
    fc.property(almost, fc.boolean(), (token, first) => {
      const value = unescapeToken(token, { first });
      if (value !== undefined) assert.equal(escapeToken(value, { first }), token);
    }),
    RUNS,
  );
});

for (const [value, token] of [
  ["*", "=2A"],
  [">", "=3E"],
  ["a.b", "a=2Eb"],
  ["CORP\\ann", "CORP=5Cann"],
  ["a=b", "a=3Db"],
  ["é", "=C3=A9"],
  ["＊", "=EF=BC=8A"],
  ["\0", "=00"],
  ["_x", "_x"],
  ["S-1-5-21", "S-1-5-21"],
] as const) {
  test(`escapeToken() writes ${JSON.stringify(value)} as ${token}`, () => {
    assert.equal(escapeToken(value), token);
  });
}

test("escapeToken() escapes a leading _ where the token opens a subject, and no other", () => {
  assert.equal(escapeToken("_INBOX_", { first: true }), "=5FINBOX_");
});

test("escapeToken() refuses the empty value, ill-formed UTF-16, and what exceeds 200 bytes", () => {
  assert.equal(escapeToken(""), undefined);
  assert.equal(escapeToken("a\ud800"), undefined);
  assert.equal(escapeToken("\udfff"), undefined);
  assert.equal(escapeToken("a".repeat(200)), "a".repeat(200));
  assert.equal(escapeToken("a".repeat(201)), undefined);
  assert.equal(escapeToken(".".repeat(67)), undefined);
});

for (const token of [
  "",
  "=",
  "=4",
  "=61",
  "=2e",
  "=ff",
  "=FF",
  "=C3",
  "=ED=A0=80",
  "=C0=80",
  "a.b",
  "*",
  "=5Fx",
  "é",
]) {
  test(`unescapeToken() refuses ${JSON.stringify(token)}`, () => {
    assert.equal(unescapeToken(token), undefined);
  });
}

test("userName() and parseUserName() are each other's inverse", () => {
  const issuer = fc.stringMatching(/^[a-z0-9]{1,12}$/);
  fc.assert(
    fc.property(issuer, anyText, (name, id) => {
      const user = userName(name, id);
      if (user !== undefined) assert.deepEqual(parseUserName(user), { issuer: name, id });
    }),
    RUNS,
  );
  assert.equal(userName("iis", "CORP\\ann"), "iis-CORP=5Cann");
});

test("userName() refuses issuers with other characters than [a-z0-9], and names over 200 bytes", () => {
  for (const issuer of ["", "Entra", "a-b", "a.b", "*"]) assert.equal(userName(issuer, "x"), undefined);
  assert.equal(userName("entra", "a".repeat(195)), undefined);
});

for (const user of ["", "-x", "entra", "entra-", "Entra-x", "entra-=61", "en.tra-x"]) {
  test(`parseUserName() refuses ${JSON.stringify(user)}`, () => {
    assert.equal(parseUserName(user), undefined);
  });
}
