import assert from "node:assert/strict";
import { test } from "node:test";
import type { NatsPermissions } from "./grant.ts";
import { permissionsOf, withAcknowledgements } from "./permissions.ts";
import { grantOf, roleOf } from "./testing/fixtures.ts";

function told(may: readonly string[], never: readonly string[] = [], more = ""): NatsPermissions {
  return permissionsOf(grantOf(roleOf(may, never, more)), "_INBOX.i");
}

const NOTHING = { deny: [">"] };

test("permissionsOf() denies everything where there is nothing to allow, since an empty allow would allow everything", () => {
  assert.deepEqual(told([]), { pub: NOTHING, sub: NOTHING });
  assert.deepEqual(told(["read-audit", "connect direct"]), { pub: NOTHING, sub: NOTHING });
  assert.deepEqual(told(["publish a.b"]), { pub: { allow: ["a.b"] }, sub: NOTHING });
  assert.deepEqual(told(["subscribe a.b"]), { pub: NOTHING, sub: { allow: ["a.b"], deny: ["a.b >"] } });
  // Whatever is forbidden, a list that allows nothing stays one that denies everything.
  assert.deepEqual(told([], ["publish a.b", "subscribe a.b"]), { pub: NOTHING, sub: NOTHING });
});

test("permissionsOf() gives a request its subject and its own inbox, and no other's", () => {
  assert.deepEqual(told(["request a.b"]), { pub: { allow: ["a.b"] }, sub: { allow: ["_INBOX.i.>"] } });
});

test("permissionsOf() lets a responder subscribe, and answer once within a minute", () => {
  assert.deepEqual(told(["respond a.b queue q"]), {
    pub: NOTHING,
    sub: { allow: ["a.b q"] },
    resp: { max: 1, ttlNanoseconds: 60_000_000_000 },
  });
});

test("permissionsOf() keeps a plain subscription out of every queue group, and a queue to its own", () => {
  assert.deepEqual(told(["subscribe a.>"]).sub, { allow: ["a.>"], deny: ["a.> >"] });
  assert.deepEqual(told(["subscribe a.> queue q"]).sub, { allow: ["a.> q"] });
  assert.deepEqual(told(["subscribe a.>", "subscribe a.> queue q"]).sub, { allow: ["a.>", "a.> q"] });
});

test("permissionsOf() keeps a subscription that ends in * from reaching below", () => {
  assert.deepEqual(told(["subscribe a.*"]).sub, { allow: ["a.*"], deny: ["a.*.>", "a.* >"] });
});

test("permissionsOf() denies what is forbidden, and the part of it inside each line", () => {
  assert.deepEqual(told(["publish a.>"], ["publish a.b", "request a.c"]).pub, {
    allow: ["a.>"],
    deny: ["a.b", "a.c"],
  });
  assert.deepEqual(told(["subscribe a.*.c"], ["subscribe a.b.>"]).sub, {
    allow: ["a.*.c"],
    deny: ["a.b.>", "a.b.c", "a.*.c >"],
  });
});

test("permissionsOf() leaves out what is forbidden anyway", () => {
  assert.deepEqual(told(["publish a.b"], ["publish x.>"]).pub, { allow: ["a.b"] });
});

test("permissionsOf() writes out every consumer, and grants no more of JetStream than a reader needs", () => {
  assert.deepEqual(told(["read-stream S a.> consumers [x]"]), {
    pub: {
      allow: [
        "$JS.API.CONSUMER.CREATE.S.demo-alice-x.a.>",
        "$JS.API.CONSUMER.INFO.S.demo-alice-x",
        "$JS.API.CONSUMER.MSG.NEXT.S.demo-alice-x",
        "$JS.ACK.S.demo-alice-x.>",
      ],
    },
    sub: { allow: ["_INBOX.i.>"] },
  });
  const numbered = told(["read-stream S a.>"], [], "    limits: { connections: 2 }\n").pub.allow ?? [];
  assert.equal(numbered.length, 12);
  assert(numbered.includes("$JS.API.CONSUMER.MSG.NEXT.S.demo-alice-1"));
  // What comes and goes may be deleted and slowed down by whoever reads through it; the name is always written out.
  assert(numbered.includes("$JS.API.CONSUMER.DELETE.S.demo-alice-1"));
  assert(numbered.includes("$JS.FC.S.demo-alice-1.*"));
  assert(!numbered.some((entry) => /\*(?!$)/.test(entry)));
});

test("permissionsOf() opens buckets by key", () => {
  const { pub } = told(
    ["read-kv K a.>", "write-kv K a.*"],
    ["write-kv K a.x"],
    "    limits: { connections: 1 }\n",
  );
  assert.deepEqual(pub, {
    allow: [
      "$JS.API.DIRECT.GET.KV_K.$KV.K.a.>",
      "$JS.API.CONSUMER.CREATE.KV_K.demo-alice-0.$KV.K.a.>",
      "$JS.API.CONSUMER.INFO.KV_K.demo-alice-0",
      "$JS.API.CONSUMER.MSG.NEXT.KV_K.demo-alice-0",
      "$JS.API.CONSUMER.DELETE.KV_K.demo-alice-0",
      "$JS.FC.KV_K.demo-alice-0.*",
      "$KV.K.a.*",
    ],
    deny: ["$KV.K.a.x"],
  });
});

test("withAcknowledgements() lets only them come to who may publish, and nothing to who may not", () => {
  const acknowledged = (may: readonly string[]) => withAcknowledgements(told(may), "_INBOX.i").sub;
  assert.deepEqual(acknowledged(["publish a.b"]), { allow: ["_INBOX.i.ack.>"] });
  assert.deepEqual(acknowledged(["publish a.b", "subscribe c"]), {
    allow: ["c", "_INBOX.i.ack.>"],
    deny: ["c >"],
  });
  assert.deepEqual(acknowledged(["request a.b"]), { allow: ["_INBOX.i.>"] });
  assert.deepEqual(acknowledged(["read-audit"]), NOTHING);
});
