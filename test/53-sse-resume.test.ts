/**
 * Going on where one was: whatever ends a stream or takes its consumer away, nothing is left out and nothing comes twice;
 * and where something is missing all the same, its reader is told.
 */
import assert from "node:assert/strict";
import { rename, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { startGateway } from "@countersign/devstack/gateway-process.ts";
import { type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type EventReader, openStream, queryOf, startTestStack, type TestStack } from "./support.ts";
import { configureInstance, endOf, eventually, restartNats } from "./support-operations.ts";

const policyWith = (more: string): string => `
version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ publish orders.>, 'read-stream ORDERS orders.{region}.>', read-stream GONE gone.>${more} ]
    limits: { connections: 4 }
`;

let stack: TestStack;
let manager: JetStreamManager;
/** Of the server that was started in place of the stack's own. */
let stopNats: (() => Promise<void>) | undefined;

before(async () => {
  stack = await startTestStack({ policy: policyWith("") });
  manager = await jetstreamManager(stack.admin);
});
after(async () => {
  await stack?.stop();
  await stopNats?.();
});

interface Reading {
  readonly stream?: string;
  readonly from?: string;
  readonly lastEventId?: string;
  readonly url?: string;
}

function read(
  subjects: readonly string[],
  { stream = "ORDERS", from, lastEventId, url = stack.gatewayUrl }: Reading = {},
): Promise<EventReader> {
  const query = new URLSearchParams({ stream, ...(from !== undefined && { from }) });
  return openStream(`${url}/v1/subscribe?${queryOf(subjects)}&${query}`, {
    token: stack.token("alice"),
    ...(lastEventId !== undefined && { headers: { "last-event-id": lastEventId } }),
  });
}

function bodiesOf({ events }: Pick<EventReader, "events">): readonly unknown[] {
  return events.filter(({ event }) => event === "message").map(({ data }) => data.data);
}

/** Into the stream, past the gateway. */
async function store(subject: string, ...bodies: readonly string[]): Promise<void> {
  for (const body of bodies) await jetstream(stack.admin).publish(subject, body);
}

function numbered(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, n) => String(from + n));
}

test("cut off at any byte, a reader goes on with the next event: none is lost, none comes twice", async () => {
  const subjects = ["orders.eu.cut", "orders.eu.cut.more"];
  for (const n of numbered(0, 12))
    await store(Number(n) % 3 === 0 ? "orders.eu.cut.more" : "orders.eu.cut", n);
  const bytes = await bytesOf(subjects, 12);
  const resumed = new Map<string | undefined, readonly unknown[]>();
  for (let to = 0; to <= bytes.length; to += 1) {
    const { bodies, lastId } = asBrowsersRead(bytes.slice(0, to));
    if (!resumed.has(lastId)) resumed.set(lastId, await restAfter(subjects, lastId, 12 - bodies.length));
    assert.deepEqual([...bodies, ...(resumed.get(lastId) ?? [])], numbered(0, 12), `cut at byte ${to}`);
  }
  assert.equal(resumed.size, 14, "before the first id, at the beginning, and after each event");
});

/** Everything a reader of all is sent, up to its last event. */
async function bytesOf(subjects: readonly string[], count: number): Promise<string> {
  const socket = connect(Number(new URL(stack.gatewayUrl).port), "127.0.0.1").setEncoding("utf8");
  const query = `${queryOf(subjects)}&stream=ORDERS&from=all`;
  const head = `GET /v1/subscribe?${query} HTTP/1.0\r\nHost: a\r\nAuthorization: Bearer ${stack.token("alice")}\r\n\r\n`;
  socket.write(head);
  let text = "";
  for await (const chunk of socket as AsyncIterable<string>) {
    text += chunk;
    if (text.split('"data":"').length > count && text.endsWith("\n\n")) break;
  }
  return text.slice(text.indexOf("\r\n\r\n") + 4);
}

/** @source HTML, §9.2.6: an event counts with the empty line behind it, and so does its id */
function asBrowsersRead(text: string): {
  readonly bodies: readonly unknown[];
  readonly lastId: string | undefined;
} {
  const blocks = text.split("\n\n").slice(0, -1);
  const bodies = blocks.flatMap((block) => /^data: (.*"data".*)$/m.exec(block)?.slice(1) ?? []);
  const ids = blocks.flatMap((block) => /^id: (.*)$/m.exec(block)?.slice(1) ?? []);
  return { bodies: bodies.map((body) => JSON.parse(body).data), lastId: ids.at(-1) };
}

async function restAfter(
  subjects: readonly string[],
  lastId: string | undefined,
  count: number,
): Promise<readonly unknown[]> {
  const reader = await read(
    subjects,
    lastId === undefined ? { from: "all" } : { from: "all", lastEventId: lastId },
  );
  await reader.read(1 + count);
  // Whatever came twice would have come before this.
  reader.leave();
  return bodiesOf(reader);
}

test("a gateway that is restarted: what is stored meanwhile comes, also when nothing had come before", async () => {
  const idle = await read(["orders.eu.idle"]);
  const reader = await read(["orders.eu.restart"]);
  await Promise.all([idle.read(1), reader.read(1)]);
  await store("orders.eu.restart", "0", "1");
  await reader.read(3);
  const restarted = stack.restartGateway();
  const ends = await Promise.all([endOf(idle), endOf(reader)]);
  for (const end of ends) assert.deepEqual(end?.data, { code: "shutdown", reconnect: true });
  await store("orders.eu.restart", "2", "3");
  await store("orders.eu.idle", "0");
  await restarted;
  // A page has the id of the last event, whichever that was.
  const [idleAgain, again] = await Promise.all(
    [["orders.eu.idle"], ["orders.eu.restart"]].map((subjects, n) =>
      read(subjects, { lastEventId: String(ends[n]?.id) }),
    ),
  );
  assert(idleAgain && again);
  await Promise.all([idleAgain.read(2), again.read(3)]);
  assert.deepEqual([bodiesOf(idleAgain), bodiesOf(again)], [["0"], ["2", "3"]]);
  idleAgain.leave();
  again.leave();
});

test("an instance that is killed: another one goes on, although the number of the dead one's consumer is still taken", async (t) => {
  const { configFile, url } = await configureInstance(stack, "second");
  const second = await startGateway({ configFile, publicUrl: url });
  t.after(second.stop);
  const subjects = ["orders.eu.killed", "orders.eu.killed.a", "orders.eu.killed.b", "orders.eu.killed.c"];
  // All four of the user's numbers.
  const reader = await read(subjects, { url });
  await reader.read(1);
  for (const subject of subjects) await store(subject, subject);
  await reader.read(5);
  process.kill(second.pid, "SIGKILL");
  await reader.ended;
  await store("orders.eu.killed", "after");
  const again = await read(subjects, { lastEventId: String(reader.lastId()) });
  await again.read(2);
  assert.deepEqual(bodiesOf(again), ["after"]);
  again.leave();
});

test("consumers that are deleted, and a nats-server that is restarted, are not noticed", {
  timeout: 60_000,
}, async () => {
  const reader = await read(["orders.eu.on"]);
  await reader.read(1);
  await store("orders.eu.on", ...numbered(0, 10));
  for (let round = 1; round <= 3; round += 1) {
    await reader.read(1 + 10 * round);
    for await (const { name } of manager.consumers.list("ORDERS"))
      await manager.consumers.delete("ORDERS", name);
    await store("orders.eu.on", ...numbered(10 * round, 10 * round + 10));
  }
  await reader.read(41);
  await stack.nats.stop();
  const nats = await restartNats(stack);
  await eventually("the stream to be back", () =>
    store("orders.eu.on", "40").then(
      () => true,
      () => undefined,
    ),
  );
  await eventually("the event", () => (reader.events.length >= 42 ? true : undefined));
  assert.deepEqual(bodiesOf(reader), numbered(0, 41));
  reader.leave();
  stopNats = nats.stop;
});

test("a policy that gives more is not noticed, and one that gives less ends the stream", async () => {
  const reader = await read(["orders.eu.policy"]);
  await reader.read(1);
  await store("orders.eu.policy", "0");
  await reader.read(2);
  await replacePolicy(policyWith(", publish notices.>"));
  await store("orders.eu.policy", "1");
  await reader.read(3);
  assert.deepEqual(bodiesOf(reader), ["0", "1"]);
  await replacePolicy(policyWith("").replace("read-stream ORDERS", "read-stream OTHER"));
  assert.deepEqual((await endOf(reader))?.data, { code: "policy", reconnect: true });
  await replacePolicy(policyWith(""));
});

/** In force once the gateway says so. */
async function replacePolicy(policy: string): Promise<void> {
  const version = async (): Promise<unknown> =>
    (await stack.call("/v1/whoami", { token: stack.token("alice") })).json().policy;
  const before = await version();
  await writeFile(`${stack.policyFile}.new`, policy);
  await rename(`${stack.policyFile}.new`, stack.policyFile);
  await eventually("the policy", async () => ((await version()) === before ? undefined : true));
}

describe("what is missing is said", () => {
  test("messages that were purged before they were read; what was read may be purged", async () => {
    await store("orders.eu.purged", ...numbered(0, 6));
    const reader = await read(["orders.eu.purged"], { from: "all" });
    const events = await reader.read(7);
    reader.leave();
    const [second, fourth] = [events[2], events[4]].map((event) => String(event?.id));
    await manager.streams.purge("ORDERS", { seq: Number(fourth?.split(":")[1]) + 1 });
    const lost = await read(["orders.eu.purged"], { lastEventId: String(second) });
    assert.deepEqual((await endOf(lost))?.data, { code: "messages_gone", reconnect: false });
    assert.equal(lost.events.length, 1);
    const whole = await read(["orders.eu.purged"], { lastEventId: String(fourth) });
    await whole.read(3);
    assert.deepEqual(bodiesOf(whole), ["4", "5"]);
    whole.leave();
    const all = await read(["orders.eu.purged"], { from: "all" });
    await all.read(3);
    all.leave();
  });

  test("a stream that was made anew, and counts from 1 again", async () => {
    const config = { name: "GONE", subjects: ["gone.>"] };
    await manager.streams.add(config);
    await store("gone.a", ...numbered(0, 5));
    const reader = await read(["gone.a"], { stream: "GONE", from: "all" });
    await reader.read(6);
    const id = String(reader.lastId());
    await manager.streams.delete("GONE");
    await manager.streams.add(config);
    await store("gone.a", "new");
    const lost = await read(["gone.a"], { stream: "GONE", lastEventId: id });
    assert.deepEqual((await endOf(lost))?.data, { code: "stream_reset", reconnect: false });
    // The one that was reading has seen it too.
    assert.deepEqual((await endOf(reader))?.data, { code: "stream_reset", reconnect: false });
    await manager.streams.delete("GONE");
  });

  test("but not where nothing is: a reader of a quiet subject is as far as the stream", async () => {
    const reader = await read(["orders.eu.quiet"]);
    const [begin] = await reader.read(1);
    await store("orders.eu.busy", ...numbered(0, 5));
    const id = await eventually("another id", () =>
      reader.lastId() === begin?.id ? undefined : reader.lastId(),
    );
    reader.leave();
    await manager.streams.purge("ORDERS", { seq: Number(id.split(":")[1]) });
    const again = await read(["orders.eu.quiet"], { lastEventId: id });
    await store("orders.eu.quiet", "0");
    await again.read(2);
    assert.deepEqual(bodiesOf(again), ["0"]);
    again.leave();
  });
});

test("a reader that takes nothing is waited for in the stream, not in memory, and misses nothing", {
  timeout: 120_000,
}, async () => {
  const count = 64;
  const megabyte = "a".repeat(900_000);
  const slow = connect(Number(new URL(stack.gatewayUrl).port), "127.0.0.1");
  const query = `${queryOf(["orders.eu.slow"])}&stream=ORDERS`;
  slow.write(
    `GET /v1/subscribe?${query} HTTP/1.0\r\nHost: a\r\nAuthorization: Bearer ${stack.token("alice")}\r\n\r\n`,
  );
  await new Promise((resolve) => slow.once("data", resolve));
  slow.pause();
  for (let n = 0; n < count; n += 1) await store("orders.eu.slow", `${n} ${megabyte}`);
  // Its consumer has been forgotten by then: it goes on with another one.
  await eventually("the consumer to be gone", async () => {
    for await (const { config } of manager.consumers.list("ORDERS"))
      if (config.filter_subject === "orders.eu.slow") return undefined;
    return true;
  });
  const numbers = await numbersOf(slow, count);
  assert.deepEqual(numbers, numbered(0, count));
});

async function numbersOf(socket: Socket, count: number): Promise<readonly string[]> {
  const found: string[] = [];
  let rest = "";
  for await (const chunk of socket.setEncoding("latin1").resume() as AsyncIterable<string>) {
    rest += chunk;
    for (let at = /"data":"(\d+) /.exec(rest); at; at = /"data":"(\d+) /.exec(rest)) {
      found.push(at[1] ?? "");
      rest = rest.slice(at.index + at[0].length);
    }
    rest = rest.slice(-100);
    if (found.length >= count) break;
  }
  return found;
}
