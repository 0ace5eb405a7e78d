import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { HeaderList } from "./connection.ts";
import { encodeHeaders, faultOfSubject, faultOfSubscription, parseHeaders } from "./headers.ts";

function encoded(headers: HeaderList): Uint8Array {
  const outcome = encodeHeaders(headers);
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

test("encodeHeaders() writes a block that parseHeaders() reads back, in order, doubles and all", () => {
  const headers: HeaderList = [
    ["Seal-Claims", "eyJ"],
    ["content-type", "text/plain; charset=utf-8"],
    ["x", ""],
    ["x", "dømt — 日本"],
    ["X", "a:b"],
  ];
  assert.deepEqual(parseHeaders(encoded(headers)), { headers });
  assert.equal(Buffer.from(encoded([["A", "b"]])).toString(), "NATS/1.0\r\nA: b\r\n\r\n");
});

test("encodeHeaders() refuses what would break out of its line, or not come back as it was", () => {
  const values = [
    "a\r\nNats-Rollup: all",
    "a\nb",
    "a\rb",
    "a\0b",
    "a\x7fb",
    "a\u0085b",
    "a\u2028b",
    " a",
    "a ",
    "\ud800",
  ];
  for (const value of values) {
    const outcome = encodeHeaders([["A", value]]);
    assert.ok(!outcome.ok && outcome.refusal.reason === "header_refused", JSON.stringify(value));
    assert.equal(outcome.refusal.header, "A");
  }
  for (const name of ["", "a b", "a:b", "a\n", "ä", "a\0", "x".repeat(257)]) {
    const outcome = encodeHeaders([[name, "v"]]);
    assert.ok(!outcome.ok && outcome.refusal.reason === "header_refused", JSON.stringify(name));
  }
});

test("encodeHeaders() and parseHeaders() are inverse on everything that is not refused", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }))),
      (headers) => {
        const outcome = encodeHeaders(headers);
        if (outcome.ok) assert.deepEqual(parseHeaders(outcome.value), { headers });
      },
    ),
  );
  const name = fc.stringMatching(/^[!-9;-~]{1,20}$/);
  const value = fc.stringMatching(/^[!-~]{0,20}$/);
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value)), (headers) => {
      assert.deepEqual(parseHeaders(encoded(headers)), { headers });
    }),
  );
});

test("parseHeaders() never throws and never shows a name or value that could not have been sent", () => {
  const piece = fc.constantFrom(
    "NATS/1.0",
    " 503",
    "\r\n",
    "\n",
    "\r",
    ": ",
    ":",
    "A",
    "Nats-Msg-Id",
    "\0",
    " ",
    "\xff",
    "\x85",
  );
  const likely = fc.array(piece, { maxLength: 60 }).map((pieces) => Buffer.from(pieces.join(""), "latin1"));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), likely), (block) => {
      const { headers } = parseHeaders(block);
      // A value of bytes that are no UTF-8 shows replacement characters, which may stand in a header.
      assert.ok(encodeHeaders(headers.map(([name, text]) => [name, text.trim()])).ok);
    }),
  );
});

test("parseHeaders() leaves out lines with a bare line feed, and everything beyond its bounds", () => {
  const block = (text: string) => Buffer.from(text);
  assert.deepEqual(parseHeaders(block("NATS/1.0\r\nA: b\nNats-Msg-Id: 1\r\nB: c\r\n\r\n")), {
    headers: [["B", "c"]],
  });
  assert.equal(parseHeaders(block(`NATS/1.0\r\n${"A: b\r\n".repeat(300)}\r\n`)).headers.length, 256);
  assert.deepEqual(parseHeaders(block(`NATS/1.0\r\nA: ${"b".repeat(70_000)}\r\n\r\n`)), { headers: [] });
});

test("parseHeaders() reads the status of the first line", () => {
  assert.deepEqual(parseHeaders(Buffer.from("NATS/1.0 503\r\n\r\n")), { status: 503, headers: [] });
  assert.deepEqual(parseHeaders(Buffer.from("NATS/1.0 404 No Messages\r\nA: b\r\n\r\n")), {
    status: 404,
    headers: [["A", "b"]],
  });
  assert.deepEqual(parseHeaders(Buffer.from("NATS/1.0 5030\r\n\r\n")), { headers: [] });
});

test("faultOfSubject() admits subjects of any script and nothing that could end the control line or widen it", () => {
  for (const subject of ["orders", "orders.eu.1", "$JS.API.INFO", "a=2Eb", "日本.x", 'quote"d'])
    assert.equal(faultOfSubject(subject), undefined, subject);
  const bad = [
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "a b",
    "a\tb",
    "a\r\nPUB x 0",
    "a\0",
    "a.*",
    "a.>",
    "a*",
    "\ud800",
    "x".repeat(1_025),
  ];
  for (const subject of bad) assert.notEqual(faultOfSubject(subject), undefined, JSON.stringify(subject));
});

test("faultOfSubscription() admits wildcards only as whole tokens, and queues that are one word", () => {
  for (const subject of ["a.*", "a.>", ">", "*.b"])
    assert.equal(faultOfSubscription(subject, "workers"), undefined);
  for (const subject of ["a.>.b", "a*", "a.b>", "a b", ""])
    assert.notEqual(faultOfSubscription(subject, undefined), undefined, subject);
  for (const queue of ["", "a b", "a\r\nSUB > 1", "*", ">", "a..b"])
    assert.notEqual(faultOfSubscription("a", queue), undefined, JSON.stringify(queue));
});
