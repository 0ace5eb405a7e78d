/** A question and its answer: what a service behind NATS replies becomes the HTTP response, and cannot become more. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TRUST_DOMAIN } from "@countersign/devstack/stack.ts";
import { createVerifier, remoteKeySet } from "@countersign/seal";
import { headers as natsHeaders } from "@nats-io/transport-node";
import { type Answer, startTestStack, type TestStack } from "./support.ts";

const POLICY = `
version: 1
roles:
  asker:
    given-to: [ { issuer: demo, user: alice } ]
    may: [ request inventory.check, request lab.> ]
`;

let stack: TestStack;
before(async () => {
  stack = await startTestStack({ policy: POLICY });
});
after(() => stack?.stop());

async function ask(query: string, body = ""): Promise<Answer> {
  return await stack.call(`/v1/request?${query}`, { method: "POST", token: stack.token("alice"), body });
}

test("the reply's body and headers are the response, and the record says that it was answered", async () => {
  const answer = await ask("subject=inventory.check&timeout=5s", "apples");
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.json(), { article: "apples", inStock: 42 });
  const [decision, completion] = await stack.auditOf(answer.headers["x-request-id"], 2);
  assert.deepEqual(
    [decision?.action, decision?.outcome, completion?.outcome],
    ["request inventory.check", "allowed", "replied"],
  );
});

test("the service sees a sealed message, and can tell who asks", async () => {
  const keys = remoteKeySet({ url: `${stack.gatewayUrl}/.well-known/jwks.json` });
  const verify = createVerifier({ issuer: stack.gatewayUrl, audience: TRUST_DOMAIN, keys });
  const subscription = stack.admin.subscribe("lab.who", { max: 1 });
  await stack.admin.flush();
  const asking = ask("subject=lab.who", "who am I?");
  for await (const message of subscription) message.respond((await verify(message)).sender.user);
  assert.equal((await asking).text, "demo-alice");
});

test("nobody on the subject is 503 no_responders", async () => {
  const answer = await ask("subject=lab.nobody&timeout=5s");
  assert.deepEqual([answer.status, answer.json().code], [503, "no_responders"]);
  const [, completion] = await stack.auditOf(answer.headers["x-request-id"], 2);
  assert.deepEqual([completion?.outcome, completion?.why], ["failed", "no_responders"]);
});

test("no answer in time is 504 timeout", async () => {
  const subscription = stack.admin.subscribe("lab.silent");
  await stack.admin.flush();
  const answer = await ask("subject=lab.silent&timeout=50ms");
  subscription.unsubscribe();
  assert.deepEqual([answer.status, answer.json().code], [504, "timeout"]);
  const [, completion] = await stack.auditOf(answer.headers["x-request-id"], 2);
  assert.deepEqual([completion?.outcome, completion?.why], ["failed", "timeout"]);
});

for (const timeout of ["0ms", "61s", "2", "-1s", "1e3s", "", "2s&timeout=3s"]) {
  test(`a timeout of "${timeout}" is refused`, async () => {
    const answer = await ask(`subject=inventory.check&timeout=${timeout}`);
    assert.deepEqual([answer.status, answer.json().code], [400, "invalid_request"]);
    const [decision] = await stack.auditOf(answer.headers["x-request-id"], 1);
    assert.equal(decision?.outcome, "refused");
  });
}

test("a reply of HTML does not become a page of our origin", async () => {
  const subscription = stack.admin.subscribe("lab.html", { max: 1 });
  await stack.admin.flush();
  const asking = ask("subject=lab.html");
  for await (const message of subscription) {
    const hostile = natsHeaders();
    hostile.append("Content-Type", "text/html");
    hostile.append("Set-Cookie", "__Host-Http-countersign=stolen");
    hostile.append("Location", "https://evil.example");
    hostile.append("Content-Security-Policy", "default-src *");
    hostile.append("Access-Control-Allow-Origin", "*");
    hostile.append("X-Request-Id", "forged");
    message.respond("<script>fetch('/v1/whoami')</script>", { headers: hostile });
  }
  const answer = await asking;
  assert.equal(answer.headers["content-type"], "text/html");
  assert.equal(answer.headers["content-security-policy"], "sandbox; default-src 'none'");
  assert.equal(answer.headers["x-content-type-options"], "nosniff");
  assert.equal(answer.headers["set-cookie"], undefined);
  assert.equal(answer.headers.location, undefined);
  assert.equal(answer.headers["access-control-allow-origin"], undefined);
  assert.notEqual(answer.headers["x-request-id"], "forged");
  assert.equal(answer.headers["msg-location"], "https://evil.example");
});

test("a header that the reply has twice comes back twice", async () => {
  const subscription = stack.admin.subscribe("lab.twice", { max: 1 });
  await stack.admin.flush();
  const asking = ask("subject=lab.twice");
  for await (const message of subscription) {
    const twice = natsHeaders();
    twice.append("Part", "1");
    twice.append("Part", "2");
    message.respond("", { headers: twice });
  }
  assert.equal((await asking).headers["msg-part"], "1, 2");
});

test("a reply that is no UTF-8 comes back byte for byte, as a type that nobody renders", async () => {
  const bytes = Uint8Array.of(0, 0xff, 0xfe, 0x0d, 0x0a, 0x80);
  const subscription = stack.admin.subscribe("lab.bytes", { max: 1 });
  await stack.admin.flush();
  const asking = ask("subject=lab.bytes");
  for await (const message of subscription) message.respond(bytes);
  const answer = await asking;
  assert.deepEqual(new Uint8Array(answer.bytes), bytes);
  assert.equal(answer.headers["content-type"], "application/octet-stream");
});
