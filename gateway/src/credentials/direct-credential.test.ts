import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "@nats-io/jwt";
import type { Identity } from "../identity/identity.ts";
import type { Grant } from "../policy/grant.ts";
import { createVerifyCredential, isNatsJwt, mintDirectCredential } from "./direct-credential.ts";
import { encodeNatsJwt, type UserClaims } from "./nats-jwt.ts";
import { createNkey } from "./nkey.ts";

const NOW = 1_900_000_000;
const ANN: Identity = {
  user: "main-ann",
  issuer: "main",
  id: "ann",
  name: "日本 José",
  kind: "user",
  attributes: Object.assign(Object.create(null), { groups: ["Clerks", "Audit"] }),
  actor: { user: "main-agent" },
  proof: { kind: "session", hash: "h".repeat(43) },
  provedAt: NOW - 100,
  expiresAt: NOW + 3_600,
};
const GRANT: Grant = {
  user: "main-ann",
  policy: "p",
  hash: "g",
  roles: [],
  may: [],
  never: [],
  limits: { credentialSeconds: 600, payloadBytes: 1_044_480, connections: 20 },
};
const account = createNkey("account");
const signing = createNkey("account");
const user = createNkey("user");
const boxKey = () => Buffer.alloc(32, 7);
const verify = createVerifyCredential({ issuer: signing.publicKey, boxKey });

function mint(changes: Partial<Parameters<typeof mintDirectCredential>[0]> = {}) {
  return mintDirectCredential({
    identity: ANN,
    grant: GRANT,
    nkey: user.publicKey,
    signer: { signingKey: signing, accountPublicKey: account.publicKey },
    boxKey,
    now: NOW,
    controlLineBytesMax: 1_000_000,
    ...changes,
  });
}

function minted(changes: Parameters<typeof mint>[0] = {}): string {
  const credential = mint(changes);
  assert.ok(credential.ok);
  return credential.value.jwt;
}

function shown(jwt: string, key = user, nonce = "nonce") {
  return { kind: "credential", jwt, nonce: "nonce", sig: key.sign(nonce).toString("base64url") } as const;
}

test("mintDirectCredential() says who and allows nothing, and shows nobody what the identity has besides", () => {
  const jwt = minted();
  const { nats, sub, exp, iss } = decode<UserClaims>(jwt);
  const { tags, ...claims } = nats as unknown as { tags: string[] };
  assert.deepEqual([sub, exp, iss], [user.publicKey, NOW + 600, signing.publicKey]);
  assert.deepEqual(claims, {
    type: "user",
    version: 2,
    issuer_account: account.publicKey,
    pub: { deny: [">"] },
    sub: { deny: [">"] },
    subs: -1,
    data: -1,
    payload: -1,
  });
  assert.deepEqual(tags.slice(0, 2), ["user:main-ann", "actor:main-agent"]);
  assert.match(tags[2] ?? "", /^countersign:[A-Za-z0-9_-]+$/);
  assert.doesNotMatch(Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString(), /Clerks|hhhh/);
});

test("verifyCredential() gives the very identity back, ending with the credential, the same object each time", () => {
  const jwt = minted();
  const first = verify(shown(jwt), NOW);
  assert.deepEqual(first, { ok: true, value: { ...ANN, expiresAt: NOW + 600 } });
  const second = verify(shown(jwt), NOW + 599);
  assert.ok(first.ok && second.ok && first.value === second.value);
  assert.equal(Object.getPrototypeOf(first.value.attributes), null);
});

test("verifyCredential() refuses a credential that is over, also one it has seen before", () => {
  const jwt = minted({ identity: { ...ANN, expiresAt: NOW + 5.5 } });
  assert.ok(verify(shown(jwt), NOW + 4.9).ok);
  assert.deepEqual(verify(shown(jwt), NOW + 5), {
    ok: false,
    refusal: { reason: "proof_expired", expiredAt: NOW + 5, now: NOW + 5 },
  });
});

test("verifyCredential() refuses a copy without the key, another's signature, another's or a changed credential", () => {
  const jwt = minted();
  const thief = createNkey("user");
  const tampered = jwt.replace(/^([^.]+\.)(.)/, (_, head, char) => head + (char === "e" ? "f" : "e"));
  // A user JWT of the same signer that is no credential: what a callout answers with is seen by services.
  const answered = encodeNatsJwt<"user">({
    name: "x",
    subject: user.publicKey,
    signer: signing,
    issuedAt: NOW,
    expiresAt: NOW + 600,
    claims: { type: "user", pub: { deny: [">"] }, sub: { deny: [">"] }, subs: -1, data: -1, payload: -1 },
  });
  const other = createNkey("account");
  const moved = decode<UserClaims>(jwt).nats as unknown as { tags: string[] };
  const transplanted = encodeNatsJwt<"user">({
    name: "x",
    subject: thief.publicKey,
    signer: signing,
    issuedAt: NOW,
    expiresAt: NOW + 600,
    claims: {
      ...{ type: "user", pub: { deny: [">"] }, sub: { deny: [">"] }, subs: -1, data: -1, payload: -1 },
      tags: moved.tags,
    } as const,
  });
  const refusals: readonly (readonly [ReturnType<typeof shown>, RegExp])[] = [
    [shown(jwt, thief), /did not sign/],
    [shown(jwt, user, "another nonce"), /did not sign/],
    [{ ...shown(jwt), sig: "" }, /did not sign/],
    [shown(tampered), /not a credential/],
    [shown(answered), /not a credential/],
    [shown(transplanted, thief), /not a credential/],
    [shown(minted({ signer: { signingKey: other, accountPublicKey: undefined } })), /not a credential/],
    [shown(minted({ boxKey: () => Buffer.alloc(32, 8) })), /not a credential/],
    [shown("e"), /not a credential/],
    [shown("x".repeat(1_000_001)), /size limit/],
  ];
  for (const [proof, why] of refusals) {
    const outcome = verify(proof, NOW);
    assert.ok(!outcome.ok && outcome.refusal.reason === "proof_invalid", String(why));
    assert.match(outcome.refusal.why, why);
  }
});

test("mintDirectCredential() makes none that the server would not read, nor one that is over", () => {
  assert.deepEqual(mint({ controlLineBytesMax: 100 }).ok, false);
  const late = mint({ identity: { ...ANN, expiresAt: NOW + 0.5 } });
  assert.deepEqual(late, { ok: false, refusal: { reason: "proof_expired", expiredAt: NOW, now: NOW } });
});

test("isNatsJwt() tells NATS's JWTs from tokens", () => {
  assert.equal(isNatsJwt(minted()), true);
  const token = ["e30", "e30", "x".repeat(86)].join(".");
  const es256 = Buffer.from(`{"alg":"ES256"}`).toString("base64url");
  for (const other of ["", "eyJ", token, `${es256}.e30.${"x".repeat(86)}`, "a".repeat(43)])
    assert.equal(isNatsJwt(other), false, other);
});
