import assert from "node:assert/strict";
import { test } from "node:test";
import { type CrossingWishes, crossingsOf } from "./crossings.ts";

const NOTHING: CrossingWishes = { requests: [], subscriptions: [], streams: [], buckets: [] };

test("crossingsOf() names what crosses, JetStream under another name, and of a consumer only what reads it", () => {
  const wishes = {
    requests: ["inventory.check"],
    subscriptions: ["notices.>"],
    streams: ["ORDERS"],
    buckets: ["carts"],
  };
  assert.deepEqual(crossingsOf(wishes), [
    { type: "service", subject: "inventory.check" },
    { type: "stream", subject: "notices.>" },
    {
      type: "service",
      subject: "$JS.API.CONSUMER.INFO.ORDERS.*",
      local: "core.API.CONSUMER.INFO.ORDERS.*",
    },
    {
      type: "service",
      subject: "$JS.API.CONSUMER.MSG.NEXT.ORDERS.*",
      local: "core.API.CONSUMER.MSG.NEXT.ORDERS.*",
      manyReplies: true,
    },
    { type: "service", subject: "$JS.ACK.ORDERS.>" },
    {
      type: "service",
      subject: "$JS.API.DIRECT.GET.KV_carts.$KV.carts.>",
      local: "core.API.DIRECT.GET.KV_carts.$KV.carts.>",
    },
  ]);
  assert.deepEqual(crossingsOf(NOTHING), []);
});

test("crossingsOf() lets nothing of NATS's own cross, nor everything", () => {
  const reserved = [
    ">",
    "*",
    "*.x",
    "$JS.API.>",
    "$KV.carts.>",
    "$SYS.REQ.USER.AUTH",
    "_INBOX.>",
    "_R_.x",
    "a..b",
    "",
  ];
  for (const subject of reserved) {
    assert.equal(typeof crossingsOf({ ...NOTHING, requests: [subject] }), "string", subject);
    assert.equal(typeof crossingsOf({ ...NOTHING, subscriptions: [subject] }), "string", subject);
  }
  for (const name of ["", "*", "a.b", ">", "a b"]) {
    assert.match(String(crossingsOf({ ...NOTHING, streams: [name] })), /is not the name of a stream/);
    assert.match(
      String(crossingsOf({ ...NOTHING, buckets: [name] })),
      /is not the name of a stream or bucket/,
    );
  }
});
