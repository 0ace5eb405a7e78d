import assert from "node:assert/strict";
import { test } from "node:test";
import { type Action, formatAction, parseAction } from "./action.ts";

const ACTIONS: readonly (readonly [string, Action])[] = [
  ["publish orders.eu.1.create", { verb: "publish", subject: "orders.eu.1.create" }],
  ["request inventory.check", { verb: "request", subject: "inventory.check" }],
  ["respond inventory.>", { verb: "respond", subject: "inventory.>" }],
  ["subscribe orders.*", { verb: "subscribe", subject: "orders.*" }],
  ["subscribe orders.> queue billing", { verb: "subscribe", subject: "orders.>", queue: "billing" }],
  ["read-stream ORDERS orders.>", { verb: "read-stream", stream: "ORDERS", subject: "orders.>" }],
  [
    "read-stream ORDERS orders.> consumers [billing]",
    { verb: "read-stream", stream: "ORDERS", subject: "orders.>", consumer: "billing" },
  ],
  ["read-kv carts demo-ann.>", { verb: "read-kv", bucket: "carts", key: "demo-ann.>" }],
  ["write-kv carts demo-ann.1", { verb: "write-kv", bucket: "carts", key: "demo-ann.1" }],
  ["connect direct", { verb: "connect", way: "direct" }],
  ["read-audit", { verb: "read-audit" }],
  ["end-sessions", { verb: "end-sessions" }],
  ["push-policy", { verb: "push-policy" }],
];

for (const [text, action] of ACTIONS) {
  test(`parseAction() and formatAction() agree on "${text}"`, () => {
    assert.deepEqual(parseAction(text), { ok: true, value: action });
    assert.equal(formatAction(action), text);
  });
}

const REFUSED: readonly (readonly [string, RegExp])[] = [
  ["", /is empty/],
  ["pubish a", /begins with "pubish" \(did you mean "publish"\?\)/],
  ["publish", /lacks the subject; write "publish SUBJECT"/],
  ["publish a b", /goes on with "b"/],
  ["publish a.*", /goes to one subject, without wildcards/],
  ["write-kv carts a.>", /goes to one subject, without wildcards/],
  ["publish a..b", /has an empty token/],
  ["publish a.{region}", /has the template "\{region\}"; here the value itself is written/],
  ["publish $JS.API.INFO", /belongs to NATS itself/],
  ["subscribe _INBOX.x", /belongs to NATS itself/],
  ["subscribe >", /opens its subject with ">"/],
  ["subscribe a.>.b", /has a > before the end/],
  ["subscribe a queue", /lacks queue/],
  ["read-stream ORDERS a consumers [a, b]", /names several consumers/],
  ["read-stream KV_carts a", /behind a bucket/],
  ["connect nativ", /\(did you mean "native"\?\)/],
  [`publish ${"a".repeat(300)}`, /is longer than 256 bytes/],
  [`publish ${"a ".repeat(300)}`, /is 608 characters long; at most 512 are read/],
];

for (const [text, why] of REFUSED) {
  test(`parseAction() refuses "${text.slice(0, 40)}" and says why`, () => {
    const outcome = parseAction(text);
    assert(!outcome.ok && outcome.refusal.reason === "request_invalid");
    assert.match(outcome.refusal.why, why);
  });
}
