import assert from "node:assert/strict";
import { test } from "node:test";
import type { Outcome } from "../refusal.ts";
import { type BatchLine, parseBatchLine } from "./batch-line.ts";

function parsed(line: unknown): Outcome<BatchLine> {
  return parseBatchLine(Buffer.from(typeof line === "string" ? line : JSON.stringify(line)));
}

function given(line: unknown): BatchLine {
  const outcome = parsed(line);
  assert(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

test("parseBatchLine() takes a payload as text, as base64, or none", () => {
  assert.deepEqual(Buffer.from(given({ subject: "a", data: "é{}" }).payload).toString(), "é{}");
  assert.deepEqual([...given({ subject: "a", dataBase64: "/wA=" }).payload], [255, 0]);
  assert.equal(given({ subject: "a" }).payload.length, 0);
  assert.equal(given({ subject: "a", dataBase64: "" }).payload.length, 0);
});

test("parseBatchLine() keeps the case of names, parts preconditions from headers, and takes a key", () => {
  const { headers, preconditions, key } = given({
    subject: "a",
    headers: { "X-Case": ["1", "2"], "nats-expected-last-sequence": "7", "Content-Type": "text/plain" },
    idempotencyKey: "order 4711",
  });
  assert.deepEqual(headers, [
    ["X-Case", "1"],
    ["X-Case", "2"],
    ["Content-Type", "text/plain"],
  ]);
  assert.deepEqual(preconditions, [["Nats-Expected-Last-Sequence", "7"]]);
  assert.equal(key, "order 4711");
});

test("parseBatchLine() completes an event as over HTTP", () => {
  const event = { "ce-specversion": "1.0", "ce-type": "t", "Content-Type": 'application/json; a="b c"' };
  assert.deepEqual(given({ subject: "a", headers: event }).headers.at(-1), [
    "ce-datacontenttype",
    "application/json;%20a=%22b%20c%22",
  ]);
  const plain = { "Content-Type": "text/plain" };
  assert.deepEqual(given({ subject: "a", headers: plain }).headers, [["Content-Type", "text/plain"]]);
});

const REFUSED: readonly (readonly [unknown, RegExp])[] = [
  ["", /one JSON object a line/],
  ["{", /one JSON object a line/],
  ["[]", /one JSON object a line/],
  ["null", /one JSON object a line/],
  ['{"subject":"a","subject":"b"}', /names that stand twice/],
  ['{"subject":"a","__proto__":{}}', /one JSON object a line/],
  ['{"subject":"a","data":"\\ud800"}', /one JSON object a line/],
  [`{"subject":"a","data":${"[".repeat(20)}${"]".repeat(20)}}`, /one JSON object a line/],
  [{}, /subject: expected a text/],
  [{ subject: 7 }, /subject: expected a text/],
  [{ subject: "a", data: {} }, /data: expected a text; write JSON as one/],
  [{ subject: "a", data: null }, /data: expected a text/],
  [{ subject: "a", data: "", dataBase64: "" }, /expected one of them/],
  [{ subject: "a", dataBase64: "a" }, /dataBase64: expected base64/],
  [{ subject: "a", dataBase64: "ab-_" }, /dataBase64: expected base64/],
  [{ subject: "a", dataBase64: 7 }, /dataBase64: expected base64/],
  [{ subject: "a", stream: "S" }, /^stream is unknown; a line has subject, data/],
  [{ subject: "a", idempotencyKey: "" }, /idempotencyKey: expected 1 to 256/],
  [{ subject: "a", idempotencyKey: 7 }, /idempotencyKey: expected 1 to 256/],
  [{ subject: "a", headers: [] }, /expected an object of names and values/],
  [{ subject: "a", headers: { a: 1 } }, /expected a string or a list/],
  [{ subject: "a", headers: { "Nats-Rollup": "all" } }, /set this one themselves/],
  [{ subject: "a", headers: { "Nats-Msg-Id": "1" } }, /set this one themselves/],
  [{ subject: "a", headers: { "Nats-Expected-Last-Sequence": ["1"] } }, /a whole number/],
  [
    { subject: "a", headers: { "Nats-Expected-Last-Sequence": "1", "nats-expected-last-sequence": "1" } },
    /more than one/,
  ],
  [{ subject: "a", headers: { "Seal-Claims": "x" } }, /set this one themselves/],
  [{ subject: "a", headers: { a: "b\r\nc: d" } }, /not printable ASCII/],
  [{ subject: "a", headers: { "ce-datacontenttype": "text/plain" } }, /send Content-Type instead/],
  [{ subject: "a", headers: { "content-type": "a", "Content-Type": "b" } }, /more than one/],
];
for (const [line, why] of REFUSED) {
  test(`parseBatchLine() refuses ${JSON.stringify(line).slice(0, 80)}`, () => {
    const outcome = parsed(line);
    assert(!outcome.ok && "why" in outcome.refusal);
    assert.match(String(outcome.refusal.why), why);
  });
}

test("parseBatchLine() refuses what is not UTF-8", () => {
  assert.equal(parseBatchLine(Buffer.from([0x7b, 0xff, 0x7d])).ok, false);
});
