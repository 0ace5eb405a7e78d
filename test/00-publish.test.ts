/** A message on its way: published over HTTP by who has proved who they are, and verified by who receives it. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TRUST_DOMAIN } from "@countersign/devstack/stack.ts";
import { createVerifier, remoteKeySet, type Verifier } from "@countersign/seal";
import { jetstream } from "@nats-io/jetstream";
import type { Msg, Subscription } from "@nats-io/transport-node";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { type Answer, type JsonObject, startTestStack, type TestStack } from "./support.ts";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const PAYLOAD = '{"item":"the payload that nobody logs"}';

let stack: TestStack;
let verify: Verifier;
before(async () => {
  stack = await startTestStack();
  const keys = remoteKeySet({ url: `${stack.gatewayUrl}/.well-known/jwks.json` });
  verify = createVerifier({ issuer: stack.gatewayUrl, audience: TRUST_DOMAIN, keys });
});
after(() => stack?.stop());

async function publish(subject: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const token = stack.token("alice");
  const path = `/v1/publish?subject=${encodeURIComponent(subject)}`;
  return await stack.call(path, { method: "POST", token, headers, body: PAYLOAD });
}

async function subscribed(subject: string): Promise<Subscription> {
  const subscription = stack.admin.subscribe(subject);
  await stack.admin.flush();
  return subscription;
}

async function next(subscription: Subscription): Promise<Msg> {
  for await (const message of subscription) return message;
  throw new Error("the subscription ended");
}

function claimsOf(message: Msg): JsonObject {
  return JSON.parse(
    Buffer.from(message.headers?.get("Seal-Claims") ?? "", "base64url").toString(),
  ) as JsonObject;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}

test("a stock verifier reads from core NATS who published, what, where, when and through which request", async () => {
  const subscription = await subscribed("orders.>");
  const answer = await publish("orders.eu.1.create", {
    "content-type": "application/json",
    "msg-priority": "high",
  });
  assert.equal(answer.status, 202);
  const { txn, id, ...rest } = answer.json();
  assert.deepEqual(rest, { subject: "orders.eu.1.create" });
  assert.match(String(txn), UUID);
  assert.match(String(id), UUID);
  assert.equal(answer.headers["x-request-id"], txn);

  const message = await next(subscription);
  const verified = await verify(message);
  assert.deepEqual(
    { ...verified.sender, id: verified.id, txn: verified.txn, subject: verified.subject },
    { verified: true, user: "demo-alice", issuer: "demo", id, txn, subject: "orders.eu.1.create" },
  );
  assert.deepEqual(verified.json(), JSON.parse(PAYLOAD));
  assert.deepEqual(verified.headers, [
    ["Content-Type", "application/json"],
    ["priority", "high"],
  ]);
  assert.equal(message.headers?.get("Nats-Msg-Id"), id);
});

test("the claims are exactly those that other languages will verify", async () => {
  const subscription = await subscribed("orders.>");
  const answer = await publish("orders.eu.2.create", { "content-type": "text/plain", "msg-a": "1" });
  const { txn, id } = answer.json();
  const { iat, exp, req_wl, ...claims } = claimsOf(await next(subscription));
  assert.equal(Number(exp), Number(iat) + 60);
  assert(Math.abs(Number(iat) - Date.now() / 1000) < 10);
  assert.match(String(req_wl), /^countersign\/[A-Za-z0-9_-]+$/);
  assert.deepEqual(claims, {
    iss: stack.gatewayUrl,
    aud: TRUST_DOMAIN,
    txn,
    sub: "demo-alice",
    scope: "publish:orders.eu.*.create",
    tctx: {
      msg: {
        s: "orders.eu.2.create",
        d: sha256(PAYLOAD),
        id,
        h: sha256(["Content-Type: text/plain", "a: 1"].map((line) => `${line}\n`).join("")),
      },
    },
    rctx: { rid: txn, acr: "pwd" },
  });
});

test("a stream keeps the message verifiable", async () => {
  const { id } = (await publish("orders.eu.3.create")).json();
  const consumer = await jetstream(stack.admin).consumers.get("ORDERS", {
    filter_subjects: ["orders.eu.3.create"],
  });
  const stored = await consumer.next();
  assert(stored);
  assert.equal((await verify(stored)).id, id);
});

test("a subject whose policy says so carries a token that any JOSE library verifies", async () => {
  const subscription = await subscribed("payments.>");
  const { txn } = (await publish("payments.eu.7.authorize")).json();
  const message = await next(subscription);
  const keys = createRemoteJWKSet(new URL(`${stack.gatewayUrl}/.well-known/jwks.json`));
  const { payload, protectedHeader } = await jwtVerify(message.headers?.get("Txn-Token") ?? "", keys, {
    issuer: stack.gatewayUrl,
    audience: TRUST_DOMAIN,
    typ: "txntoken+jwt",
    algorithms: ["ES256"],
  });
  assert.deepEqual([payload.sub, payload.txn, protectedHeader.alg], ["demo-alice", txn, "ES256"]);
  assert.equal(message.headers?.has("Seal-Claims"), false);
  assert.equal((await verify(message)).sender.user, "demo-alice");
});

test("messages of one turn share one root, each with its own path", async () => {
  const subscription = await subscribed("orders.eu.*.create");
  await publish("orders.eu.0.create");
  await next(subscription);
  const together = await subscribed("orders.eu.*.create");
  // On one connection in one write, so that one turn of the gateway's event loop reads them all.
  const count = 8;
  const token = stack.token("alice");
  const heads = Array.from({ length: count }, (_, n) =>
    [
      `POST /v1/publish?subject=orders.eu.${n}.create HTTP/1.1`,
      "Host: gateway",
      `Authorization: Bearer ${token}`,
      "Content-Length: 1",
      ...(n === count - 1 ? ["Connection: close"] : []),
      "",
      String(n),
    ].join("\r\n"),
  );
  const answers = await stack.raw(heads.join(""));
  assert.equal(answers.match(/HTTP\/1\.1 202/g)?.length, count);

  const roots = new Set<string>();
  const paths = new Set<string>();
  const txns: string[] = [];
  for await (const message of together) {
    const { txn } = await verify(message);
    txns.push(txn);
    roots.add(message.headers?.get("Seal-Root") ?? "");
    paths.add(message.headers?.get("Seal-Path") ?? "");
    if (txns.length === count) break;
  }
  assert(roots.size < count, `${roots.size} roots for ${count} messages`);
  const root = JSON.parse(
    Buffer.from([...roots][0]?.split(".")[1] ?? "", "base64url").toString(),
  ) as JsonObject;
  assert.deepEqual(Object.keys(root).sort(), ["aud", "exp", "iat", "iss", "n", "root"]);
  assert(paths.size > 1);
  const [, completion] = await stack.auditOf(txns[0], 2);
  assert.equal(completion?.root, root.root);
});

test("the record stands before, the completion after, both with the transaction and the root", async () => {
  const subscription = await subscribed("orders.>");
  const answer = await publish("orders.eu.4.create", {
    "x-request-id": "the-clients-own",
    traceparent: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
  });
  const { txn, id } = answer.json();
  const message = await next(subscription);
  // Its record is on disk before the message leaves, so it is there without waiting.
  const records = stack.audit().filter((line) => line.txn === txn);
  assert.equal(records.length, 1);
  const [{ at, instance, rule, policy, proof, remote, ...decision } = {}] = records;
  assert.deepEqual(decision, {
    kind: "decision",
    txn,
    requestId: txn,
    clientRequestId: "the-clients-own",
    clientTraceparent: "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
    lane: "http",
    action: "publish orders.eu.4.create",
    outcome: "allowed",
    user: "demo-alice",
    issuer: "demo",
    name: "Alice Ambrose",
    acr: "pwd",
    message: { id, subject: "orders.eu.4.create", bytes: PAYLOAD.length, digest: sha256(PAYLOAD) },
  });
  assert.equal((rule as JsonObject).text, "publish orders.{region}.*.create");
  assert.match(String(policy), /^[0-9a-f]{64}$/);
  assert.deepEqual(Object.keys(proof as JsonObject), ["kind", "hash"]);
  assert.match(String(at), /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/);
  assert.equal(remote, "127.0.0.1");

  const [, completion] = await stack.auditOf(txn, 2);
  const [, payload = ""] = (message.headers?.get("Seal-Root") ?? "").split(".");
  const { root } = JSON.parse(Buffer.from(payload, "base64url").toString()) as JsonObject;
  assert.deepEqual(completion, {
    kind: "completion",
    at: completion?.at,
    instance,
    txns: [txn],
    outcome: "received",
    root,
  });
});

test("a trace starts anew at the edge: the transaction is the trace, whatever the client sent", async () => {
  const subscription = await subscribed("orders.>");
  const forged = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
  const { txn } = (await publish("orders.eu.5.create", { traceparent: forged })).json();
  const traceparent = (await next(subscription)).headers?.get("traceparent") ?? "";
  assert.match(traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  assert.equal(traceparent.split("-")[1], String(txn).replaceAll("-", ""));
});

test("an empty body is a message too", async () => {
  const subscription = await subscribed("orders.>");
  const answer = await stack.call("/v1/publish?subject=orders.eu.6.create", {
    method: "POST",
    token: stack.token("alice"),
  });
  assert.equal(answer.status, 202);
  assert.equal((await verify(await next(subscription))).payload.length, 0);
});

test("neither token, payload nor seal stands in the audit or the gateway's log", () => {
  const written =
    readFileSync(stack.auditFile, "utf8") + readFileSync(join(stack.stateDir, "gateway.log"), "utf8");
  assert.match(written, /orders\.eu\.1\.create/);
  assert.doesNotMatch(written, /the payload that nobody logs/);
  assert.doesNotMatch(written, /eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}/);
});
