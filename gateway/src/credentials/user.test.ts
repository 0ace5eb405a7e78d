import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "@nats-io/jwt";
import type { Identity } from "../identity/identity.ts";
import type { Grant, NatsPermissions } from "../policy/grant.ts";
import type { UserClaims } from "./nats-jwt.ts";
import { createNkey } from "./nkey.ts";
import { inboxPrefixOf, type MintOptions, mintCredential } from "./user.ts";

const NOW = 1_790_000_000;
const ALICE: Identity = {
  user: "demo-alice",
  issuer: "demo",
  id: "alice",
  kind: "user",
  attributes: Object.create(null),
  proof: { kind: "bearer", hash: "h" },
  provedAt: NOW - 10,
  expiresAt: NOW + 3600,
};
const GRANT: Grant = {
  user: "demo-alice",
  policy: "p",
  hash: "g",
  roles: ["order-clerk"],
  may: [],
  never: [],
  limits: { credentialSeconds: 600, payloadBytes: 65_536, connections: 5 },
};
const PERMISSIONS: NatsPermissions = {
  pub: { allow: ["orders.eu.*.create"], deny: ["orders.*.*.delete"] },
  sub: { allow: ["_INBOX.X.>"], deny: ["_INBOX.X.> >"] },
  resp: { max: 1, ttlNanoseconds: 2_000_000_000 },
};
const ACCOUNT = createNkey("account");
const SIGNING = createNkey("account");
const USER_KEY = createNkey("user");

function optionsWith(changes: Partial<MintOptions>): MintOptions {
  return {
    identity: ALICE,
    grant: GRANT,
    permissions: PERMISSIONS,
    userPublicKey: USER_KEY.publicKey,
    signer: { accountPublicKey: ACCOUNT.publicKey, signingKey: SIGNING },
    now: NOW,
    inboxPrefix: "_INBOX.X",
    controlLineBytesMax: 1_048_576,
    ...changes,
  };
}

test("mintCredential() tells NATS exactly the permissions, no limits, and that a proxy is required", () => {
  const outcome = mintCredential(optionsWith({}));
  assert.ok(outcome.ok);
  const { jwt, ...rest } = outcome.value;
  assert.deepEqual(rest, {
    shown: { jwt },
    expiresAt: NOW + 600,
    inboxPrefix: "_INBOX.X",
    bytes: jwt.length + 768,
  });
  const { jti, ...claims } = decode<UserClaims>(jwt);
  assert.ok(jti);
  assert.deepEqual(claims, {
    iat: NOW,
    exp: NOW + 600,
    iss: SIGNING.publicKey,
    sub: USER_KEY.publicKey,
    name: "demo-alice",
    nats: {
      version: 2,
      type: "user",
      issuer_account: ACCOUNT.publicKey,
      pub: PERMISSIONS.pub,
      sub: PERMISSIONS.sub,
      resp: { max: 1, ttl: 2_000_000_000 },
      subs: -1,
      data: -1,
      payload: -1,
      proxy_required: true,
      allowed_connection_types: ["STANDARD"],
      tags: ["user:demo-alice"],
    },
  });
});

test("mintCredential() names the actor beside the user", () => {
  const identity = { ...ALICE, actor: { user: "demo-billing=20agent" } };
  const outcome = mintCredential(optionsWith({ identity }));
  assert.ok(outcome.ok);
  const { nats } = decode<UserClaims>(outcome.value.jwt);
  assert.deepEqual((nats as UserClaims).tags, ["user:demo-alice", "actor:demo-billing=20agent"]);
});

test("mintCredential() ends with the proof, the limit or the grant, whichever is first", () => {
  const endOf = (changes: Partial<MintOptions>): number => {
    const outcome = mintCredential(optionsWith(changes));
    assert.ok(outcome.ok);
    return outcome.value.expiresAt;
  };
  assert.equal(endOf({ now: NOW + 0.7 }), NOW + 600);
  assert.equal(endOf({ identity: { ...ALICE, expiresAt: NOW + 60.9 } }), NOW + 60);
  assert.equal(endOf({ grant: { ...GRANT, until: NOW + 30 } }), NOW + 30);
});

test("mintCredential() refuses when not a whole second is left", () => {
  for (const expiresAt of [NOW - 1, NOW, NOW + 0.9]) {
    const outcome = mintCredential(optionsWith({ identity: { ...ALICE, expiresAt } }));
    const refusal = { reason: "proof_expired", expiredAt: Math.floor(expiresAt), now: NOW };
    assert.deepEqual(outcome, { ok: false, refusal });
  }
  assert.equal(mintCredential(optionsWith({ identity: { ...ALICE, expiresAt: Number.NaN } })).ok, false);
});

test("mintCredential() refuses a credential that the server's control line does not carry", () => {
  const allow = Array.from({ length: 200 }, (_, index) => `orders.eu.${index}.create`);
  const permissions = { ...PERMISSIONS, pub: { allow } };
  const small = mintCredential(optionsWith({ permissions, controlLineBytesMax: 4096 }));
  assert.ok(!small.ok && small.refusal.reason === "credential_too_large");
  assert.equal(small.refusal.bytesMax, 4096);
  const large = mintCredential(optionsWith({ permissions }));
  assert.ok(large.ok);
  assert.equal(large.value.bytes, small.refusal.bytes);
  const exact = mintCredential(optionsWith({ permissions, controlLineBytesMax: large.value.bytes }));
  assert.equal(exact.ok, true);
});

test("mintCredential() never mints a side that NATS would read as everything", () => {
  const empties = [{}, { allow: [] }, { deny: ["orders.>"] }, { allow: [], deny: [">"] }];
  for (const empty of empties) {
    for (const side of ["pub", "sub"]) {
      const permissions = { ...PERMISSIONS, [side]: empty };
      assert.throws(() => mintCredential(optionsWith({ permissions })), { code: "ERR_ASSERTION" });
    }
  }
  assert.equal(
    mintCredential(optionsWith({ permissions: { ...PERMISSIONS, pub: { deny: [">"] } } })).ok,
    true,
  );
});

test("inboxPrefixOf() is the same for one identity and grant, and another for any other", () => {
  const key = Buffer.alloc(32, 1);
  const prefix = inboxPrefixOf(key, ALICE, GRANT);
  assert.match(prefix, /^_INBOX\.[A-Z2-7]{32}$/);
  assert.equal(inboxPrefixOf(key, { ...ALICE, expiresAt: 0 }, { ...GRANT, policy: "q" }), prefix);
  const others = [
    inboxPrefixOf(Buffer.alloc(32, 2), ALICE, GRANT),
    inboxPrefixOf(key, { ...ALICE, user: "demo-bob" }, GRANT),
    inboxPrefixOf(key, { ...ALICE, actor: { user: "demo-agent" } }, GRANT),
    inboxPrefixOf(key, ALICE, { ...GRANT, hash: "h" }),
  ];
  assert.equal(new Set([prefix, ...others]).size, 5);
});
