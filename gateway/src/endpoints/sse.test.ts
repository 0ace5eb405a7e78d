import assert from "node:assert/strict";
import { test } from "node:test";
import type { HeaderList } from "../nats/connection.ts";
import { eventText } from "./sse.ts";

function headersIn(headers: HeaderList): unknown {
  const sender = { verified: false, code: "seal_missing" } as const;
  const message = { subject: "orders.new", payload: Buffer.from("{}"), headers };
  const text = eventText({
    arrival: { message, at: 1_790_000_000, sender: Promise.resolve(sender) },
    sender,
  });
  return JSON.parse(text.slice("data: ".length)).headers;
}

test("eventText() keeps every value of a header that a message has more than once, in order", () => {
  assert.deepEqual(
    headersIn([
      ["tag", "b"],
      ["one", "1"],
      ["tag", "a"],
      ["Tag", "other"],
      ["tag", "b"],
    ]),
    { tag: ["b", "a", "b"], one: "1", Tag: "other" },
  );
});

test("eventText() shows none of our own headers, however often they stand there", () => {
  assert.deepEqual(
    headersIn([
      ["Nats-Msg-Id", "1"],
      ["nats-msg-id", "2"],
      ["Seal-Claims", "x"],
      ["txn-token", "x"],
      ["traceparent", "x"],
      ["Content-Type", "application/json"],
      ["a", "1"],
    ]),
    { a: "1" },
  );
});
