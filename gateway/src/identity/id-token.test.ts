import assert from "node:assert/strict";
import { test } from "node:test";
import type { Refusal } from "../refusal.ts";
import { verifyIdToken } from "./id-token.ts";
import { createIssuers } from "./issuer.ts";
import { startTestIssuer } from "./testing/issuer.ts";

const now = 1_800_000_000;

// openid-client judges most of this before; what is verified here holds without it.
test("verifyIdToken() judges every claim itself", async () => {
  await using provider = await startTestIssuer();
  const client = { id: "gw", secret: () => "s" };
  const [issuer = assert.fail()] = createIssuers([
    { name: "demo", url: provider.url, audience: "countersign", client },
  ]).all;
  const good = { iss: provider.url, aud: "gw", sub: "alice", iat: now, exp: now + 604_800, sid: "sid-1" };
  const refusalOf = async (claims: object, typ: string | undefined = "JWT"): Promise<Refusal | undefined> => {
    const outcome = await verifyIdToken(provider.sign({ ...good, ...claims }, { typ }), issuer, client, now);
    return outcome.ok ? undefined : outcome.refusal;
  };
  const { value } = (await verifyIdToken(provider.sign(good, { typ: "JWT" }), issuer, client, now)) as {
    value?: object;
  };
  const attributes = Object.create(null);
  assert.deepEqual(value, {
    who: { user: "demo-alice", issuer: "demo", id: "alice", attributes },
    upstreamSid: "sid-1",
  });
  for (const [claims, refusal] of [
    [{ iss: "https://evil.example" }, { reason: "proof_invalid", why: "it is another issuer's" }],
    [{ aud: "countersign" }, { reason: "audience_mismatch", expected: "gw", found: ["countersign"] }],
    [{ exp: now }, { reason: "proof_expired", expiredAt: now, now }],
    [{ iat: now + 31 }, { reason: "proof_not_yet_valid", validFrom: now + 31, now }],
    [{ sub: "" }, { reason: "proof_invalid", why: "its user id is missing or cannot be a name" }],
    [{ padding: "x".repeat(65_536) }, { reason: "proof_invalid", why: "a token over the size limit" }],
  ] as const) {
    assert.deepEqual(await refusalOf(claims), refusal);
  }
  const type = { reason: "proof_invalid", why: "its type is not that of an ID token" };
  for (const typ of ["at+jwt", "logout+jwt", "txntoken+jwt", "seal-root+jwt"]) {
    assert.deepEqual(await refusalOf({}, typ), type);
  }
});
