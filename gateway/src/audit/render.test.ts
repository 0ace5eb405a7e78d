import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import type { Refusal } from "../refusal.ts";
import type { AuditCompletion, AuditRecord } from "./record.ts";
import { LINE_BYTES_MAX, renderCompletion, renderRecord } from "./render.ts";

const full: AuditRecord = {
  kind: "decision",
  at: "2026-11-24T06:40:00.123Z",
  txn: "0193a3b2-7c00-7000-8000-000000000001",
  requestId: "0193a3b2-7c00-7000-8000-000000000001",
  clientRequestId: "web-4711",
  clientTraceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  instance: "gw1",
  lane: "http",
  remote: "127.0.0.1",
  hop: "10.0.0.7",
  action: "publish orders.eu.1.create",
  outcome: "allowed",
  user: "entra-1b7e",
  issuer: "entra",
  name: "Anna Lindström",
  actor: "entra-agent",
  proof: { kind: "bearer", hash: "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg" },
  acr: "mfa",
  rule: { role: "order-clerk", text: "publish orders.{region}.*.create", file: "policy.yaml", line: 14 },
  policy: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  message: {
    id: "0193a3b2-7c00-7000-8000-000000000002",
    subject: "orders.eu.1.create",
    bytes: 42,
    digest: "47DEQ",
  },
};

const least: AuditRecord = {
  kind: "decision",
  at: "2026-11-24T06:40:00.124Z",
  txn: "t",
  requestId: "r",
  instance: "gw1",
  lane: "sse",
  action: "subscribe orders.>",
  outcome: "refused",
};

const refusals: readonly Refusal[] = [
  { reason: "proof_missing" },
  { reason: "cross_site", origin: null, fetchSite: "cross-site" },
  { reason: "audience_mismatch", expected: "countersign", found: ["a", "b"] },
  { reason: "not_granted", action: "publish a", nearest: { text: "publish b", file: "p.yaml", line: 3 } },
  { reason: "rate_limited", perSecond: 50, retryAfterSeconds: 0.25 },
];

const completion: AuditCompletion = {
  kind: "completion",
  at: "2026-11-24T06:40:00.130Z",
  instance: "gw1",
  txns: ["0193a3b2-7c00-7000-8000-000000000001", "0193a3b2-7c00-7000-8000-000000000003"],
  outcome: "received",
  root: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
  messages: 2,
};

test("renderRecord() and renderCompletion() write what the golden file shows", (t) => {
  const lines = [
    renderRecord(full),
    ...refusals.map((refusal) => renderRecord({ ...least, refusal })),
    ...renderCompletion(completion),
    ...renderCompletion({
      kind: "completion",
      at: "a",
      instance: "i",
      txns: ["t"],
      outcome: "failed",
      why: "closed",
    }),
  ];
  t.assert.fileSnapshot(lines.join("\n"), join(import.meta.dirname, "golden", "records.jsonl"), {
    serializers: [String],
  });
});

test("renderRecord() loses nothing of an ordinary record", () => {
  assert.deepEqual(JSON.parse(renderRecord(full)), full);
  for (const refusal of refusals) {
    assert.deepEqual(JSON.parse(renderRecord({ ...least, refusal })), { ...least, refusal });
  }
});

test("renderRecord() keeps the order of members, whatever order they were given in", () => {
  const reversed = Object.fromEntries(Object.entries(full).reverse());
  assert.equal(renderRecord({ ...full, ...reversed }), renderRecord(full));
});

test("renderRecord() writes only the members it knows, so that a secret cannot ride along", () => {
  const token = { token: "eyJhbGciOi" };
  const refusal: Refusal = { reason: "proof_invalid", why: "signature", ...token };
  const line = renderRecord({
    ...least,
    ...token,
    refusal,
    proof: { kind: "bearer", hash: "h", ...token },
    message: { id: "i", subject: "s", bytes: 1, digest: "d", ...{ payload: "eyJhbGciOi" } },
  });
  assert.doesNotMatch(line, /eyJ|token|payload/);
});

const hostile = [
  "\n",
  "\r\n",
  '"',
  "\\",
  "\u2028\u2029",
  "\u202e",
  "\u0000\u001b[31m",
  "\u007f\u009b",
  "\ud800",
  "\udc00x",
];

for (const name of hostile) {
  test(`renderRecord() stays one line of ASCII with ${JSON.stringify(name)} in it`, () => {
    const line = renderRecord({ ...least, name });
    assert.match(line, /^[\x20-\x7e]+$/);
    assert.equal(JSON.parse(line).name, name.toWellFormed());
  });
}

test("renderRecord() cuts an over-long string, marks it, and parts no surrogate pair", () => {
  const { name, user } = JSON.parse(
    renderRecord({ ...least, name: "😀".repeat(100_000), user: "u".repeat(2_000) }),
  );
  assert.equal(name, `${"😀".repeat(85)}[cut]`);
  assert.equal(user, `${"u".repeat(1_024)}[cut]`);
});

test("renderRecord() stays below LINE_BYTES_MAX with every member hostile and endless", () => {
  const text = "\u2028".repeat(100_000);
  const rule = { role: text, text, file: text, line: Number.NaN };
  const evil: Partial<Record<keyof AuditRecord, unknown>> = Object.fromEntries(
    Object.keys(full).map((k) => [k, text]),
  );
  const line = renderRecord({
    ...full,
    ...(evil as AuditRecord),
    proof: { kind: "bearer", hash: text },
    rule,
    refusal: {
      reason: "audience_mismatch",
      expected: text,
      found: Array.from({ length: 100_000 }, () => text),
    },
    message: { id: text, subject: text, bytes: Number.POSITIVE_INFINITY, digest: text },
  });
  assert.ok(line.length <= LINE_BYTES_MAX, `${line.length} bytes`);
  assert.equal(JSON.parse(line).refusal.found.length, 17);
});

test("renderCompletion() makes several lines of many transactions and counts the messages once", () => {
  const txns = Array.from(
    { length: 2_001 },
    (_, i) => `0193a3b2-7c00-7000-8000-${String(i).padStart(12, "0")}`,
  );
  const lines = renderCompletion({ ...completion, txns, messages: 2_001 });
  assert.ok(lines.every((line) => line.length <= LINE_BYTES_MAX));
  const parsed = lines.map((line) => JSON.parse(line));
  assert.deepEqual(
    parsed.map((line) => line.messages),
    [2_001, undefined, undefined],
  );
  assert.deepEqual(
    parsed.flatMap((line) => line.txns),
    txns,
  );
});

test("renderRecord() says of one that stands for many that it does", () => {
  assert.equal(JSON.parse(renderRecord({ ...least, many: true })).many, true);
  assert.equal("many" in JSON.parse(renderRecord(least)), false);
});

test("renderCompletion() spreads the roots of one transaction over lines that all name it, and counts once", () => {
  const roots = Array.from({ length: 2_500 }, (_, i) => String(i).padStart(43, "r"));
  const lines = renderCompletion({ ...completion, txns: ["t"], messages: 9, bytes: 99, roots });
  assert.ok(lines.every((line) => line.length <= LINE_BYTES_MAX));
  const parsed = lines.map((line) => JSON.parse(line));
  assert.deepEqual(
    parsed.map(({ txns, messages, bytes }) => [txns, messages, bytes]),
    [
      [["t"], 9, 99],
      [["t"], undefined, undefined],
      [["t"], undefined, undefined],
    ],
  );
  assert.deepEqual(
    parsed.flatMap((line) => line.roots),
    roots,
  );
});

test("renderCompletion() writes no roots of several transactions: which were whose, nobody could tell", () => {
  const hostile = Array.from({ length: 1_000 }, () => "\u2028".repeat(100));
  const lines = renderCompletion({ ...completion, txns: hostile, roots: hostile });
  assert.ok(lines.every((line) => line.length <= LINE_BYTES_MAX && !line.includes("roots")));
});

test("renderRecord() yields one line of parseable ASCII for any strings", () => {
  const text = fc.string({ unit: "binary", maxLength: 2_000 });
  fc.assert(
    fc.property(text, text, text, (name, action, why) => {
      const line = renderRecord({ ...least, name, action, refusal: { reason: "nats_unavailable", why } });
      assert.match(line, /^[\x20-\x7e]+$/);
      const parsed = JSON.parse(line);
      const whole = (s: string) => s.replace(/\[cut\]$/, "");
      assert.ok(name.toWellFormed().startsWith(whole(parsed.name)));
    }),
    { numRuns: 500 },
  );
});
