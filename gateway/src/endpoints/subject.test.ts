import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSubject } from "./subject.ts";

test("parseSubject() takes a plain subject, and wildcards only where something is read", () => {
  assert.deepEqual(parseSubject("orders.eu.1", { wildcards: false }), { ok: true, value: "orders.eu.1" });
  assert.deepEqual(parseSubject("orders.*.>", { wildcards: true }), { ok: true, value: "orders.*.>" });
  const refusal = { reason: "subject_invalid", subject: "orders.*.>", why: "has a wildcard" };
  assert.deepEqual(parseSubject("orders.*.>", { wildcards: false }), { ok: false, refusal });
});

test("parseSubject() refuses what belongs to the server, and patterns that reach it", () => {
  const why = "subjects beginning with $ or _INBOX belong to the server";
  for (const subject of [
    "$SYS.a",
    "$JS.API.INFO",
    "$KV.a.b",
    "_INBOX.a",
    "_INBOXES",
    "_R_.a",
    ">",
    "*.API.>",
  ]) {
    const refusal = { reason: "subject_invalid", subject, why };
    assert.deepEqual(parseSubject(subject, { wildcards: true }), { ok: false, refusal });
  }
});

test("parseSubject() says that none was given", () => {
  const refusal = {
    reason: "request_invalid",
    what: "query parameter subject",
    why: "expected once, found none",
  };
  assert.deepEqual(parseSubject(undefined, { wildcards: true }), { ok: false, refusal });
});
