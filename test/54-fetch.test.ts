/** Messages of a stream, fetched and acknowledged over HTTP: by whom the policy declares the consumer for, and nobody else. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { type Answer, type JsonObject, startTestStack, type TestStack } from "./support.ts";

let stack: TestStack;

before(async () => {
  const policy = `
version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may:
      - 'publish orders.{region}.>'
      - 'read-stream ORDERS orders.{region}.> consumers [desk, back]'
      - 'read-stream NONE none.> consumers [desk]'
  twice:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may:
      - 'read-stream ORDERS orders.{region}.a.> consumers [both]'
      - 'read-stream ORDERS orders.{region}.b.> consumers [both]'
`;
  stack = await startTestStack({ policy });
});
after(() => stack?.stop());

type Who = "alice" | "bob";

async function publish(subject: string, body: string, who: Who = "alice"): Promise<void> {
  const path = `/v1/publish?subject=${subject}&stream=ORDERS`;
  const answer = await stack.call(path, { method: "POST", token: stack.token(who), body });
  assert.equal(answer.status, 200, answer.text);
}

function fetch(query: string, who: Who = "alice"): Promise<Answer> {
  return stack.call(`/v1/fetch?stream=ORDERS&${query}`, { method: "POST", token: stack.token(who) });
}

async function take(query: string, who?: Who): Promise<readonly JsonObject[]> {
  const answer = await fetch(query, who);
  assert.equal(answer.status, 200, answer.text);
  return answer.json().messages as readonly JsonObject[];
}

function acknowledge(body: object | string, who: Who = "alice"): Promise<Answer> {
  return stack.call("/v1/ack", {
    method: "POST",
    token: stack.token(who),
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

async function acknowledged(ack: unknown, as = "ack", more = {}): Promise<void> {
  const answer = await acknowledge({ ack, as, ...more });
  assert.deepEqual([answer.status, answer.text], [204, ""]);
}

test("what is acknowledged does not come again, what is not does, and each says who sent it", async () => {
  for (const n of [1, 2, 3]) await publish(`orders.eu.desk.${n}`, JSON.stringify({ n }));
  const first = await take("consumer=desk&batch=2");
  assert.deepEqual(
    first.map(({ subject, data, sender }) => [subject, data, (sender as JsonObject).user]),
    [
      ["orders.eu.desk.1", '{"n":1}', "demo-alice"],
      ["orders.eu.desk.2", '{"n":2}', "demo-alice"],
    ],
  );
  await acknowledged(first[0]?.ack);
  await acknowledged(first[1]?.ack, "nak");
  const second = await take("consumer=desk&batch=10&timeout=2s");
  assert.deepEqual(second.map(({ subject }) => subject).sort(), ["orders.eu.desk.2", "orders.eu.desk.3"]);
  const [again] = second.filter(({ subject }) => subject === "orders.eu.desk.2");
  assert.equal(again?.sequence, first[1]?.sequence);
  for (const { ack } of second) await acknowledged(ack, "in-progress");
  for (const { ack } of second) await acknowledged(ack, "term");
  assert.deepEqual(await take("consumer=desk&timeout=100ms"), []);
});

test("a delayed message comes when its time has come, and not before", async () => {
  await take("consumer=back&batch=256&timeout=100ms").then((all) =>
    Promise.all(all.map(({ ack }) => acknowledged(ack))),
  );
  await publish("orders.eu.back.1", "later");
  const [message] = await take("consumer=back");
  await acknowledged(message?.ack, "nak", { delay: "1s" });
  assert.deepEqual(await take("consumer=back&timeout=100ms"), []);
  const [later] = await take("consumer=back&timeout=10s");
  assert.deepEqual([later?.data, later?.sequence], ["later", message?.sequence]);
  await acknowledged(later?.ack);
});

test("a fetch that waits is answered by what comes", async () => {
  // Whatever the tests before have left.
  for (const { ack } of await take("consumer=desk&batch=256&timeout=100ms")) await acknowledged(ack);
  const waiting = take("consumer=desk&timeout=20s");
  await publish("orders.eu.desk.4", "now");
  const [message] = await waiting;
  assert.equal(message?.data, "now");
  await acknowledged(message?.ack);
});

test("each user has a consumer of one's own, filtered as the own line says", async () => {
  await publish("orders.us.desk.1", "bob's", "bob");
  const mine = await take("consumer=desk&timeout=1s", "bob");
  assert.deepEqual(
    mine.map(({ data }) => data),
    ["bob's"],
  );
  const manager = await jetstreamManager(stack.admin);
  const names: string[] = [];
  for await (const { name, config } of manager.consumers.list("ORDERS"))
    names.push(`${name} ${config.filter_subject}`);
  assert(
    names.includes("demo-alice-desk orders.eu.>") && names.includes("demo-bob-desk orders.us.>"),
    String(names),
  );
});

test("a handle is good in the hands of whom it was given to, and only unchanged", async () => {
  await publish("orders.eu.desk.5", "mine");
  const [message] = await take("consumer=desk");
  const ack = String(message?.ack);
  const changed = `${ack.slice(0, 40)}${ack[40] === "A" ? "B" : "A"}${ack.slice(41)}`;
  for (const [handle, who] of [
    [ack, "bob"],
    [changed, "alice"],
    ["AAAA", "alice"],
  ] as const) {
    const answer = await acknowledge({ ack: handle, as: "ack" }, who);
    assert.deepEqual([answer.status, answer.json().code], [400, "invalid_request"]);
    assert.match(String(answer.json().detail), /expected a handle that a fetch of yours gave/);
  }
  await acknowledged(ack);
  assert.doesNotMatch(ack, /ORDERS|desk/);
  assert.doesNotMatch(Buffer.from(ack, "base64url").toString("latin1"), /ORDERS|desk/);
});

test("a consumer that was deleted is made once more", async () => {
  const manager = await jetstreamManager(stack.admin);
  await manager.consumers.delete("ORDERS", "demo-alice-desk");
  assert((await take("consumer=desk&batch=1")).length === 1);
});

test("what the policy does not declare is refused, and what cannot be is said", async () => {
  const cases: readonly [string, number, string, RegExp?][] = [
    ["consumer=other", 403, "not_allowed"],
    ["consumer=both", 400, "invalid_request", /declared for 2 filters of ORDERS/],
    ["consumer=desk&batch=0", 400, "invalid_request", /from 1 to 256/],
    ["consumer=desk&batch=257", 400, "invalid_request"],
    ["consumer=desk&timeout=61s", 400, "invalid_request"],
    ["consumer=a.b", 400, "invalid_request"],
  ];
  for (const [query, status, code, detail] of cases) {
    const answer = await fetch(query);
    assert.deepEqual([query, answer.status, answer.json().code], [query, status, code], answer.text);
    if (detail) assert.match(String(answer.json().detail), detail);
  }
  const none = await stack.call("/v1/fetch?stream=NONE&consumer=desk", {
    method: "POST",
    token: stack.token("alice"),
  });
  assert.deepEqual([none.status, none.json().code], [404, "not_found"]);
  for (const body of [
    "",
    "{",
    "[]",
    '{"ack":"x"}',
    '{"ack":"x","as":"done"}',
    '{"ack":"x","as":"ack","more":1}',
  ]) {
    assert.equal((await acknowledge(body)).status, 400, body);
  }
  const delayed = await acknowledge({ ack: "x", as: "ack", delay: "2s" });
  assert.match(String(delayed.json().detail), /only with nak/);
});

test("both are recorded with what came of them", async () => {
  await publish("orders.eu.desk.6", "recorded");
  const answer = await fetch("consumer=desk&batch=1");
  const [decision = {}, done] = await stack.auditOf(answer.headers["x-request-id"], 2);
  assert.deepEqual(
    [decision.action, decision.outcome, done?.outcome, done?.messages],
    ["read-stream ORDERS orders.eu.> consumers [desk]", "allowed", "replied", 1],
  );
  const [message = {}] = answer.json().messages as readonly JsonObject[];
  const acked = await acknowledge({ ack: message.ack, as: "ack" });
  const [how = {}] = await stack.auditOf(acked.headers["x-request-id"], 2);
  assert.equal(how.action, `read-stream ORDERS ${message.subject} consumers [desk]`);
});
