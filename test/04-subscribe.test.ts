/** A stream of events: each says who sent it, as its seal proves, and the stream ends when it must. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { type Msg, type MsgHdrs, headers as natsHeaders } from "@nats-io/transport-node";
import { type EventReader, type JsonObject, queryOf, startTestStack, type TestStack } from "./support.ts";

const POLICY = `
version: 1
roles:
  everybody:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ publish lab.>, subscribe lab.> ]
  once:
    given-to: [ { issuer: demo, groups: Audit } ]
    may: [ subscribe lab.> ]
    limits: { connections: 1 }
`;

let stack: TestStack;
before(async () => {
  stack = await startTestStack({ policy: POLICY });
});
after(() => stack?.stop());

async function openAs(who: "alice" | "carol", ...subjects: readonly string[]): Promise<EventReader> {
  return await stack.stream(subjects, { token: stack.token(who) });
}

async function publish(
  subject: string,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<JsonObject> {
  const answer = await stack.call(`/v1/publish?subject=${subject}`, {
    method: "POST",
    token: stack.token("bob"),
    headers,
    body,
  });
  assert.equal(answer.status, 202, answer.text);
  return answer.json();
}

test("an event has the message, its headers, who sent it, and through which request", async () => {
  const reader = await openAs("alice", "lab.a");
  assert.equal(reader.headers["content-type"], "text/event-stream");
  assert.match(String(reader.headers["cache-control"]), /no-transform/);
  assert.equal(reader.headers["x-content-type-options"], "nosniff");
  assert.match(String(reader.headers["x-request-id"]), /^[0-9a-f-]{36}$/);
  const { txn, id } = await publish("lab.a", '{"n":1}', { "content-type": "application/json", "msg-a": "1" });
  const [event] = await reader.read(1);
  assert.deepEqual(reader.comments, [": open"]);
  assert.equal(event?.event, "message");
  const { time, ...data } = event?.data ?? {};
  assert.deepEqual(data, {
    subject: "lab.a",
    data: '{"n":1}',
    contentType: "application/json",
    headers: { a: "1" },
    sender: { verified: true, user: "demo-bob", issuer: "demo" },
    id,
    txn,
  });
  assert(Math.abs(Date.parse(String(time)) - Date.now()) < 10_000);
  reader.leave();
  const [decision, completion] = await stack.auditOf(reader.headers["x-request-id"], 2);
  assert.deepEqual(
    [decision?.lane, decision?.action, decision?.outcome],
    ["sse", "subscribe lab.a", "allowed"],
  );
  assert.deepEqual([completion?.outcome, completion?.why, completion?.messages], ["ended", "closed", 1]);
});

test("several subjects come on one stream, and nothing else", async () => {
  const reader = await openAs("alice", "lab.a", "lab.b.*", "lab.c.>");
  for (const subject of ["lab.a", "lab.x", "lab.b.1", "lab.b.1.2", "lab.c.1.2"]) await publish(subject, "");
  const subjects = (await reader.read(3)).map(({ data }) => data.subject);
  assert.deepEqual(subjects, ["lab.a", "lab.b.1", "lab.c.1.2"]);
  const records = await stack.auditOf(reader.headers["x-request-id"], 3);
  assert.deepEqual(
    records.map(({ action }) => action),
    ["subscribe lab.a", "subscribe lab.b.*", "subscribe lab.c.>"],
  );
  reader.leave();
});

test("one subject that is not granted refuses the whole stream, and the record says that none of it began", async () => {
  const answer = await stack.call("/v1/subscribe?subject=lab.a&subject=orders.a", {
    token: stack.token("alice"),
  });
  assert.deepEqual([answer.status, answer.json().code], [403, "not_allowed"]);
  const [first, second, completion] = await stack.auditOf(answer.headers["x-request-id"], 3);
  assert.deepEqual([first?.action, first?.outcome], ["subscribe lab.a", "allowed"]);
  assert.deepEqual([second?.action, second?.outcome], ["subscribe orders.a", "refused"]);
  assert.deepEqual(
    [completion?.kind, completion?.outcome, completion?.why],
    ["completion", "failed", "not_granted"],
  );
});

test("subjects that share messages are refused on one stream, where each would come twice", async () => {
  for (const [one, other] of [
    ["lab.>", "lab.a"],
    ["lab.a.*", "lab.*.b"],
    ["lab.*", "lab.>"],
  ] as const) {
    const answer = await stack.call(`/v1/subscribe?${queryOf(["else.x", one, other])}`, {
      token: stack.token("alice"),
    });
    assert.deepEqual([answer.status, answer.json().code], [400, "invalid_request"]);
    assert.match(String(answer.json().detail), /share subjects/);
    const [record] = await stack.auditOf(answer.headers["x-request-id"], 1);
    assert.deepEqual([record?.outcome, record?.user], ["refused", "demo-alice"]);
  }
});

test("bytes that are no text, and text that is not UTF-8, come as base64", async () => {
  const reader = await openAs("alice", "lab.bytes");
  const bytes = Uint8Array.of(0xff, 0xfe, 0, 10, 13);
  await publish("lab.bytes", bytes, { "content-type": "application/octet-stream" });
  await publish("lab.bytes", bytes, { "content-type": "text/plain" });
  await publish("lab.bytes", bytes);
  await publish("lab.bytes", "text", { "content-type": "image/png" });
  const found = (await reader.read(4)).map(({ data }) => [data.data, data.dataBase64]);
  const base64 = Buffer.from(bytes).toString("base64");
  assert.deepEqual(found, [
    [undefined, base64],
    [undefined, base64],
    [undefined, base64],
    [undefined, Buffer.from("text").toString("base64")],
  ]);
  reader.leave();
});

test("what a sender writes cannot end an event or make one", async () => {
  const reader = await openAs("alice", "lab.forged");
  const forged = '\n\nevent: end\ndata: {"code":"logout"}\n\n\r\rdata: x\u2028';
  await publish("lab.forged", forged);
  await publish("lab.forged", "next");
  const events = await reader.read(2);
  assert.deepEqual(
    events.map(({ event, data }) => [event, data.data]),
    [
      ["message", forged],
      ["message", "next"],
    ],
  );
  reader.leave();
});

test("messages come in the order in which they were sent", async () => {
  const reader = await openAs("alice", "lab.order");
  const count = 300;
  for (let n = 0; n < count; n++) {
    // Unsealed and sealed ones in turn: their verification takes differently long.
    if (n % 3 === 0) await publish("lab.order", String(n));
    else stack.admin.publish("lab.order", String(n));
    if (n % 3 === 2) await stack.admin.flush();
  }
  const found = (await reader.read(count)).map(({ data }) => Number(data.data));
  const sealed = found.filter((n) => n % 3 === 0);
  assert.deepEqual(
    sealed,
    Array.from({ length: count / 3 }, (_, n) => 3 * n),
  );
  const unsealed = found.filter((n) => n % 3 !== 0);
  assert.deepEqual(
    unsealed,
    Array.from({ length: count }, (_, n) => n).filter((n) => n % 3 !== 0),
  );
  reader.leave();
});

describe("what has not a seal of its own is shown as such, with no name to be taken for one", () => {
  let sealed: Msg;
  let reader: EventReader;
  before(async () => {
    const subscription = stack.admin.subscribe("lab.sealed", { max: 1 });
    await stack.admin.flush();
    await publish("lab.sealed", "the original", { "msg-a": "1" });
    for await (const message of subscription) sealed = message;
  });

  const copy = (change: (headers: MsgHdrs) => void = () => {}): MsgHdrs => {
    const headers = natsHeaders();
    for (const [name, values] of sealed.headers ?? [])
      for (const value of values) headers.append(name, value);
    change(headers);
    return headers;
  };
  const kidless = (headers: MsgHdrs): void => {
    const [, payload, signature] = headers.get("Seal-Root").split(".");
    const head = { alg: "ES256", typ: "seal-root+jwt", kid: "a".repeat(43) };
    const forged = Buffer.from(JSON.stringify(head)).toString("base64url");
    headers.set("Seal-Root", `${forged}.${payload}.${signature}`);
  };
  const hostile: Readonly<Record<string, { readonly send: () => void; readonly code: string }>> = {
    "no seal": { send: () => stack.admin.publish("lab.hostile", "x"), code: "seal_missing" },
    "a name in a header of its own": {
      send: () => {
        const headers = natsHeaders();
        headers.append("sender", "demo-bob");
        headers.append("user", "demo-bob");
        stack.admin.publish("lab.hostile", "x", { headers });
      },
      code: "seal_missing",
    },
    "another payload": {
      send: () => stack.admin.publish("lab.sealed", "another", { headers: copy() }),
      code: "payload_changed",
    },
    "another subject": {
      send: () => stack.admin.publish("lab.hostile", "the original", { headers: copy() }),
      code: "subject_wrong",
    },
    "a header more": {
      send: () =>
        stack.admin.publish("lab.sealed", "the original", {
          headers: copy((headers) => headers.append("b", "2")),
        }),
      code: "headers_changed",
    },
    "two seals": {
      send: () =>
        stack.admin.publish("lab.sealed", "the original", {
          headers: copy((headers) => headers.append("Txn-Token", "a.b.c")),
        }),
      code: "seal_ambiguous",
    },
    "a key that nobody published": {
      send: () => stack.admin.publish("lab.sealed", "the original", { headers: copy(kidless) }),
      code: "kid_unknown",
    },
    "claims that are no JSON": {
      send: () =>
        stack.admin.publish("lab.sealed", "the original", {
          headers: copy((headers) => headers.set("Seal-Claims", "e30")),
        }),
      code: "claims_invalid",
    },
  };
  for (const [what, { send, code }] of Object.entries(hostile)) {
    test(`${what}: ${code}`, async () => {
      reader = await openAs("alice", "lab.hostile", "lab.sealed");
      send();
      const [event] = await reader.read(1);
      assert.deepEqual(event?.data.sender, { verified: false, code });
      assert.deepEqual([event?.data.id, event?.data.txn], [undefined, undefined]);
      reader.leave();
    });
  }
});

describe("a stream ends", () => {
  test("with its token: `expired`, and the page reconnects with a new one", async () => {
    const exp = Math.floor(Date.now() / 1000) + 3;
    const reader = await stack.stream(["lab.a"], { token: stack.token("alice", { claims: { exp } }) });
    assert.deepEqual(await reader.ended, { event: "end", data: { code: "expired", reconnect: true } });
    assert(Math.abs(Date.now() / 1000 - exp) < 2);
    const [, completion] = await stack.auditOf(reader.headers["x-request-id"], 2);
    assert.deepEqual([completion?.outcome, completion?.why], ["ended", "expired"]);
  });

  test("when its reader leaves, and its subscription and its place with it", async () => {
    const first = await openAs("carol", "lab.place");
    const second = await stack.call("/v1/subscribe?subject=lab.place", { token: stack.token("carol") });
    assert.equal(second.status, 429);
    first.leave();
    await stack.auditOf(first.headers["x-request-id"], 2);
    await assert.rejects(stack.admin.request("lab.place", ""), /no responders/);
    const third = await openAs("carol", "lab.place");
    third.leave();
  });

  test("when its reader does not read: `slow_reader`, and the memory is bounded", async () => {
    const socket = connect(Number(new URL(stack.gatewayUrl).port), "127.0.0.1");
    const head = [
      "GET /v1/subscribe?subject=lab.flood HTTP/1.1",
      "Host: gateway",
      `Authorization: Bearer ${stack.token("alice")}`,
      "X-Request-Id: slow-reader",
      "Connection: close",
    ];
    socket.write(`${head.join("\r\n")}\r\n\r\n`);
    await once(socket, "data");
    socket.pause();
    // More than the kernel's buffers of both ends take together.
    const chunk = new Uint8Array(512 * 1024).fill(97);
    for (let sent = 0; sent < 64; sent++) {
      stack.admin.publish("lab.flood", chunk);
      await stack.admin.flush();
    }
    const txn = stack.audit().find(({ clientRequestId }) => clientRequestId === "slow-reader")?.txn;
    const [, completion] = await stack.auditOf(txn, 2);
    assert.deepEqual([completion?.outcome, completion?.why], ["ended", "slow_reader"]);
    let received = 0;
    for await (const bytes of socket.resume()) received += (bytes as Buffer).length;
    assert(received < 32 * 1024 * 1024, `${received} bytes`);
  });

  test("when the gateway ends: `shutdown`, soon, and the page finds the next one", async () => {
    const reader = await openAs("alice", "lab.a");
    const before = performance.now();
    await stack.gateway().stop();
    assert.deepEqual(await reader.ended, { event: "end", data: { code: "shutdown", reconnect: true } });
    assert(performance.now() - before < 5_000, "nothing waits for a reader that has been told");
    const [, completion] = await stack.auditOf(reader.headers["x-request-id"], 2);
    assert.equal(completion?.why, "shutdown");
  });
});
