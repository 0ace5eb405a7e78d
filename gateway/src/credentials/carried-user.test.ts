import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "@nats-io/jwt";
import type { CalloutRequest } from "./callout.ts";
import { createJudgeCarried } from "./carried-user.ts";
import type { UserClaims } from "./nats-jwt.ts";
import { createNkey } from "./nkey.ts";
import { type MintOptions, mintCredential } from "./user.ts";

const NOW = 1_900_000_000;
const signingKey = createNkey("account");
const userKey = createNkey("user");
const judge = createJudgeCarried({ signingKey, placement: "CORE" });

function minted(changes: Partial<MintOptions> = {}): string {
  const credential = mintCredential({
    identity: {
      ...{ user: "main-ann", issuer: "main", id: "ann", kind: "user", attributes: {} },
      ...{ proof: { kind: "bearer", hash: "h" }, provedAt: NOW, expiresAt: NOW + 60 },
    },
    grant: {
      ...{ user: "main-ann", policy: "p", hash: "h", roles: [], may: [], never: [] },
      limits: { credentialSeconds: 600, payloadBytes: 1, connections: 1 },
    },
    permissions: { pub: { allow: ["a"] }, sub: { deny: [">"] } },
    userPublicKey: userKey.publicKey,
    signer: { signingKey, accountPublicKey: undefined },
    ...{ now: NOW, inboxPrefix: "_INBOX.X", controlLineBytesMax: 100_000 },
    ...changes,
  });
  assert.ok(credential.ok);
  return credential.value.jwt;
}

function requestWith(
  authToken: string,
  client: Partial<CalloutRequest["client"]> = {},
  sig = userKey.sign("nonce").toString("base64url"),
): CalloutRequest {
  return {
    server: { id: createNkey("server").publicKey, name: "n1" },
    userNkey: createNkey("user").publicKey,
    client: { host: "127.0.0.1", id: 1, type: "standard", nonce: "nonce", ...client },
    connect: { authToken, sig },
  };
}

test("judgeCarried() answers with what the credential says, for the user that the server asks about", () => {
  const jwt = minted();
  const request = requestWith(jwt);
  const answer = judge(request, NOW);
  assert.ok(answer?.ok);
  assert.equal(answer.value.expiresAt, NOW + 60);
  const claims = decode<UserClaims>(answer.value.jwt);
  assert.deepEqual(
    [claims.name, claims.sub, claims.aud, claims.iss, claims.exp],
    ["main-ann", request.userNkey, "CORE", signingKey.publicKey, NOW + 60],
  );
  // With `proxy_required` above all: nats-server asks for the proxy's signature by it.
  assert.deepEqual(claims.nats, decode<UserClaims>(jwt).nats);
});

test("judgeCarried() refuses a credential of ours that is not shown as the gateway shows it", () => {
  const jwt = minted();
  const reasons = [
    judge(requestWith(jwt, {}, createNkey("user").sign("nonce").toString("base64url")), NOW),
    judge(requestWith(jwt, {}, ""), NOW),
    judge({ ...requestWith(jwt), client: { host: "127.0.0.1", id: 1, type: "standard" } }, NOW),
    judge(requestWith(jwt), NOW + 60),
    judge(requestWith(jwt, { type: "websocket" }), NOW),
    judge(requestWith(jwt, { type: "leafnode" }), NOW),
  ].map((answer) => answer && !answer.ok && answer.refusal.reason);
  assert.deepEqual(reasons, [
    "proof_invalid",
    "proof_invalid",
    "proof_invalid",
    "proof_expired",
    "connection_type_refused",
    "connection_type_refused",
  ]);
});

test("judgeCarried() leaves everything else to whoever judges proofs", () => {
  const own = judge(requestWith(minted()), NOW);
  assert.ok(own?.ok);
  const others = [
    "",
    "a.b.c",
    minted({ signer: { signingKey: createNkey("account"), accountPublicKey: undefined } }),
    minted({ dangerouslyWithoutTrustedProxy: true }),
    // An answer of ours, which services and lists of connections show.
    own.value.jwt,
  ];
  for (const text of others) assert.equal(judge(requestWith(text), NOW), undefined, text.slice(0, 8));
});
