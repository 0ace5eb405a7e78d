import assert from "node:assert/strict";
import { test } from "node:test";
import type { SignedIdentity } from "../hop/signed-identity.ts";
import { allowed, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { Identity, VouchedProof } from "./identity.ts";
import { createUseOnce } from "./used-once.ts";
import { createVerifyVouched } from "./vouched.ts";
import { createVerifyWindows } from "./windows.ts";

const now = 1_790_000_000;
const account = { authenticationType: "NTLM", sid: "S-1-5-21-1-2-3-1103", name: "CORP\\alice", groups: [] };
let count = 0;
function signed(): SignedIdentity {
  count += 1;
  return { signedAt: now, nonce: count.toString(16).padStart(32, "0"), method: "GET", account };
}

function identityAt(provedAt: EpochSeconds): Identity {
  return {
    user: "certs-orders",
    issuer: "certs",
    id: "orders",
    kind: "user",
    attributes: {},
    proof: { kind: "certificate", hash: "h" },
    provedAt,
    expiresAt: provedAt + 60,
  };
}

function verifier() {
  const useOnce = createUseOnce({ startedAt: now - 60 });
  return createVerifyVouched({
    verifyWindows: createVerifyWindows({ issuer: "iis", useOnce }),
    verifyCertificate: (_der, at) => allowed(identityAt(at)),
    useOnce,
    notBefore: () => undefined,
  });
}

const USED = refused({ reason: "proof_invalid", why: "an identity from IIS that was used before" });

test("verifyVouched() judges a proof once, so that it was given when it was given", async () => {
  const verify = verifier();
  const proof: VouchedProof = { kind: "certificate", der: Buffer.from("der") };
  const first = await verify(proof, now);
  assert.equal(first.ok && first.value.provedAt, now);
  const later = await verify(proof, now + 59);
  assert.equal(later.ok && later.value.provedAt, now);
  assert.deepEqual(
    await verify(proof, now + 60),
    refused({ reason: "proof_expired", expiredAt: now + 60, now: now + 60 }),
  );
});

test("verifyVouched() lets one signature stand behind the account and the certificate of one request, and no more", async () => {
  const verify = verifier();
  const one = signed();
  const windows: VouchedProof = { kind: "windows", signed: one };
  const certificate: VouchedProof = { kind: "certificate", der: Buffer.from("der"), signed: one };
  const both = await Promise.all([verify(windows, now), verify(certificate, now)]);
  assert.deepEqual(
    both.map((outcome) => outcome.ok && outcome.value.user),
    ["iis-S-1-5-21-1-2-3-1103", "certs-orders"],
  );
  assert.deepEqual(await verify({ kind: "windows", signed: { ...one } }, now), USED);
  assert.deepEqual(await verify({ ...certificate, signed: { ...one } }, now), USED);
});

test("verifyVouched() gives requests of whom the same is said one Identity", async () => {
  const verify = verifier();
  const [first, second] = [
    await verify({ kind: "windows", signed: signed() }, now),
    await verify({ kind: "windows", signed: signed() }, now),
  ];
  assert(first.ok && second.ok);
  assert.equal(second.value, first.value);
});

test("verifyVouched() refuses what no issuer speaks", async () => {
  const verify = verifier();
  assert.deepEqual(
    await verify({ kind: "easy-auth", principal: "abc" }, now),
    refused({ reason: "issuer_unknown", issuer: "easy-auth" }),
  );
});
