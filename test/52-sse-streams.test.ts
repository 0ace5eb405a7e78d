/** What a stream keeps, as Server-Sent Events: from wherever one likes, each with an id to go on after. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers as natsHeaders } from "@nats-io/transport-node";
import { connectNative } from "./native-client.ts";
import { type Answer, type Call, type EventReader, startTestStack, type TestStack } from "./support.ts";

const POLICY = `
version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may:
      - connect native
      - publish orders.>
      - read-stream ORDERS orders.{region}.>
      - read-stream ORDERS orders.shared.>
      - read-stream EMPTY empty.>
      - read-stream WORK work.>
      - read-stream NONE none.>
    limits: { connections: 4 }
  auditor:
    given-to: [ { issuer: demo, groups: Audit } ]
    may: [ read-stream ORDERS orders.> ]
    limits: { connections: 1 }
`;

let stack: TestStack;

before(async () => {
  stack = await startTestStack({ policy: POLICY });
  const manager = await jetstreamManager(stack.admin);
  await manager.streams.add({ name: "EMPTY", subjects: ["empty.>"] });
  await manager.streams.add({ name: "WORK", subjects: ["work.>"], retention: "workqueue" });
});
after(() => stack?.stop());

async function publish(subject: string, body: string | Uint8Array, headers = {}): Promise<Answer> {
  const token = stack.token("alice");
  const answer = await stack.call(`/v1/publish?subject=${subject}`, { method: "POST", token, headers, body });
  assert.equal(answer.status, 202, answer.text);
  return answer;
}

/** Reads ORDERS as alice, whose region is eu. */
function read(subjects: readonly string[], query: Readonly<Record<string, string>> = {}, how: Call = {}) {
  return stack.stream(subjects, { token: stack.token("alice"), ...how }, { stream: "ORDERS", ...query });
}

function bodiesOf(reader: EventReader): readonly unknown[] {
  return reader.events.filter(({ event }) => event === "message").map(({ data }) => data.data);
}

test("from=new begins with what is published from now on, and says at once where that is", async () => {
  await publish("orders.eu.1", "before");
  await stack.admin.flush();
  const reader = await read(["orders.eu.>"]);
  const [begin] = await reader.read(1);
  assert.equal(begin?.event, "begin");
  assert.match(String(begin?.id), /^ORDERS:\d+$/);
  const { id, txn } = (
    await publish("orders.eu.2", '{"n":1}', { "content-type": "application/json", "msg-a": "1" })
  ).json();
  const [, event] = await reader.read(2);
  const { time, ...data } = event?.data ?? {};
  assert.deepEqual(data, {
    subject: "orders.eu.2",
    data: '{"n":1}',
    contentType: "application/json",
    headers: { a: "1" },
    sender: { verified: true, user: "demo-alice", issuer: "demo" },
    id,
    txn,
  });
  assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.equal(event?.id, `ORDERS:${Number(begin?.id?.split(":")[1]) + 1}`);
  reader.leave();
});

test("from= all, last, sequence and time begin where they say", async () => {
  const before = Date.now();
  const subject = "orders.eu.from";
  for (const body of ["a", "b", "c"]) await publish(subject, body);
  await stack.admin.flush();
  const all = await read([subject], { from: "all" });
  const [, a, b] = await all.read(4);
  const readBodies = async (from: string, count: number): Promise<readonly unknown[]> => {
    const reader = await read([subject], { from });
    await reader.read(count + 1);
    reader.leave();
    return bodiesOf(reader);
  };
  assert.deepEqual(bodiesOf(all), ["a", "b", "c"]);
  all.leave();
  assert.deepEqual(await readBodies("last", 1), ["c"]);
  assert.deepEqual(await readBodies(`sequence:${b?.id?.split(":")[1]}`, 2), ["b", "c"]);
  assert.deepEqual(await readBodies(`time:${new Date(before).toISOString()}`, 3), ["a", "b", "c"]);
  // A sequence whose message is another subject's is where to begin all the same.
  assert.deepEqual(await readBodies(`sequence:${Number(a?.id?.split(":")[1]) - 1}`, 3), ["a", "b", "c"]);
});

test("a stream begins where another one's id says, by header or by query, and the header counts", async () => {
  const subject = "orders.eu.resume";
  for (const body of ["a", "b", "c"]) await publish(subject, body);
  const first = await read([subject], { from: "all" });
  const [begin, a, b] = await first.read(4);
  first.leave();
  const from = async (query: Record<string, string>, headers: Record<string, string> = {}) => {
    const reader = await read([subject], query, { headers });
    const [opened] = await reader.read(1);
    const expected = opened?.id === begin?.id ? 4 : opened?.id === a?.id ? 3 : 2;
    await reader.read(expected);
    reader.leave();
    return bodiesOf(reader);
  };
  assert.deepEqual(await from({ "last-event-id": String(a?.id) }), ["b", "c"]);
  assert.deepEqual(await from({}, { "last-event-id": String(b?.id) }), ["c"]);
  assert.deepEqual(await from({ "last-event-id": String(begin?.id) }, { "last-event-id": "" }), [
    "a",
    "b",
    "c",
  ]);
  // As when a browser opens the address of a page's own loop again.
  const query = { from: "all", "last-event-id": String(a?.id) };
  assert.deepEqual(await from(query, { "last-event-id": String(b?.id) }), ["c"]);
});

test("several subjects come in the stream's order, and one id is enough to go on after", async () => {
  const bodies = Array.from({ length: 40 }, (_, n) => `${n}`);
  const subjects = ["orders.shared.several", "orders.eu.several"];
  for (const [n, body] of bodies.entries()) await publish(subjects[n % 3 === 0 ? 0 : 1] ?? "", body);
  const reader = await read(subjects, { from: "all" });
  const events = await reader.read(41);
  assert.deepEqual(bodiesOf(reader), bodies);
  reader.leave();
  // In the other order, as nothing says that a client keeps it.
  const id = String(events[20]?.id);
  assert.match(id, /^ORDERS:\d+(,\d+~[\w-]{8})?$/);
  const rest = await read(subjects.toReversed(), { "last-event-id": id });
  await rest.read(21);
  assert.deepEqual(bodiesOf(rest), bodies.slice(20));
  rest.leave();
});

test("bytes come as base64; who sent what nobody sealed is not known; a status that somebody wrote is no status", async () => {
  const reader = await read(["orders.eu.bytes"]);
  await reader.read(1);
  await publish("orders.eu.bytes", Uint8Array.of(0, 255), { "content-type": "application/octet-stream" });
  const hostile = natsHeaders(503, "No Responders");
  hostile.set("Nats-Pending-Messages", "9");
  stack.admin.publish("orders.eu.bytes", "forged", { headers: hostile });
  stack.admin.publish("orders.eu.bytes", "plain");
  const [, bytes, forged, plain] = await reader.read(4);
  assert.equal(bytes?.data.dataBase64, "AP8=");
  assert.equal(forged?.data.data, "forged");
  assert.deepEqual(plain?.data.sender, { verified: false, code: "seal_missing" });
  reader.leave();
});

describe("what is refused", () => {
  async function refusal(query: string, headers: Record<string, string> = {}): Promise<string> {
    const token = stack.token("alice");
    const answer = await stack.call(`/v1/subscribe?${query}`, { token, headers });
    const { code, detail = "" } = answer.json();
    return `${answer.status} ${code}: ${detail}`;
  }

  test("a stream, or subjects of it, that the policy does not give to read, or that one may only subscribe to", async () => {
    const notAllowed = /^403 not_allowed/;
    assert.match(await refusal("subject=orders.us.1&stream=ORDERS"), notAllowed);
    assert.match(await refusal("subject=orders.>&stream=ORDERS"), notAllowed);
    assert.match(await refusal("subject=orders.eu.>&stream=OTHER"), notAllowed);
    const about = stack.audit().findLast(({ action }) => action === "read-stream OTHER orders.eu.>");
    assert.equal(about?.outcome, "refused");
  });

  test("ids and beginnings that are none, or fit nothing that was asked", async () => {
    const subject = "subject=orders.eu.>&stream=ORDERS";
    for (const id of [
      "4711",
      "ORDERS:",
      "ORDERS:-1",
      "ORDERS:01",
      "ORDERS:1,2",
      "ORDERS:9999999999999999",
      "ORDERS:1 ",
    ]) {
      assert.match(
        await refusal(`${subject}&last-event-id=${encodeURIComponent(id)}`),
        /^400 invalid_request: query parameter last-event-id/,
      );
    }
    assert.match(
      await refusal(subject, { "last-event-id": "ORDERS:x" }),
      /^400 invalid_request: header Last-Event-ID/,
    );
    assert.match(
      await refusal(`${subject}&last-event-id=OTHER:1`),
      /is of the stream OTHER, and ORDERS is asked for$/,
    );
    assert.match(
      await refusal("subject=orders.eu.>&from=all"),
      /^400 invalid_request: query parameter from: only what a stream keeps/,
    );
    assert.match(await refusal("subject=orders.eu.>&last-event-id=ORDERS:1"), /name it with stream=$/);
    for (const from of [
      "",
      "first",
      "sequence:0",
      "sequence:x",
      "time:yesterday",
      "time:2026-13-01T00:00:00Z",
    ]) {
      assert.match(
        await refusal(`${subject}&from=${from}`),
        /^400 invalid_request: query parameter from: expected new, all/,
      );
    }
    // The place in two subjects is not the place in two others.
    const two = await read(["orders.eu.several", "orders.shared.several"], { from: "all" });
    const id = String((await two.read(5))[4]?.id);
    two.leave();
    const others = "subject=orders.eu.a&subject=orders.eu.b&stream=ORDERS";
    assert.match(
      await refusal(`${others}&last-event-id=${encodeURIComponent(id)}`),
      /of a stream of these subjects$/,
    );
  });

  test("a stream that is not there, and one whose messages go to one reader each", async () => {
    assert.equal(await refusal("subject=none.a&stream=NONE"), "404 not_found: There is no stream NONE.");
    const { txn } = stack.audit().findLast(({ action }) => action === "read-stream NONE none.a") ?? {};
    const [, completion] = await stack.auditOf(txn, 2);
    assert.deepEqual([completion?.outcome, completion?.why], ["failed", "stream_unknown"]);
    assert.match(await refusal("subject=work.a&stream=WORK"), /^400 invalid_request: stream WORK: /);
  });
});

test("as many streams are open as the policy says, and a number is free again as soon as its reader has left", async () => {
  const token = stack.token("carol");
  const opened = await stack.stream(["orders.>"], { token }, { stream: "ORDERS" });
  const more = await stack.call("/v1/subscribe?subject=orders.>&stream=ORDERS", { token });
  assert.equal(more.json().code, "connections_exceeded");
  opened.leave();
  for (let n = 0; n < 3; n++) {
    const next = await stack.stream(["orders.>"], { token }, { stream: "ORDERS", from: "last" });
    await next.read(2);
    next.leave();
    await next.ended;
  }
});

test("streams and a native client share the user's numbers, and take nothing from each other", async () => {
  const native = await connectNative(stack, "alice");
  const ordered = () =>
    jetstream(native).consumers.get("ORDERS", {
      filter_subjects: "orders.eu.side",
      deliver_policy: DeliverPolicy.New,
    });
  const consumers = [await ordered(), await ordered()];
  const lists = consumers.map((): string[] => []);
  const iterators = await Promise.all(consumers.map((consumer) => consumer.consume()));
  const reading = iterators.map(async (messages, n) => {
    for await (const message of messages) {
      lists[n]?.push(message.string());
      if (lists[n]?.length === 40) return;
    }
  });
  const readers = [await read(["orders.eu.side"]), await read(["orders.eu.side"])];
  await Promise.all(readers.map((reader) => reader.read(1)));
  const bodies = Array.from({ length: 40 }, (_, n) => String(n));
  for (const body of bodies.slice(0, 20)) await publish("orders.eu.side", body);
  // All four numbers are taken: one more waits, and gets the first that comes free.
  const waiting = read(["orders.eu.side"], { from: "last" });
  readers.shift()?.leave();
  readers.push(await waiting);
  for (const body of bodies.slice(20)) await publish("orders.eu.side", body);
  await Promise.all(reading);
  const [first, second] = readers;
  await Promise.all([first?.read(41), second?.read(22)]);
  assert.deepEqual(lists, [bodies, bodies]);
  assert.deepEqual(readers.map(bodiesOf), [bodies, bodies.slice(19)]);
  for (const reader of readers) reader.leave();
  await native.close();
});
