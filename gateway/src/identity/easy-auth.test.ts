import assert from "node:assert/strict";
import { test } from "node:test";
import { refused } from "../refusal.ts";
import { createVerifyEasyAuth } from "./easy-auth.ts";

const now = 1_790_000_000;
const tenant = "9f2c0000-0000-0000-0000-000000000000";
const verify = createVerifyEasyAuth({ issuer: "azure", tenant });
const TENANT = { typ: "http://schemas.microsoft.com/identity/claims/tenantid", val: tenant };
const ID = { typ: "http://schemas.microsoft.com/identity/claims/objectidentifier", val: "1b7e" };

function principal(claims: readonly unknown[], more: object = {}): string {
  const text = JSON.stringify({ auth_typ: "aad", claims, name_typ: "n", role_typ: "r", ...more });
  return Buffer.from(text).toString("base64");
}

test("verifyEasyAuth() names a user by object id, with groups and roles", () => {
  const claims = [
    TENANT,
    ID,
    { typ: "groups", val: "g1" },
    { typ: "groups", val: "g2" },
    { typ: "roles", val: "Clerk" },
  ];
  const outcome = verify(principal(claims), now);
  assert(outcome.ok, JSON.stringify(outcome));
  const { attributes, proof, ...identity } = outcome.value;
  assert.deepEqual(identity, {
    user: "azure-1b7e",
    issuer: "azure",
    id: "1b7e",
    kind: "user",
    provedAt: now,
    expiresAt: now + 3_600,
  });
  assert.deepEqual({ ...attributes }, { groups: ["g1", "g2"], roles: ["Clerk"] });
  assert.equal(proof.kind, "easy-auth");
});

test("verifyEasyAuth() refuses another tenant's, another provider's, and who has no id or two", () => {
  const reasons = {
    "it is another tenant's": [
      principal([ID]),
      principal([{ ...TENANT, val: "x" }, ID]),
      principal([TENANT, TENANT, ID]),
    ],
    "its user id is missing or cannot be a name": [
      principal([TENANT]),
      principal([TENANT, ID, ID]),
      principal([TENANT, { ...ID, val: "" }]),
    ],
    "it is no principal of Entra": [
      principal([TENANT, ID], { auth_typ: "google" }),
      "",
      "bm8=",
      principal([1]),
      principal(Array(1_001).fill({ typ: "", val: "" })),
    ],
    "a principal over the size limit": ["A".repeat(32_769)],
  };
  for (const [why, values] of Object.entries(reasons)) {
    for (const value of values)
      assert.deepEqual(verify(value, now), refused({ reason: "proof_invalid", why }));
  }
});
