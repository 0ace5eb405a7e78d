/** A message that a stream has to keep: what is waited for, what is demanded of the stream, and what is said when not. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TRUST_DOMAIN } from "@countersign/devstack/stack.ts";
import { createVerifier, remoteKeySet } from "@countersign/seal";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type Answer, type JsonObject, startTestStack, type TestStack } from "./support.ts";
import { storedOrders } from "./support-operations.ts";

// Whoever publishes here may not request: nothing of a reply inbox is in these grants.
const POLICY = `version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ 'publish orders.>', 'publish lab.>', 'publish loose.>' ]
`;

let stack: TestStack;
before(async () => {
  stack = await startTestStack({ policy: POLICY });
  const manager = await jetstreamManager(stack.admin);
  await manager.streams.add({ name: "LAB", subjects: ["lab.>"], max_msgs: 1_000 });
});
after(() => stack?.stop());

type Headers = Readonly<Record<string, string>>;

async function store(subject: string, more = "", headers: Headers = {}, body = "1"): Promise<Answer> {
  return await stack.call(`/v1/publish?subject=${subject}${more}`, {
    ...{ method: "POST", token: stack.token("alice"), headers, body },
  });
}

function problemOf(answer: Answer): readonly unknown[] {
  const { code, detail } = answer.json();
  return [answer.status, code, detail];
}

test("with ?stream= the answer comes once the stream has the message, and says where", async () => {
  const answer = await store("orders.eu.1.create", "&stream=ORDERS", { "msg-a": "1" }, "payload");
  assert.equal(answer.status, 200, answer.text);
  const { txn, id, ...rest } = answer.json();
  assert.deepEqual(rest, { subject: "orders.eu.1.create", stream: "ORDERS", sequence: 1, duplicate: false });
  assert.equal(answer.headers["x-request-id"], txn);

  const stored = await jetstream(stack.admin)
    .consumers.get("ORDERS")
    .then((consumer) => consumer.next());
  assert(stored);
  const keys = remoteKeySet({ url: `${stack.gatewayUrl}/.well-known/jwks.json` });
  const verified = await createVerifier({ issuer: stack.gatewayUrl, audience: TRUST_DOMAIN, keys })(stored);
  assert.deepEqual(
    [verified.id, verified.txn, verified.text(), verified.headers],
    [id, txn, "payload", [["a", "1"]]],
  );
});

test("the record says in which stream, and where in it", async () => {
  const { txn, sequence } = (await store("orders.eu.2.create", "&stream=ORDERS")).json();
  const [decision, completion] = await stack.auditOf(txn, 2);
  assert.equal(decision?.kind, "decision");
  const { at, instance, root, ...rest } = completion ?? {};
  assert.deepEqual(rest, {
    kind: "completion",
    txns: [txn],
    outcome: "stored",
    stream: "ORDERS",
    sequences: [sequence],
  });
  assert.match(String(root), /^[A-Za-z0-9_-]{43}$/);
});

test("messages of many requests at once are completed each with its own place", async () => {
  const answers = await Promise.all(
    Array.from({ length: 32 }, (_, n) => store(`orders.eu.${n}.many`, "&stream=ORDERS")),
  );
  const places = new Map(answers.map((answer) => [answer.json().txn, answer.json().sequence]));
  assert.equal(new Set(places.values()).size, 32);
  for (const [txn, sequence] of places) {
    const [, { txns, sequences } = {}] = await stack.auditOf(txn, 2);
    assert(Array.isArray(txns) && Array.isArray(sequences));
    assert.equal(sequences[txns.indexOf(txn)], sequence);
  }
});

test("another stream than the one that takes the subject is refused, and nothing is stored", async () => {
  const before = (await storedOrders(stack)).length;
  const answer = await store("orders.eu.3.create", "&stream=LAB");
  assert.deepEqual(problemOf(answer), [
    412,
    "precondition_failed",
    "Nothing was stored: the stream LAB does not take orders.eu.3.create, another stream does.",
  ]);
  assert.equal((await storedOrders(stack)).length, before);
});

test("a subject that no stream takes is refused at once by a server that stands alone", async () => {
  const answer = await store("loose.1", "&stream=ORDERS");
  assert.equal(answer.headers["retry-after"], "5");
  assert.deepEqual(problemOf(answer), [
    503,
    "no_responders",
    "Nothing was stored: no stream takes loose.1 now. Either none is there for it, or the stream elects a leader; then send it again.",
  ]);
  const [, completion] = await stack.auditOf(answer.json().requestId, 2);
  assert.deepEqual([completion?.outcome, completion?.why], ["failed", "no_stream"]);
});

test("an answer that is no acknowledgement is none: without one by the deadline, the outcome is not known", async () => {
  const subscription = stack.admin.subscribe("loose.2", {
    callback: (_, message) => {
      message.respond("done");
      message.respond(JSON.stringify({ stream: "ORDERS" }));
    },
  });
  await stack.admin.flush();
  const answer = await store("loose.2", "&stream=ORDERS&timeout=300ms");
  subscription.unsubscribe();
  const [status, code, detail] = problemOf(answer);
  assert.deepEqual([status, code], [504, "outcome_unknown"]);
  assert.match(String(detail), /within 300 ms: the stream may have it or not/);
  const [, completion] = await stack.auditOf(answer.json().requestId, 2);
  assert.deepEqual([completion?.outcome, completion?.why], ["unknown", "outcome_unknown"]);
});

test("an acknowledgement in another stream's name is refused", async () => {
  const subscription = stack.admin.subscribe("loose.3", {
    callback: (_, message) => void message.respond(JSON.stringify({ stream: "OTHER", seq: 1 })),
  });
  await stack.admin.flush();
  const answer = await store("loose.3", "&stream=ORDERS");
  subscription.unsubscribe();
  assert.deepEqual(problemOf(answer).slice(0, 2), [412, "precondition_failed"]);
});

test("preconditions by NATS's own names hold, in whatever case, and a failed one says what stands there", async () => {
  const first = await store("lab.a", "&stream=LAB", { "Nats-Expected-Last-Subject-Sequence": "0" });
  const { sequence, id } = first.json();
  assert.deepEqual([first.status, sequence], [200, 1], first.text);
  for (const headers of [
    { "nats-expected-last-subject-sequence": "0" },
    { "NATS-EXPECTED-LAST-SEQUENCE": "7" },
  ]) {
    const answer = await store("lab.a", "&stream=LAB", headers);
    assert.deepEqual(problemOf(answer), [
      412,
      "precondition_failed",
      "Nothing was stored: the last sequence is 1.",
    ]);
    assert.equal(answer.json().lastSequence, 1);
  }
  const wrongId = await store("lab.a", "&stream=LAB", { "Nats-Expected-Last-Msg-Id": "other" });
  assert.deepEqual(problemOf(wrongId), [
    412,
    "precondition_failed",
    "Nothing was stored: the last message has another id.",
  ]);
  const all: Headers = {
    "Nats-Expected-Last-Subject-Sequence": "1",
    "Nats-Expected-Last-Sequence": "1",
    "Nats-Expected-Last-Msg-Id": String(id),
  };
  assert.equal((await store("lab.a", "&stream=LAB", all)).status, 200);
  const { state } = await (await jetstreamManager(stack.admin)).streams.info("LAB");
  assert.equal(state.messages, 2);
});

/** Each is refused before anything leaves: query, headers, the detail's beginning. */
const REFUSED: readonly (readonly [string, Headers, string])[] = [
  ["", { "Nats-Expected-Last-Sequence": "1" }, "nats-expected-last-sequence: only a stream can keep it"],
  [
    "&stream=LAB",
    { "Nats-Expected-Last-Sequence": "-1" },
    "nats-expected-last-sequence: expected a sequence",
  ],
  ["&stream=LAB", { "Nats-Expected-Stream": "LAB" }, "nats-expected-stream: say it as ?stream=NAME"],
  ["&stream=LAB", { "Nats-Rollup": "all" }, "nats-rollup: the gateway and nats-server set this one"],
  ["&stream=LAB", { "Nats-Msg-Id": "1" }, "nats-msg-id: the gateway and nats-server set this one"],
  [
    "&stream=LAB",
    { "Nats-Expected-Last-Subject-Sequence-Subject": "orders.>" },
    "nats-expected-last-subject-sequence-subject: the gateway",
  ],
  ["&timeout=1s", {}, "query parameter timeout: nothing is waited for without stream=NAME"],
  ["&stream=LAB&timeout=2m", {}, "query parameter timeout: expected a duration from 1ms to 60s"],
  ["&stream=L.B", {}, "query parameter stream: expected the name of a stream"],
  ["&stream=LAB&stream=ORDERS", {}, "query parameter stream: expected once"],
];
for (const [more, headers, detail] of REFUSED) {
  test(`refused in words: ${detail}`, async () => {
    const answer = await store("lab.refused", more, headers);
    assert.equal(answer.status, 400, answer.text);
    assert.equal(String((answer.json() as JsonObject).detail).slice(0, detail.length), detail);
  });
}

test("a request cannot be kept by a stream, and says so", async () => {
  const answer = await stack.call("/v1/request?subject=lab.a", {
    method: "POST",
    token: stack.token("alice"),
    headers: { "Nats-Expected-Last-Sequence": "1" },
  });
  assert.equal(answer.status, 400, answer.text);
});

test("whoever may only publish waits for acknowledgements, and may still not request", async () => {
  const answer = await stack.call("/v1/request?subject=lab.a", {
    method: "POST",
    token: stack.token("alice"),
  });
  assert.equal(answer.status, 403);
});

async function keyed(
  key: string,
  body: string,
  more: Headers = {},
  subject = "orders.eu.9.key",
): Promise<Answer> {
  return await store(subject, "&stream=ORDERS", { "Idempotency-Key": key, ...more }, body);
}

async function storedWith(body: string): Promise<number> {
  return (await storedOrders(stack)).filter(({ payload }) => payload === body).length;
}

test("a retry under an Idempotency-Key is the same message, quoted or bare, also for a gateway that has just started", async () => {
  const first = await keyed("key-1", "once");
  assert.equal(first.status, 200, first.text);
  const again = await keyed('"key-1"', "once");
  await stack.restartGateway();
  const later = await keyed("key-1", "once");
  const { txn, ...same } = first.json();
  for (const answer of [again, later]) {
    const { txn: other, ...rest } = answer.json();
    assert.deepEqual(rest, { ...same, duplicate: true });
    assert.notEqual(other, txn);
    const [{ message } = {}, completion] = await stack.auditOf(other, 2);
    assert.equal((message as JsonObject).id, same.id);
    assert.deepEqual(
      [completion?.outcome, completion?.sequences, completion?.duplicate],
      ["stored", [same.sequence], true],
    );
  }
  assert.equal(await storedWith("once"), 1);
  const keys = remoteKeySet({ url: `${stack.gatewayUrl}/.well-known/jwks.json` });
  const verify = createVerifier({ issuer: stack.gatewayUrl, audience: TRUST_DOMAIN, keys });
  const [message] = (await storedOrders(stack)).filter(({ payload }) => payload === "once");
  assert(message);
  const verified = await verify({
    subject: message.subject,
    payload: Buffer.from("once"),
    headers: message.headers,
  });
  assert.equal(verified.id, same.id);
});

test("another payload, header, precondition or stream under the same key is refused with 422", async () => {
  assert.equal((await keyed("key-2", "one")).status, 200);
  const others = [
    await keyed("key-2", "other"),
    await keyed("key-2", "one", { "msg-a": "1" }),
    await keyed("key-2", "one", { "content-type": "text/plain" }),
    await keyed("key-2", "one", { "nats-expected-last-sequence": "1" }),
    await store("orders.eu.9.key", "&stream=LAB", { "Idempotency-Key": "key-2" }, "one"),
  ];
  for (const answer of others) {
    assert.deepEqual(problemOf(answer), [
      422,
      "key_reused",
      "You sent another message under this Idempotency-Key; a new message needs a new key.",
    ]);
  }
  assert.equal(await storedWith("one"), 1);
});

test("a key is one user's, for one subject: nobody takes anybody's place", async () => {
  const alices = await keyed("key-3", "hers");
  const other = await keyed("key-3", "hers", {}, "orders.eu.9.other");
  const bobs = await stack.call("/v1/publish?subject=orders.eu.9.key&stream=ORDERS", {
    ...{ method: "POST", token: stack.token("bob"), headers: { "Idempotency-Key": "key-3" }, body: "his" },
  });
  assert.deepEqual([bobs.status, bobs.json().duplicate], [200, false], bobs.text);
  assert.equal(new Set([alices, other, bobs].map((answer) => answer.json().id)).size, 3);
});

test("many requests at once under one key store one message: the others are told that it is under way, or had", async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => keyed("key-4", "raced")));
  const found = answers.map(({ status, json }) => (status === 200 ? json().duplicate : status));
  assert.equal(found.filter((each) => each === false).length, 1);
  assert(
    found.every((each) => each === false || each === true || each === 409),
    found.join(),
  );
  assert.equal(await storedWith("raced"), 1);
});

test("a key whose message was refused is free again", async () => {
  const wrong = await keyed("key-5", "5", { "nats-expected-last-sequence": "1" });
  assert.equal(wrong.status, 412);
  const right = await keyed("key-5", "5");
  assert.deepEqual([right.status, right.json().duplicate], [200, false]);
});

for (const [key, more] of [
  ["a b", "&stream=ORDERS"],
  ["k".repeat(257), "&stream=ORDERS"],
  ["key-6", ""],
] as const) {
  test(`refused in words: the key ${key.slice(0, 10)}… ${more}`, async () => {
    const answer = await store("orders.eu.9.key", more, { "Idempotency-Key": key });
    assert.deepEqual([answer.status, answer.json().code], [400, "invalid_header"]);
    assert.match(String(answer.json().detail), /^idempotency-key: (expected 1 to 256|only a stream)/);
  });
}
