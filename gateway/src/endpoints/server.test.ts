import assert from "node:assert/strict";
import { test } from "node:test";
import { orRefuse, RefusalError } from "./server.ts";
import { testServer } from "./testing/server.ts";

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

test("createEndpointServer() gives every answer an id of its own, whatever the client chose", async () => {
  const app = testServer();
  app.get("/facts", (request) => request.facts);
  const headers = { "x-request-id": "mine", traceparent: `00-${"1".repeat(32)}-${"2".repeat(16)}-01` };
  const answer = await app.inject({ url: "/facts", headers });
  const { txn, requestId, ...facts } = answer.json();
  assert.match(txn, UUID);
  assert.deepEqual([requestId, answer.headers["x-request-id"]], [txn, txn]);
  assert.deepEqual(facts, {
    lane: "http",
    clientRequestId: "mine",
    clientTraceparent: headers.traceparent,
    remote: "127.0.0.1",
  });
});

test("createEndpointServer() answers a fault of ours with 500 and nothing of it, and logs it with the request id", async () => {
  const faults: unknown[] = [];
  const app = testServer({ onFault: (error, requestId) => faults.push(String(error), requestId) });
  app.get("/fault", () => {
    throw new Error("the secret is hunter2");
  });
  const answer = await app.inject("/fault");
  const { detail, ...problem } = answer.json();
  assert.deepEqual(problem, {
    type: "https://gateway.example/problems/internal_error",
    title: "The gateway failed",
    status: 500,
    code: "internal_error",
    requestId: answer.headers["x-request-id"],
  });
  assert.doesNotMatch(answer.body, /hunter2/);
  assert.deepEqual(faults, ["Error: the secret is hunter2", answer.headers["x-request-id"]]);
});

test("createEndpointServer() answers a refusal alike, thrown or returned", async () => {
  const app = testServer();
  app.get("/thrown", () => {
    throw new RefusalError({ reason: "shutting_down" });
  });
  app.get("/returned", () => orRefuse({ ok: false, refusal: { reason: "shutting_down" } }));
  for (const url of ["/thrown", "/returned"]) {
    const answer = await app.inject(url);
    assert.deepEqual(
      [answer.statusCode, answer.json().code, answer.headers["retry-after"]],
      [503, "unavailable", "5"],
    );
  }
});

test("createEndpointServer() answers a path that cannot be decoded as every other refusal", async () => {
  const answer = await testServer().inject("/%C0%AF");
  assert.deepEqual([answer.statusCode, answer.json().code], [400, "invalid_request"]);
  assert.match(String(answer.headers["x-request-id"]), UUID);
});

test("createEndpointServer() starts with a time for the head that is longer than that for the request", async () => {
  const limits = {
    bodyBytesMax: 1,
    headerBytesMax: 8_192,
    headersTimeoutMs: 60_000,
    requestTimeoutMs: 1_000,
    keepAliveTimeoutMs: 1_000,
    connectionsMax: 10,
  };
  await testServer({ limits }).close();
});

test("createEndpointServer() reads a body of any type as bytes, and parses none", async () => {
  const app = testServer();
  app.post("/body", (request) => (request.body as Buffer).toString("hex"));
  for (const type of ["application/json", "text/plain", "application/x-www-form-urlencoded", "none/known"]) {
    const answer = await app.inject({
      method: "POST",
      url: "/body",
      headers: { "content-type": type },
      body: Buffer.from('{"__proto__":'),
    });
    assert.equal(answer.body, Buffer.from('{"__proto__":').toString("hex"));
  }
});
