import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDelivery } from "./delivery.ts";

const FOUND = {
  stream: "ORDERS",
  consumer: "demo-alice-0",
  sequence: 4711,
  consumerSequence: 3,
  brokerTime: 1_795_733_248.5,
  pending: 12,
};

test("parseDelivery() reads the reply subject in both of its forms", () => {
  const numbers = "1.4711.3.1795733248500000000.12";
  assert.deepEqual(parseDelivery(`$JS.ACK.ORDERS.demo-alice-0.${numbers}`), FOUND);
  assert.deepEqual(parseDelivery(`$JS.ACK.hub.hash.ORDERS.demo-alice-0.${numbers}`), FOUND);
  assert.deepEqual(parseDelivery(`$JS.ACK._.hash.ORDERS.demo-alice-0.${numbers}.token`), FOUND);
});

test("parseDelivery() takes nothing else for one", () => {
  const others = [
    undefined,
    "",
    "_INBOX.a.1",
    "$JS.ACK.",
    "$JS.ACK.S.c.1.2.3.4",
    "$JS.ACK.S.c.1.2.3.4.5.6",
    "$JS.ACK.S.c.1.x.3.4.5",
    "$JS.ACK.S.c.1.-2.3.4.5",
    "$JS.ACK.S.c.1.2.3.4.",
    "$JS.FC.S.c.1.2.3.4.5",
  ];
  for (const other of others) assert.equal(parseDelivery(other), undefined, other);
});
