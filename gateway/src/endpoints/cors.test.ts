import assert from "node:assert/strict";
import { test } from "node:test";
import { corsHeadersOf, preflightHeadersOf } from "./cors.ts";

const ORIGINS = new Set(["https://apps.example.com"]);

test("corsHeadersOf() names exactly the origin that asks, when it is listed", () => {
  assert.deepEqual(corsHeadersOf("https://apps.example.com", ORIGINS), {
    vary: "Origin",
    "access-control-allow-origin": "https://apps.example.com",
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "X-Request-Id, Retry-After, WWW-Authenticate, ETag",
  });
});

test("corsHeadersOf() gives any other origin nothing, and a cache the reason", () => {
  const others = [undefined, "null", "*", "", "https://apps.example.com.evil", "https://APPS.example.com"];
  for (const origin of others) assert.deepEqual(corsHeadersOf(origin, ORIGINS), { vary: "Origin" });
});

test("preflightHeadersOf() allows a listed origin the headers it asks for, since Msg-… has no fixed list", () => {
  const headers = {
    origin: "https://apps.example.com",
    "access-control-request-headers": "msg-a,authorization",
  };
  const allowed = preflightHeadersOf(headers, ORIGINS);
  assert.equal(allowed?.["access-control-allow-headers"], "msg-a,authorization");
  assert.equal(allowed?.["access-control-allow-methods"], "GET, POST, PUT, DELETE");
});

test("preflightHeadersOf() allows nobody else anything", () => {
  for (const headers of [{}, { origin: "null" }, { origin: "https://evil.example" }]) {
    assert.equal(preflightHeadersOf(headers, ORIGINS), undefined);
  }
});
