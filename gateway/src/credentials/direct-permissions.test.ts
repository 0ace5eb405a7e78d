import assert from "node:assert/strict";
import { test } from "node:test";
import type { Grant, GrantLine } from "../policy/grant.ts";
import { directPermissionsOf } from "./direct-permissions.ts";

const rule = { text: "", file: "p", line: 1 };

function grantOf(...may: readonly Omit<GrantLine, "rule">[]): Grant {
  const limits = { credentialSeconds: 600, payloadBytes: 1, connections: 2 };
  const lines = may.map((line) => ({ ...line, rule }));
  return { user: "u", policy: "p", hash: "h", roles: [], may: lines, never: [], limits };
}

test("directPermissionsOf() lets JetStream be read under the name it is imported by, and nothing be made or written", () => {
  const grant = grantOf(
    { verb: "read-stream", pattern: "orders.>", object: { stream: "ORDERS", consumers: ["billing"] } },
    { verb: "read-kv", pattern: "ann.>", object: { bucket: "carts" } },
    { verb: "write-kv", pattern: "ann.>", object: { bucket: "carts" } },
    { verb: "publish", pattern: "greetings.ann" },
  );
  const { pub } = directPermissionsOf(grant, "_INBOX.X", "direct");
  for (const subject of pub.allow ?? []) {
    assert.doesNotMatch(subject, /CREATE|DELETE|^\$KV|^\$JS\.API/, subject);
  }
  assert.ok(pub.allow?.includes("core.API.CONSUMER.MSG.NEXT.ORDERS.u-billing"));
  assert.ok(pub.allow?.includes("core.API.CONSUMER.INFO.ORDERS.u-billing"));
  assert.ok(pub.allow?.includes("core.API.DIRECT.GET.KV_carts.$KV.carts.ann.>"));
  assert.ok(pub.allow?.includes("$JS.ACK.ORDERS.u-billing.>"));
  assert.ok(pub.allow?.includes("greetings.ann"));
});

test("directPermissionsOf() denies everything where nothing is left to allow", () => {
  const grant = grantOf({ verb: "write-kv", pattern: "ann.>", object: { bucket: "carts" } });
  assert.deepEqual(directPermissionsOf(grant, "_INBOX.X", "direct").pub, { deny: [">"] });
  assert.deepEqual(directPermissionsOf(grantOf(), "_INBOX.X", "mqtt"), {
    pub: { deny: [">"] },
    sub: { deny: [">"] },
  });
});

test("directPermissionsOf() gives an MQTT client the subscriptions of its own that acknowledgements need", () => {
  const grant = grantOf({ verb: "subscribe", pattern: "notices.ann" });
  assert.deepEqual(directPermissionsOf(grant, "_INBOX.X", "mqtt").sub.allow, [
    "notices.ann",
    "$MQTT.sub.>",
    "$MQTT.deliver.pubrel.>",
  ]);
  assert.deepEqual(directPermissionsOf(grant, "_INBOX.X", "direct").sub.allow, ["notices.ann"]);
});
