import assert from "node:assert/strict";
import { test } from "node:test";
import type { FastifyRequest } from "fastify";
import { allowed } from "../refusal.ts";
import { readDemands, refuseDemands } from "./demands.ts";
import { isIdempotencyKey, parseIdempotencyKey } from "./idempotency-key.ts";

test("readDemands() passes by whatever demands nothing", () => {
  const headers = ["Host", "a", "If-None-Match", "*", "Natural", "1", "Idempotency", "1", "N", "1"];
  assert.deepEqual(readDemands(headers), allowed({ preconditions: [] }));
});

test("readDemands() reads preconditions in NATS's spelling, and the key", () => {
  const read = readDemands([
    "nats-expected-last-sequence",
    "0",
    "NATS-EXPECTED-LAST-MSG-ID",
    "m1",
    "idempotency-KEY",
    '"a b"',
  ]);
  const preconditions = [
    ["Nats-Expected-Last-Sequence", "0"],
    ["Nats-Expected-Last-Msg-Id", "m1"],
  ];
  assert.deepEqual(read, allowed({ preconditions, key: "a b" }));
});

const REFUSED: readonly (readonly [readonly string[], string, RegExp])[] = [
  [["Nats-Expected-Last-Sequence", "01"], "nats-expected-last-sequence", /a whole number/],
  [["Nats-Expected-Last-Sequence", "12345678901234567"], "nats-expected-last-sequence", /a whole number/],
  [["Nats-Expected-Last-Subject-Sequence", ""], "nats-expected-last-subject-sequence", /a whole number/],
  [["Nats-Expected-Last-Msg-Id", "a b"], "nats-expected-last-msg-id", /the id of a message/],
  [
    ["Nats-Expected-Last-Sequence", "1", "nats-expected-last-sequence", "1"],
    "nats-expected-last-sequence",
    /more than one/,
  ],
  [["Nats-TTL", "1s"], "nats-ttl", /set this one themselves; yours may be Nats-Expected-Last-Sequence/],
  [["Nats-Expected-Stream", "A"], "nats-expected-stream", /say it as \?stream=NAME/],
  [["Idempotency-Key", "1", "Idempotency-Key", "1"], "idempotency-key", /more than one/],
  [["Idempotency-Key", ""], "idempotency-key", /1 to 256 characters/],
];
for (const [headers, header, why] of REFUSED) {
  test(`readDemands() refuses ${headers.join(": ")}`, () => {
    const outcome = readDemands(headers);
    assert(!outcome.ok && outcome.refusal.reason === "header_refused");
    assert.equal(outcome.refusal.header, header);
    assert.match(outcome.refusal.why, why);
  });
}

test("refuseDemands() refuses every demand where no stream keeps the message", () => {
  const requestOf = (...rawHeaders: string[]) => ({ raw: { rawHeaders } }) as unknown as FastifyRequest;
  assert.deepEqual(refuseDemands(requestOf("Accept", "*"), 7), allowed(7));
  for (const name of ["Idempotency-Key", "Nats-Expected-Last-Sequence"]) {
    const outcome = refuseDemands(requestOf(name, "1"), 7);
    assert(!outcome.ok && outcome.refusal.reason === "header_refused");
    assert.match(outcome.refusal.why, /only a stream can keep it/);
  }
});

test("parseIdempotencyKey() takes quoted and bare keys for one, and nothing that is a list or has parameters", () => {
  assert.equal(parseIdempotencyKey("a-1"), "a-1");
  assert.equal(parseIdempotencyKey('"a-1"'), "a-1");
  assert.equal(parseIdempotencyKey('"a \\"b\\" \\\\ , ;"'), 'a "b" \\ , ;');
  assert.equal(parseIdempotencyKey("k".repeat(256)), "k".repeat(256));
  const wrong = [
    '""',
    "",
    "a b",
    '"a',
    'a"',
    '"a"b"',
    '"a\\c"',
    "a,b",
    "a;b=1",
    '"a";b=1',
    "é",
    '"é"',
    "a\tb",
  ];
  for (const text of [...wrong, "k".repeat(257), `"${"k".repeat(257)}"`]) {
    assert.equal(parseIdempotencyKey(text), undefined, text.slice(0, 40));
  }
});

test("isIdempotencyKey() takes texts of 1–256 characters of printable ASCII", () => {
  for (const key of ["a", " ", "k".repeat(256)]) assert.equal(isIdempotencyKey(key), true);
  for (const key of ["", "k".repeat(257), "\n", "é", 7, null, undefined])
    assert.equal(isIdempotencyKey(key), false);
});
