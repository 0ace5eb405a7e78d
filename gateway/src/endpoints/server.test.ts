import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import type { FastifyInstance } from "fastify";
import { listen } from "../compose/listen.ts";
import type { Hop } from "../hop/hop.ts";
import { allowed, type Refusal, refused } from "../refusal.ts";
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

test("createEndpointServer() records what is refused for what it came through, before any endpoint sees it", async () => {
  const refusal: Refusal = { reason: "hop_unproven", proof: "a token" };
  const recorded: unknown[] = [];
  const app = testServer({
    judgeHop: () => refused(refusal),
    recordRefused: async ({ txn, requestId, ...facts }, what, why) => {
      recorded.push([facts, what, why, txn === requestId]);
      return recorded.length === 1
        ? allowed(undefined)
        : refused({ reason: "record_unwritable", why: "full" });
    },
  });
  app.get("/v1/whoami", () => assert.fail("the endpoint was asked"));
  const first = await app.inject({ path: "/v1/whoami?secret=1", headers: { "x-request-id": "mine" } });
  assert.deepEqual([first.statusCode, first.json().code], [400, "invalid_request"]);
  assert.deepEqual(recorded, [
    [
      { lane: "http", clientRequestId: "mine", remote: "127.0.0.1" },
      "(unread) GET /v1/whoami",
      refusal,
      true,
    ],
  ]);
  assert.equal((await app.inject("/v1/whoami")).statusCode, 503, "no record, no answer but that");
  await app.close();
});

test("createEndpointServer() takes address and id of a hop that may give them, and its own address as the hop's", async () => {
  const hop: Hop = { forwards: true, caller: "192.0.2.7", requestId: "from-the-proxy", vouched: {} };
  const app = testServer({ judgeHop: () => allowed(hop) });
  app.get("/facts", (request) => request.facts);
  const answer = await app.inject({ path: "/facts", headers: { "x-request-id": "from-the-proxy" } });
  const { txn, ...facts } = answer.json();
  assert.deepEqual(facts, {
    requestId: "from-the-proxy",
    lane: "http",
    remote: "192.0.2.7",
    hop: "127.0.0.1",
  });
  assert.equal(answer.headers["x-request-id"], "from-the-proxy");
  assert.match(txn, /^[0-9a-f-]{36}$/);
  await app.close();
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

/** A connection to a listener on which nothing may stand still for a tenth of a second. */
async function connectTo(app: FastifyInstance, t: TestContext) {
  assert.equal(app.server.timeout, 30_000);
  app.server.timeout = 100;
  const address = await listen(app, { host: "127.0.0.1", port: 0 });
  t.after(() => {
    app.server.closeAllConnections();
    return app.close();
  });
  const socket = connect(Number(address.split(":")[1]), "127.0.0.1").on("error", () => {});
  t.after(() => socket.destroy());
  return socket;
}

test("createEndpointServer() cuts off who takes nothing of an answer", { timeout: 20_000 }, async (t) => {
  const app = testServer();
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  app.get("/large", (request, reply) => {
    request.raw.socket.once("close", () => resolve());
    return reply.send(Buffer.alloc(64 * 1_048_576));
  });
  const socket = await connectTo(app, t);
  socket.pause().write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
  await closed;
});

test("createEndpointServer() leaves who waits for an answer alone, however long", async (t) => {
  const app = testServer();
  const ripe = Promise.withResolvers<void>();
  app.server.on("timeout", () => ripe.resolve());
  app.get("/late", async () => {
    await ripe.promise;
    return "here";
  });
  const socket = await connectTo(app, t);
  socket.write("GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
  const [answer] = await once(socket, "data", { signal: AbortSignal.timeout(10_000) });
  assert.match(String(answer), /^HTTP\/1\.1 200 .*here$/s);
});
