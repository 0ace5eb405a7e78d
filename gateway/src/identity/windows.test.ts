import assert from "node:assert/strict";
import { test } from "node:test";
import type { SignedIdentity, WindowsAccount } from "../hop/signed-identity.ts";
import { allowed, refused } from "../refusal.ts";
import { createVerifyWindows } from "./windows.ts";

const now = 1_790_000_000;
const account: WindowsAccount = {
  authenticationType: "Negotiate",
  sid: "S-1-5-21-1004336348-1177238915-682003330-1103",
  name: "CORP\\alice",
  groups: [
    { sid: "S-1-5-32-545" },
    { sid: "S-1-5-21-1-2-3-1201", name: "CORP\\OrderClerks" },
    { sid: "S-1-5-32-545" },
  ],
};
const signed: SignedIdentity = { signedAt: now - 5, nonce: "0".repeat(32), method: "GET", account };
const verify = createVerifyWindows({ issuer: "iis", useOnce: async () => allowed(undefined) });

test("verifyWindows() names a user by SID, with the groups by SID and name", async () => {
  const outcome = await verify(signed, now);
  assert(outcome.ok);
  const { attributes, proof, ...identity } = outcome.value;
  assert.deepEqual(identity, {
    user: "iis-S-1-5-21-1004336348-1177238915-682003330-1103",
    issuer: "iis",
    id: account.sid,
    name: "CORP\\alice",
    kind: "user",
    provedAt: now - 5,
    expiresAt: now - 5 + 3_600,
  });
  assert.deepEqual(
    { ...attributes },
    {
      groups: ["S-1-5-32-545", "S-1-5-21-1-2-3-1201", "CORP\\OrderClerks"],
      authentication: ["Negotiate"],
    },
  );
  assert.equal(Object.getPrototypeOf(attributes), null);
  assert.equal(proof.kind, "windows");
  assert.match(proof.hash, /^[A-Za-z0-9_-]{43}$/);
});

test("verifyWindows() takes no clock of IIS for the future: a sign-out now must come after it", async () => {
  const ahead = await verify({ ...signed, signedAt: now + 50 }, now);
  assert.equal(ahead.ok && ahead.value.provedAt, now);
});

test("verifyWindows() refuses who is nobody, whose groups were left out, and what was used", async () => {
  const { account: _, ...anonymous } = signed;
  assert.deepEqual(
    await verify(anonymous, now),
    refused({ reason: "proof_missing", why: "IIS signed nobody in" }),
  );
  assert.deepEqual(
    await verify({ ...signed, account: { ...account, groups: "left-out" } }, now),
    refused({ reason: "groups_overage", issuer: "iis", claim: "groups" }),
  );
  const used = refused({ reason: "proof_invalid", why: "used" });
  const refuses = createVerifyWindows({ issuer: "iis", useOnce: async () => used });
  assert.deepEqual(await refuses(signed, now), used);
});

test("verifyWindows() gives another proof hash when anything that is said of the user changes", async () => {
  const hashes = new Set<string>();
  for (const each of [
    account,
    { ...account, groups: [] },
    { ...account, name: "CORP\\alicia" },
    { ...account, authenticationType: "NTLM" },
  ]) {
    const outcome = await verify({ ...signed, account: each }, now);
    if (outcome.ok) hashes.add(outcome.value.proof.hash);
  }
  assert.equal(hashes.size, 4);
});
