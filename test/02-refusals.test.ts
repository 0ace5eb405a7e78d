/** Who may not, or asks for what cannot be: refused in words that help the caller and tell nobody else anything. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  type Answer,
  type Call,
  type EventReader,
  type JsonObject,
  startTestStack,
  type TestStack,
} from "./support.ts";

const POLICY = `
version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ 'publish orders.{region}.*.create', 'publish lab.{region}.>', 'subscribe lab.{region}.>' ]
    never: [ publish orders.*.secret.create ]
    limits: { payload: 1MiB, connections: 2 }
  auditor:
    given-to: [ { issuer: demo, groups: Audit } ]
    may: [ publish lab.audit ]
    limits: { payload: 16B, rate: 2/s }
`;
const PUBLISH = "/v1/publish?subject=orders.eu.1.create";

let stack: TestStack;
/** On alice's own connection to NATS all the time: what breaks that connection ends this stream. */
let witness: EventReader;
before(async () => {
  stack = await startTestStack({ policy: POLICY, configure: (yaml) => `${yaml}limits: { body: 4MiB }\n` });
  witness = await stack.stream(["lab.eu.witness"], { token: stack.token("alice") });
});
after(() => stack?.stop());

async function publish(query: string, how: Call = {}): Promise<Answer> {
  return await stack.call(`/v1/publish?${query}`, { method: "POST", token: stack.token("alice"), ...how });
}

/** Asserts the whole answer and the reason in the record, which tells more. */
async function assertRefused(
  answer: Answer,
  { status, code, reason }: { readonly status: number; readonly code: string; readonly reason: string },
): Promise<JsonObject> {
  const { type, title, detail, ...rest } = answer.json();
  const requestId = answer.headers["x-request-id"];
  assert.deepEqual(rest, { status, code, requestId });
  assert.equal(type, `${stack.gatewayUrl}/problems/${code}`);
  assert.equal(typeof title, "string");
  assert.equal(answer.status, status);
  assert.match(String(answer.headers["content-type"]), /^application\/problem\+json(?:;|$)/);
  assert.equal(answer.headers["cache-control"], "no-store");
  assert.equal(answer.headers["x-content-type-options"], "nosniff");
  const [record = {}] = await stack.auditOf(requestId, 1);
  assert.deepEqual([record.outcome, (record.refusal as JsonObject).reason], ["refused", reason], answer.text);
  return record;
}

test("who may not is told so, and nothing of roles, rules or others", async () => {
  const answer = await stack.call(PUBLISH, { method: "POST", token: stack.token("bob"), body: "x" });
  const record = await assertRefused(answer, { status: 403, code: "not_allowed", reason: "not_granted" });
  assert.doesNotMatch(answer.text, /clerk|region|orders|bob|policy\.yaml/);
  assert.deepEqual([record.user, record.action], ["demo-bob", "publish orders.eu.1.create"]);
});

test("that a never line stands in the policy cannot be told from the answer", async () => {
  const never = await publish("subject=orders.eu.secret.create");
  await assertRefused(never, { status: 403, code: "not_allowed", reason: "never" });
  const { requestId, ...told } = never.json();
  const { requestId: other, ...toldOfNothing } = (await publish("subject=orders.us.1.create")).json();
  assert.deepEqual(told, toldOfNothing);
});

test("the type of an answer that refuses leads to what it means", async () => {
  const { type } = (await stack.call(PUBLISH, { method: "POST" })).json();
  const answer = await stack.call(new URL(String(type)).pathname);
  assert.equal(answer.status, 200);
  assert.match(answer.text, /^unauthenticated: Authentication is needed\./);
});

test("a refused message does not arrive", async () => {
  const seen: string[] = [];
  stack.admin.subscribe("orders.>", { callback: (_error, message) => void seen.push(message.subject) });
  await stack.admin.flush();
  await publish("subject=orders.us.1.create");
  await publish("subject=orders.eu.2.create");
  await stack.admin.request("inventory.check", "apples");
  assert.deepEqual(seen, ["orders.eu.2.create"]);
});

describe("who cannot prove who they are", () => {
  const metadata = () => `resource_metadata="${stack.gatewayUrl}/.well-known/oauth-protected-resource"`;

  test("no proof is 401 with where to get one, and no error code", async () => {
    const answer = await stack.call(PUBLISH, { method: "POST" });
    await assertRefused(answer, { status: 401, code: "unauthenticated", reason: "proof_missing" });
    assert.equal(answer.headers["www-authenticate"], `Bearer ${metadata()}`);
  });

  const now = Math.floor(Date.now() / 1000);
  const forged: Readonly<Record<string, { readonly token: () => string; readonly reason: string }>> = {
    "an expired token": {
      token: () => stack.token("alice", { claims: { iat: now - 1_000, exp: now - 500 } }),
      reason: "proof_expired",
    },
    "a token not yet valid": {
      token: () => stack.token("alice", { claims: { nbf: now + 500 } }),
      reason: "proof_not_yet_valid",
    },
    "a token for somebody else": {
      token: () => stack.token("alice", { claims: { aud: "another-api" } }),
      reason: "audience_mismatch",
    },
    "a token of an issuer that nobody knows": {
      token: () => stack.token("alice", { claims: { iss: "https://evil.example" } }),
      reason: "issuer_unknown",
    },
    "a token whose claims were changed": {
      token: () => {
        const [head, , signature] = stack.token("bob").split(".");
        return [head, stack.token("alice").split(".")[1], signature].join(".");
      },
      reason: "proof_invalid",
    },
  };
  const told = new Set<string>();
  for (const [what, { token, reason }] of Object.entries(forged)) {
    test(`${what} is 401, and the answer does not say which check failed`, async () => {
      const answer = await stack.call(PUBLISH, { method: "POST", token: token() });
      await assertRefused(answer, { status: 401, code: "unauthenticated", reason });
      assert.equal(answer.headers["www-authenticate"], `Bearer error="invalid_token", ${metadata()}`);
      told.add(JSON.stringify({ ...answer.json(), requestId: "" }));
      assert.equal(told.size, 1);
    });
  }

  // RFC 6750 §3.1: a malformed token is `invalid_token` and 401; `invalid_request` is for what is presented twice.
  test("what cannot be a token at all, signature included, is 401 like every other that is not taken", async () => {
    const [, claims = ""] = stack.token("alice").split(".");
    const none = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString("base64url");
    for (const token of ["not-a-token", `${none}.${claims}.`, "a".repeat(9_000)]) {
      const answer = await stack.call(PUBLISH, { method: "POST", token });
      await assertRefused(answer, { status: 401, code: "unauthenticated", reason: "proof_invalid" });
      assert.equal(answer.headers["www-authenticate"], `Bearer error="invalid_token", ${metadata()}`);
      told.add(JSON.stringify({ ...answer.json(), requestId: "" }));
      assert.equal(told.size, 1);
    }
  });

  test("another scheme is taken for no proof: no error code, and the record says what was there", async () => {
    const answer = await stack.call(PUBLISH, { method: "POST", headers: { authorization: "Basic YTpi" } });
    const expected = { status: 401, code: "unauthenticated", reason: "proof_missing" };
    const record = await assertRefused(answer, expected);
    assert.equal(answer.headers["www-authenticate"], `Bearer ${metadata()}`);
    assert.deepEqual(record.refusal, { reason: "proof_missing", why: "another scheme than Bearer" });
  });

  test("a token presented twice is 400", async () => {
    const token = stack.token("alice");
    const text = await stack.raw(
      `POST ${PUBLISH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n` +
        `Authorization: Bearer ${token}\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    );
    assert.match(text, /^HTTP\/1\.1 400 /);
    assert.match(text, /"code":"invalid_proof"/);
    assert.match(text, /www-authenticate: Bearer error="invalid_request"/i);
  });

  test("a token in the query is not taken", async () => {
    const answer = await stack.call(`${PUBLISH}&access_token=${stack.token("alice")}`, { method: "POST" });
    assert.equal(answer.status, 401);
    assert.doesNotMatch(JSON.stringify(stack.audit()), /access_token=|eyJ/);
  });
});

describe("subjects that cannot be", () => {
  const bad: Readonly<Record<string, string>> = {
    nothing: "",
    "an empty token": "orders..1",
    "a dot at the end": "orders.eu.",
    "a wildcard": "orders.eu.*.create",
    "a tail": "orders.>",
    "a wildcard inside a token": "orders.e*.1.create",
    "the server's own": "$SYS.REQ.SERVER.PING",
    "JetStream's own": "$JS.API.STREAM.DELETE.ORDERS",
    "somebody's inbox": "_INBOX.ABC.1",
    "a reply of a service import": "_R_.abc",
    "a space": "orders.eu.1 2.create",
    "a tab": "orders.eu.\t.create",
    NUL: "orders.eu.\0.create",
    "a line that would be a command": "orders.eu.1.create\r\nPUB lab.eu.x 0\r\n",
    Unicode: "orders.eu.ü.create",
    "a look-alike dot": "orders．eu.1.create",
    "a bidirectional mark": "orders.eu.\u202e.create",
    "an emoji": "orders.eu.😀.create",
    "257 bytes": `orders.eu.${"a".repeat(240)}.create`,
    "16,000 bytes": `orders.eu.${"a".repeat(16_000)}.create`,
    "17 tokens": Array.from({ length: 17 }, () => "a").join("."),
  };
  for (const [what, subject] of Object.entries(bad)) {
    test(`${what} is refused and recorded`, async () => {
      const answer = await publish(`subject=${encodeURIComponent(subject)}`);
      const record = await assertRefused(answer, {
        status: 400,
        code: "invalid_subject",
        reason: "subject_invalid",
      });
      assert.match(String(record.action), /^\(invalid\) /);
      const streamed = await stack.call(`/v1/subscribe?subject=${encodeURIComponent(subject)}`, {
        token: stack.token("alice"),
      });
      assert(streamed.status === 400 || streamed.status === 403, streamed.text);
    });
  }

  test("none at all, and two where one is meant, are refused", async () => {
    for (const query of ["", "subject=lab.eu.a&subject=lab.eu.b"]) {
      const expected = { status: 400, code: "invalid_request", reason: "request_invalid" };
      await assertRefused(await publish(query), expected);
    }
  });
});

describe("what is not known here, or only a stream could keep, is refused, not passed over", () => {
  const request = { status: 400, code: "invalid_request", reason: "request_invalid" };
  const header = { status: 400, code: "invalid_header", reason: "header_refused" };

  for (const query of ["streams=ORDERS", "Subject=lab.eu.b", "__proto__=1", "subject[]=lab.eu.b"]) {
    test(`the parameter ${query}`, async () => {
      await assertRefused(await publish(`subject=lab.eu.a&${query}`), request);
    });
  }

  for (const name of [
    "Idempotency-Key",
    "Nats-Expected-Last-Subject-Sequence",
    "Nats-Msg-Id",
    "Nats-Rollup",
  ]) {
    test(`the header ${name}`, async () => {
      const answer = await publish("subject=lab.eu.a", { headers: { [name]: "1" } });
      await assertRefused(answer, header);
      assert.match(String(answer.json().detail), new RegExp(`^${name.toLowerCase()}: `));
    });
  }

  test("a subject for all lines of a batch", async () => {
    const headers = { "content-type": "application/x-ndjson; charset=utf-8" };
    const answer = await publish("subject=lab.eu.a", { headers, body: '{"subject":"lab.eu.a"}\n' });
    await assertRefused(answer, request);
  });

  for (const name of [
    "Msg-Nats-Rollup",
    "Msg-Seal-Claims",
    "Msg-Txn-Token",
    "Msg-Traceparent",
    "Msg-KV-Operation",
  ]) {
    test(`the message header ${name}`, async () => {
      await assertRefused(await publish("subject=lab.eu.a", { headers: { [name]: "x" } }), header);
    });
  }
});

describe("other methods and paths", () => {
  for (const [method, path] of [
    ["GET", PUBLISH],
    ["PUT", PUBLISH],
    ["DELETE", PUBLISH],
    ["TRACE", PUBLISH],
    ["HEAD", "/v1/whoami"],
    ["POST", "/v1/subscribe?subject=lab.eu.a"],
    ["GET", "/V1/whoami"],
    ["GET", "/v1/whoami/"],
    ["GET", "//v1/whoami"],
    ["GET", "/readyz"],
    ["GET", "/metrics"],
    ["GET", "/"],
  ] as const) {
    test(`${method} ${path} is not found, and has a request id`, async () => {
      const answer = await stack.call(path, { method, token: stack.token("alice") });
      assert.equal(answer.status, 404);
      assert.match(String(answer.headers["x-request-id"]), /^[0-9a-f-]{36}$/);
      if (method !== "HEAD") assert.equal(answer.json().code, "not_found");
    });
  }
});

describe("what is too much", () => {
  test("a payload beyond the grant is 413, and recorded with its size", async () => {
    const answer = await stack.call("/v1/publish?subject=lab.audit", {
      method: "POST",
      token: stack.token("carol"),
      body: "a".repeat(17),
    });
    const record = await assertRefused(answer, {
      status: 413,
      code: "payload_too_large",
      reason: "payload_too_large",
    });
    assert.deepEqual(record.refusal, { reason: "payload_too_large", bytes: 17, bytesMax: 16 });
  });

  test("a body beyond what the listener takes is 413, recorded with whose it is, and said only to who may know", async () => {
    const bytesMax = 4 * 1_048_576;
    const bytes = bytesMax + 1;
    // Only announced: the answer comes before a byte of it.
    const headers = { "content-length": bytes };
    for (const path of [PUBLISH, "/v1/request?subject=lab.eu.a"]) {
      const answer = await stack.call(path, { method: "POST", token: stack.token("alice"), headers });
      const expected = { status: 413, code: "payload_too_large", reason: "payload_too_large" };
      const record = await assertRefused(answer, expected);
      assert.deepEqual([record.user, record.action], ["demo-alice", "(invalid)"]);
      assert.deepEqual(record.refusal, { reason: "payload_too_large", bytes, bytesMax });
    }
    const answer = await stack.call(PUBLISH, { method: "POST", headers });
    assert.equal(answer.headers.connection, "close");
    await assertRefused(answer, { status: 401, code: "unauthenticated", reason: "proof_missing" });
  });

  test("a payload that fits the grant, and with its seal no longer the server, is 413 and breaks no connection", async () => {
    const answer = await publish("subject=lab.eu.large", { body: Buffer.alloc(1_048_576) });
    assert.deepEqual([answer.status, answer.json().code], [413, "payload_too_large"]);
    const [, completion] = await stack.auditOf(answer.headers["x-request-id"], 2);
    assert.deepEqual([completion?.outcome, completion?.why], ["failed", "payload_too_large"]);
  });

  test("more messages a second than the grant says are 429 with when to come again", async () => {
    const answers = await Promise.all(
      Array.from({ length: 5 }, () =>
        stack.call("/v1/publish?subject=lab.audit", { method: "POST", token: stack.token("carol") }),
      ),
    );
    const late = answers.filter(({ status }) => status === 429);
    assert(late.length >= 2 && late.length <= 4, `${late.length} of 5 were too many`);
    for (const answer of late) {
      await assertRefused(answer, { status: 429, code: "rate_limited", reason: "rate_limited" });
      assert.equal(answer.headers["retry-after"], "1");
    }
  });

  test("more streams than the grant says are 429, until one is left; the record says that it never began", async () => {
    const token = stack.token("bob");
    const open = (): Promise<EventReader> => stack.stream(["lab.us.a"], { token });
    const [first] = [await open(), await open()];
    const answer = await stack.call("/v1/subscribe?subject=lab.us.a", { token });
    assert.deepEqual([answer.status, answer.json().code], [429, "connections_exceeded"]);
    assert.equal(answer.headers["retry-after"], "5");
    const [decision, completion] = await stack.auditOf(answer.headers["x-request-id"], 2);
    assert.deepEqual(
      [decision?.outcome, completion?.outcome, completion?.why],
      ["allowed", "failed", "connections_exceeded"],
    );
    first?.leave();
    await stack.auditOf(first?.headers["x-request-id"], 2);
    (await open()).leave();
  });

  test("more subjects than one stream takes are refused", async () => {
    const subjects = Array.from({ length: 17 }, (_, n) => `subject=lab.eu.${n}`).join("&");
    const answer = await stack.call(`/v1/subscribe?${subjects}`, { token: stack.token("alice") });
    await assertRefused(answer, { status: 400, code: "invalid_request", reason: "request_invalid" });
  });
});

test("through all of this the connection that alice's requests share has stayed", async () => {
  await publish("subject=lab.eu.witness", { body: "still here" });
  const [event] = await witness.read(1);
  assert.equal(event?.data.data, "still here");
});
