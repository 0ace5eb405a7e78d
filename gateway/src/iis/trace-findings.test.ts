import assert from "node:assert/strict";
import { test } from "node:test";
import type { IisEvent } from "./trace-events.ts";
import { findingsOf } from "./trace-findings.ts";

const AT = Date.parse("2026-11-26T09:00:00Z");
const LINE: IisEvent = {
  ...{ source: "iis", atMs: AT, file: "u_ex261126_x.log", line: 5, client: "192.0.2.7" },
  ...{ method: "POST", path: "/v1/publish", query: undefined, arrLogId: undefined },
  ...{ status: 401, substatus: 2, win32: "5", username: undefined, tookMs: 1 },
  ...{ requestId: undefined, reason: undefined },
};
const REACHED: IisEvent = {
  ...LINE,
  ...{ atMs: AT + 1_000, status: 202, substatus: 0, win32: "0", username: "CORP\\ann" },
  requestId: "01a219e3-a04d-7375-92a5-3e5df011bc46",
};

function codesOf(...iis: readonly IisEvent[]): readonly string[] {
  const looked = {
    iis: { fromMs: AT, toMs: AT },
    withoutRequestId: [],
    audit: false,
    streams: false,
  };
  const nothing = { decisions: [], completions: [], messages: [], nowMs: AT };
  return findingsOf({ iis, looked, ...nothing }).map(({ code }) => code);
}

test("findingsOf() takes the 401 with which NTLM and Negotiate begin for no fault", () => {
  const second = { ...LINE, substatus: 1, win32: "2148074254" };
  assert.deepEqual(codesOf(LINE, second, REACHED), []);
});

for (const [why, other] of Object.entries({
  "nobody signed in after it": { ...REACHED, username: undefined },
  "another address did": { ...REACHED, client: "192.0.2.8" },
  "it was for another path": { ...REACHED, path: "/v1/request" },
  "it was long after": { ...REACHED, atMs: AT + 60_000 },
  "it was before": { ...REACHED, atMs: AT - 1_000 },
  "it never reached the gateway either": { ...REACHED, requestId: undefined, status: 401 },
})) {
  test(`findingsOf() names a 401 that never reached the gateway, where ${why}`, () => {
    assert(codesOf(LINE, other).includes("never_reached"));
  });
}

test("findingsOf() holds a file or a redirect against nobody, but an answer in the gateway's place", () => {
  const file = { ...LINE, method: "GET", path: "/app.js", status: 200, substatus: 0 };
  assert.deepEqual(codesOf(file, { ...file, path: "/", status: 301 }), []);
  assert.deepEqual(codesOf({ ...file, status: 404 }), ["never_reached"]);
  assert.deepEqual(codesOf({ ...file, path: "/bus/v1/whoami" }), ["never_reached"]);
});
