import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { allowed, refused } from "../../refusal.ts";
import type { Connection, HeaderList, InboundMessage } from "../connection.ts";
import { PullSession, type StoredMessage } from "./pull-session.ts";

const HEARTBEAT_MS = 2_000;

function bench(t: TestContext, { connected = true } = {}) {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const asked: { readonly batch: number; readonly max_bytes: number }[] = [];
  const events: unknown[] = [];
  const unread = { messages: 0, bytes: 0 };
  const connection = {
    payloadBytesMax: 1_048_576,
    publish({ subject, payload }: { readonly subject: string; readonly payload: Uint8Array }, reply: string) {
      assert.deepEqual([subject, reply], ["$JS.API.CONSUMER.MSG.NEXT.S.test-ada-0", "_INBOX.a.b"]);
      if (!connected) return refused({ reason: "nats_unavailable", why: "not connected" });
      asked.push(JSON.parse(Buffer.from(payload).toString()));
      return allowed(undefined);
    },
  } as unknown as Connection;
  const session = new PullSession(
    { connection, stream: "S", filter: "lab.>", user: "test-ada", numbers: () => 1 },
    {
      consumer: { name: "test-ada-0", position: 10, pending: 0 },
      position: 10,
      inbox: "_INBOX.a.b",
      batch: 4,
      unread,
    },
    {
      onMessage(message: StoredMessage) {
        unread.messages += 1;
        unread.bytes += message.payload.length;
        events.push(message.sequence);
      },
      onIdle: (position) => events.push({ idle: position }),
      onBroken: (isOurs) => events.push({ broken: isOurs }),
    },
  );
  session.refill();
  t.after(() => session.end());
  return { session, asked, events, unread, tick: () => t.mock.timers.tick(HEARTBEAT_MS) };
}

function delivered(
  consumerSequence: number,
  sequence: number,
  { subject = "lab.a", bytes = 1, consumer = "test-ada-0" } = {},
): InboundMessage {
  const reply = `$JS.ACK.S.${consumer}.1.${sequence}.${consumerSequence}.1795733248000000000.0`;
  return { subject, reply, payload: new Uint8Array(bytes), headers: [] };
}

function status(code: number, headers: HeaderList = []): InboundMessage {
  return { subject: "_INBOX.a.b", payload: new Uint8Array(), headers, status: code };
}

function heartbeat(consumer: number, stream: number): InboundMessage {
  return status(100, [
    ["Nats-Last-Consumer", String(consumer)],
    ["Nats-Last-Stream", String(stream)],
  ]);
}

test("PullSession asks for more as its reader takes, and never for more than that", (t) => {
  const { session, asked, events, unread } = bench(t);
  assert.deepEqual(
    asked.map(({ batch }) => batch),
    [4],
  );
  for (const n of [1, 2, 3, 4]) session.take(delivered(n, 10 + n));
  assert.deepEqual(events, [11, 12, 13, 14]);
  assert.equal(asked.length, 1, "nothing was taken");
  unread.messages = 1;
  session.refill();
  assert.deepEqual(
    asked.map(({ batch }) => batch),
    [4, 3],
  );
});

test("PullSession asks for nothing while half a megabyte is unread", (t) => {
  const { session, asked, unread } = bench(t);
  session.take(delivered(1, 11, { bytes: 600_000 }));
  session.take(delivered(2, 12));
  session.take(delivered(3, 13));
  unread.messages = 0;
  session.refill();
  assert.equal(asked.length, 1);
  unread.bytes = 0;
  session.refill();
  assert.equal(asked.length, 2);
});

test("PullSession drops what its reader has, and what its consumer brings twice", (t) => {
  const { session, events } = bench(t);
  session.take(delivered(1, 9));
  session.take(delivered(2, 11));
  session.take(delivered(2, 11));
  assert.deepEqual(events, [11]);
});

for (const [what, wrong, isOurs] of [
  ["one that its consumer lost", delivered(3, 13), false],
  ["one that the filter does not allow", delivered(2, 12, { subject: "secret.a" }), false],
  ["a heartbeat behind more than has come", heartbeat(2, 12), true],
  ["word that the consumer is gone", status(409), false],
  ["word that nobody has such a consumer", status(503, [["Nats-Subject", "x"]]), false],
] as const) {
  test(`PullSession ends at ${what}, and brings nothing after it`, (t) => {
    const { session, events } = bench(t);
    session.take(delivered(1, 11));
    session.take(wrong);
    session.take(delivered(2, 12));
    assert.deepEqual(events, [11, { broken: isOurs }]);
  });
}

test("PullSession takes no notice of another consumer's messages", (t) => {
  const { session, events } = bench(t);
  session.take(delivered(1, 11, { consumer: "test-ada-1" }));
  session.take({ subject: "lab.a", payload: new Uint8Array(), headers: [] });
  assert.deepEqual(events, []);
});

test("PullSession says how far the stream is when nothing waits", (t) => {
  const { session, events } = bench(t);
  session.take(heartbeat(0, 12));
  session.take(delivered(1, 15));
  session.take(heartbeat(0, 20));
  session.take(heartbeat(1, 20));
  assert.deepEqual(events, [{ idle: 12 }, 15, { idle: 20 }]);
});

test("PullSession asks again when its request is over, but not for ever for one that is too large", (t) => {
  const { session, asked, events } = bench(t);
  session.take(status(408, [["Nats-Pending-Messages", "4"]]));
  assert.deepEqual(
    asked.map(({ batch }) => batch),
    [4, 4],
  );
  session.take(status(409, [["Nats-Pending-Messages", "4"]]));
  assert.equal(asked.length, 3);
  session.take(status(409, [["Nats-Pending-Messages", "4"]]));
  assert.deepEqual([asked.length, events], [3, [{ broken: false }]]);
});

test("PullSession ends when its consumer gives no sign of life, and leaves the number alone", (t) => {
  const { session, events, tick } = bench(t);
  tick();
  tick();
  session.take(heartbeat(0, 10));
  tick();
  tick();
  assert.deepEqual(events, [{ idle: 10 }]);
  tick();
  assert.deepEqual(events, [{ idle: 10 }, { broken: false }]);
});

test("PullSession does not pull from a consumer that may have been forgotten while its reader was slow", (t) => {
  const { session, asked, events, unread, tick } = bench(t);
  for (const n of [1, 2, 3, 4]) session.take(delivered(n, 10 + n));
  tick();
  tick();
  unread.messages = 0;
  session.refill();
  assert.deepEqual([asked.length, events.at(-1)], [1, { broken: false }]);
});

test("PullSession ends when it cannot ask", (t) => {
  const { events } = bench(t, { connected: false });
  assert.deepEqual(events, [{ broken: true }]);
});
