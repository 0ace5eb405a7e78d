import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turnEnd } from "node:timers/promises";
import type { InboundMessage } from "../nats/connection.ts";
import { createArrivals } from "./arrivals.ts";
import type { Sender } from "./event.ts";

const SENDER: Sender = { verified: true, user: "test-ada", issuer: "test", id: "id", txn: "txn" };

function messageOf(over: Partial<InboundMessage> = {}): InboundMessage {
  const headerBlock = Buffer.from(`NATS/1.0\r\nNats-Msg-Id: ${"1".repeat(64)}\r\n\r\n`);
  return { subject: "lab.a", payload: Buffer.from("x".repeat(64)), headers: [], headerBlock, ...over };
}

function bench(sender: Sender = SENDER) {
  let now = 1_000;
  const judged: InboundMessage[] = [];
  const senderOf = async (message: InboundMessage): Promise<Sender> => {
    judged.push(message);
    return sender;
  };
  return {
    arrivalOf: createArrivals(senderOf, () => now),
    judged,
    later: (seconds: number) => {
      now += seconds;
    },
  };
}

test("arrivalOf() knows a message again that comes to another reader, and judges it once", () => {
  const { arrivalOf, judged } = bench();
  const first = arrivalOf(messageOf());
  assert.equal(arrivalOf(messageOf()), first);
  assert.equal(judged.length, 1);
});

test("arrivalOf() takes no message for another one, wherever they differ by one byte", () => {
  const { arrivalOf } = bench();
  const first = arrivalOf(messageOf());
  const { payload, headerBlock } = messageOf();
  assert(headerBlock);
  for (const at of payload.keys()) {
    assert.notEqual(arrivalOf(messageOf({ payload: payload.with(at, 0x79) })), first, `payload, ${at}`);
    arrivalOf(messageOf());
  }
  for (const at of headerBlock.keys()) {
    assert.notEqual(
      arrivalOf(messageOf({ headerBlock: headerBlock.with(at, 0x79) })),
      first,
      `headers, ${at}`,
    );
    arrivalOf(messageOf());
  }
  for (const other of [{ subject: "lab.b" }, { reply: "lab.reply" }, { brokerTime: 1_000 }]) {
    assert.notEqual(arrivalOf(messageOf(other)), first);
  }
});

test("arrivalOf() takes the same bytes a second later for another message, but not what a stream keeps", () => {
  const { arrivalOf, later } = bench();
  const published = arrivalOf(messageOf());
  const stored = arrivalOf(messageOf({ brokerTime: 900.5 }));
  assert.deepEqual([published.at, stored.at], [1_000, 900.5]);
  later(1);
  assert.notEqual(arrivalOf(messageOf()), published);
  assert.equal(arrivalOf(messageOf({ brokerTime: 900.5 })), stored);
});

test("arrivalOf() judges anew what could not be verified", async () => {
  const { arrivalOf, judged } = bench({ verified: false, code: "kid_unknown" });
  arrivalOf(messageOf({ brokerTime: 900 }));
  await turnEnd();
  arrivalOf(messageOf({ brokerTime: 900 }));
  assert.equal(judged.length, 2);
});

test("arrivalOf() remembers nothing large, and nothing whose bytes it does not have", () => {
  const { arrivalOf } = bench();
  const large = { payload: Buffer.alloc(16_385) };
  assert.notEqual(arrivalOf(messageOf(large)), arrivalOf(messageOf(large)));
  const { headerBlock: _, ...without } = messageOf();
  assert.notEqual(arrivalOf(without), arrivalOf(without));
});
