import assert from "node:assert/strict";
import { test } from "node:test";
import type { FastifyRequest } from "fastify";
import { readQuery, readSingles } from "./query.ts";
import { testServer } from "./testing/server.ts";

async function read(query: string): Promise<unknown> {
  const app = testServer();
  app.get("/", (request: FastifyRequest) => readQuery(request, ["subject", "timeout"]));
  return (await app.inject(`/${query}`)).json();
}

test("readQuery() gives every value of a name, in order", async () => {
  assert.deepEqual(await read("?subject=b&timeout=1s&subject=a"), {
    ok: true,
    value: { subject: ["b", "a"], timeout: ["1s"] },
  });
  assert.deepEqual(await read(""), { ok: true, value: {} });
});

test("readQuery() refuses what the endpoint does not know, and shows no more than a part of it", async () => {
  const why = "unknown; this endpoint takes subject, timeout";
  const cases = {
    stream: "stream",
    __proto__x: "__proto__x",
    toString: "toString",
    ["a".repeat(99)]: "a".repeat(64),
  };
  for (const [name, shown] of Object.entries(cases)) {
    const refusal = { reason: "request_invalid", what: `query parameter ${shown}`, why };
    assert.deepEqual(await read(`?${name}=1`), { ok: false, refusal });
  }
  assert.equal(JSON.stringify(await read("?__proto__=1")).includes('"ok":false'), true);
});

test("readQuery() refuses what is not percent-encoded UTF-8, which would stay as it is", async () => {
  const refusal = { reason: "request_invalid", what: "query", why: "is not percent-encoded UTF-8" };
  for (const query of [
    "?subject=%",
    "?subject=%zz",
    "?subject=%C0%AF",
    "?subject=%ED%A0%80",
    "?subject=a%2",
  ]) {
    assert.deepEqual(await read(query), { ok: false, refusal });
  }
  assert.deepEqual(await read("?subject=%C3%BC"), { ok: true, value: { subject: ["ü"] } });
});

test("readSingles() takes each once, and refuses one that stands there twice", async () => {
  const app = testServer();
  app.get("/", (request: FastifyRequest) => readSingles(request, ["subject", "timeout"]));
  assert.deepEqual((await app.inject("/?subject=a")).json(), { ok: true, value: { subject: "a" } });
  const why = "expected once, found 2 times";
  const refusal = { reason: "request_invalid", what: "query parameter subject", why };
  assert.deepEqual((await app.inject("/?subject=a&subject=a")).json(), { ok: false, refusal });
});
