import assert from "node:assert/strict";
import { test } from "node:test";
import { deniedOf } from "./server-error.ts";

test("deniedOf() reads the subject as nats-server quotes it", () => {
  const publish = (text: string) => deniedOf(`Permissions Violation for Publish to ${text}`);
  assert.deepEqual(publish('"orders.1"'), { operation: "publish", subject: "orders.1" });
  assert.deepEqual(publish('"a\\"b"'), { operation: "publish", subject: 'a"b' });
  assert.deepEqual(publish('"a\\\\b"'), { operation: "publish", subject: "a\\b" });
  assert.deepEqual(publish('"\\u00ad\\U000e0001\\x01\\n"'), {
    operation: "publish",
    subject: "\u00ad\u{e0001}\x01\n",
  });
  assert.deepEqual(deniedOf('Permissions Violation for Subscription to "a" using queue "q"'), {
    operation: "subscribe",
    subject: "a",
  });
});

test("deniedOf() makes nothing of other errors", () => {
  const texts = [
    "",
    "Authorization Violation",
    "Permissions Violation for Publish to orders",
    "Unknown Protocol Operation",
  ];
  for (const text of texts) assert.equal(deniedOf(text), undefined);
});
