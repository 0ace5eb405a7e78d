import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { HeaderList } from "../nats/connection.ts";
import {
  HEADER_BYTES_MAX,
  HEADER_COUNT_MAX,
  httpHeadersOf,
  natsHeadersOf,
  natsHeadersOfLine,
} from "./headers.ts";

test("natsHeadersOf() takes Msg-*, ce-* and Content-Type, and leaves the hop's own behind", () => {
  const raw = [
    ...["Host", "127.0.0.1", "Cookie", "a=b", "Content-Type", "text/plain", "MSG-Order-Kind", "rush"],
    ...["Content-Length", "3", "msg-order-kind", "gift", "ce-id", "4711", "Connection", "close"],
  ];
  assert.deepEqual(natsHeadersOf(raw), {
    ok: true,
    value: [
      ["Content-Type", "text/plain"],
      ["order-kind", "rush"],
      ["order-kind", "gift"],
      ["ce-id", "4711"],
    ],
  });
});

test("natsHeadersOf() makes the content type of a CloudEvent its ce-datacontenttype, percent-encoded", () => {
  const raw = ["ce-specversion", "1.0", "Content-Type", 'application/json; a="b"'];
  assert.deepEqual(natsHeadersOf(raw), {
    ok: true,
    value: [
      ["ce-specversion", "1.0"],
      ["Content-Type", 'application/json; a="b"'],
      ["ce-datacontenttype", "application/json;%20a=%22b%22"],
    ],
  });
});

const refusedRaw: readonly (readonly [what: string, raw: readonly string[], header: string])[] = [
  ["a header of nats-server", ["Msg-Nats-Rollup", "all"], "nats-rollup"],
  ["a header of the seal", ["msg-seal-claims", "x"], "seal-claims"],
  ["a transaction token", ["MSG-TXN-TOKEN", "x"], "txn-token"],
  ["a header of the gateway", ["Msg-Countersign-Identity", "x"], "countersign-identity"],
  ["a key-value operation", ["Msg-KV-Operation", "PURGE"], "kv-operation"],
  ["the trace context, which is restarted at the edge", ["Msg-traceparent", "x"], "traceparent"],
  ["a value with a control character", ["Msg-a", "b\u0001c"], "a"],
  ["a value beyond ASCII", ["Msg-a", "é"], "a"],
  ["an empty value", ["Msg-a", ""], "a"],
  ["an empty name", ["Msg-", "x"], ""],
  ["a name that is no token", ["Msg-a:b", "x"], "a:b"],
  ["an over-long name", [`Msg-${"a".repeat(129)}`, "x"], "a".repeat(128)],
  ["two content types", ["Content-Type", "a/b", "content-type", "c/d"], "content-type"],
  ["a content type in other clothes", ["Msg-Content-Type", "a/b"], "msg-content-type"],
  ["an event attribute in other clothes", ["Msg-ce-id", "1"], "msg-ce-id"],
  [
    "a content type of an event that is not Content-Type",
    ["ce-datacontenttype", "a/b"],
    "ce-datacontenttype",
  ],
  ["too many", Array.from({ length: HEADER_COUNT_MAX + 1 }, (_, i) => [`Msg-a${i}`, "x"]).flat(), "headers"],
  ["too much", ["Msg-a", "x".repeat(HEADER_BYTES_MAX)], "headers"],
];

for (const [what, raw, header] of refusedRaw) {
  test(`natsHeadersOf() refuses ${what}`, () => {
    const outcome = natsHeadersOf(raw);
    assert.equal(outcome.ok, false);
    assert.equal(!outcome.ok && outcome.refusal.reason, "header_refused");
    assert.equal(
      !outcome.ok && outcome.refusal.reason === "header_refused" && outcome.refusal.header,
      header,
    );
  });
}

test("natsHeadersOfLine() keeps the case of names, and the order of several values", () => {
  assert.deepEqual(natsHeadersOfLine({ "Order-Kind": ["rush", "gift"], "Content-Type": "a/b" }), {
    ok: true,
    value: [
      ["Order-Kind", "rush"],
      ["Order-Kind", "gift"],
      ["Content-Type", "a/b"],
    ],
  });
  assert.deepEqual(natsHeadersOfLine(undefined), { ok: true, value: [] });
});

const refusedLines: readonly (readonly [what: string, headers: unknown])[] = [
  ["a list", ["a"]],
  ["null", null],
  ["a number as value", { a: 1 }],
  ["a nested list", { a: [["b"]] }],
  ["a line break in a value", { a: "b\r\nNats-Rollup: all" }],
  ["a line break in a name", { "a\r\nNats-Rollup": "all" }],
  ["a colon in a name", { "Nats-Rollup: all\r\nx": "b" }],
  ["a header of nats-server in any case", { "nAtS-Msg-Id": "x" }],
  ["a value that ends with a space, which clients trim", { a: "b " }],
  ["two content types in different case", { "Content-Type": "a/b", "content-type": "c/d" }],
  ["a long list", { a: Array.from({ length: 100_000 }, () => "b") }],
];

for (const [what, headers] of refusedLines) {
  test(`natsHeadersOfLine() refuses ${what}`, () => {
    const outcome = natsHeadersOfLine(headers);
    assert.equal(outcome.ok ? "ok" : outcome.refusal.reason, "header_refused");
  });
}

test("httpHeadersOf() gives a reply's headers as they would come in, without ours", () => {
  const reply: HeaderList = [
    ["Nats-Msg-Id", "1"],
    ["Seal-Claims", "e30"],
    ["traceparent", "00-…"],
    ["Order-Kind", "rush"],
    ["ce-specversion", "1.0"],
    ["ce-datacontenttype", "application/json;%20a=%22b%22"],
  ];
  assert.deepEqual(httpHeadersOf(reply), {
    headers: [
      ["msg-order-kind", "rush"],
      ["ce-specversion", "1.0"],
      ["content-type", 'application/json; a="b"'],
    ],
    omitted: 0,
  });
});

test("httpHeadersOf() leaves out and counts what HTTP cannot carry", () => {
  const reply: HeaderList = [
    ["a b", "x"],
    ["a", "x\r\nSet-Cookie: b"],
    ["a", "é"],
    ["Content-Type", "text/plain"],
    ["content-type", "text/html"],
    ["big", "x".repeat(HEADER_BYTES_MAX)],
  ];
  assert.deepEqual(httpHeadersOf(reply), { headers: [["content-type", "text/plain"]], omitted: 5 });
});

test("httpHeadersOf() never yields a decoded content type that breaks a line", () => {
  const reply: HeaderList = [["ce-datacontenttype", "a/b%0d%0aSet-Cookie: c"]];
  assert.deepEqual(httpHeadersOf(reply), { headers: [], omitted: 0 });
});

test("natsHeadersOf() and httpHeadersOf() undo each other, and nothing reserved or unprintable gets through", () => {
  const name = fc.oneof(
    fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/),
    fc.constantFrom("nats-msg-id", "Seal-Root", "TXN-Token", "kv-operation", "content-type"),
    fc.string({ unit: "binary", maxLength: 12 }),
  );
  const value = fc.oneof(fc.stringMatching(/^[!-~]{1,20}$/), fc.string({ unit: "binary", maxLength: 12 }));
  const pairs = fc.array(fc.tuple(name, value), { maxLength: 40 });
  fc.assert(
    fc.property(pairs, (given) => {
      const raw = given.flatMap(([n, v]) => [`Msg-${n}`, v]);
      const outcome = natsHeadersOf(raw);
      if (!outcome.ok) return outcome.refusal.reason === "header_refused";
      for (const [n, v] of outcome.value) {
        assert.match(n, /^[!-9;-~]+$/);
        assert.match(v, /^[ -~]+$/);
        assert.doesNotMatch(n, /^(nats-|seal-|txn-|countersign-|kv-operation)/i);
      }
      const back = httpHeadersOf(outcome.value);
      assert.equal(back.omitted, 0);
      assert.deepEqual(
        back.headers,
        given.map(([n, v]) => [`msg-${n.toLowerCase()}`, v]),
      );
      return true;
    }),
    { numRuns: 2_000 },
  );
});

test("natsHeadersOfLine() never throws and never lets a line break through, whatever JSON it is given", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (json) => {
      const outcome = natsHeadersOfLine(json);
      if (!outcome.ok) return;
      for (const [n, v] of outcome.value) assert.doesNotMatch(`${n}${v}`, /[\r\n\0]/);
    }),
    { numRuns: 2_000 },
  );
});
