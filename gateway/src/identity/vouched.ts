import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { VerifyCertificate } from "./certificate.ts";
import type { VerifyEasyAuth } from "./easy-auth.ts";
import type { VerifyVouched } from "./identify.ts";
import type { Identity, VouchedProof } from "./identity.ts";
import type { SessionStore } from "./session.ts";
import { createShareIdentity } from "./shared-identity.ts";
import type { UseOnce } from "./used-once.ts";
import type { VerifyWindows } from "./windows.ts";

export interface VouchedParts {
  /** Each is absent when no issuer speaks that way: then its proofs are refused. */
  readonly verifyWindows?: VerifyWindows | undefined;
  readonly verifyCertificate?: VerifyCertificate | undefined;
  readonly verifyEasyAuth?: VerifyEasyAuth | undefined;
  readonly useOnce: UseOnce;
  readonly notBefore: SessionStore["notBefore"];
}

/**
 * Makes the verifier of what a proven hop says of users. A proof is of one request, or one connection, and judged once:
 * asked again later, it was still given when it was given, so that a sign-out that came between counts.
 */
export function createVerifyVouched(parts: VouchedParts): VerifyVouched {
  const { verifyWindows, verifyCertificate, verifyEasyAuth, useOnce, notBefore } = parts;
  const share = createShareIdentity(notBefore);
  const judged = new WeakMap<VouchedProof, Promise<Outcome<Identity>>>();

  async function judge(proof: VouchedProof, now: EpochSeconds): Promise<Outcome<Identity>> {
    switch (proof.kind) {
      case "windows":
        return verifyWindows ? verifyWindows(proof.signed, now) : unknownIssuer(proof);
      case "certificate": {
        const once = proof.signed ? await useOnce(proof.signed, now) : allowed(undefined);
        if (!once.ok) return once;
        return verifyCertificate ? verifyCertificate(proof.der, now) : unknownIssuer(proof);
      }
      case "easy-auth":
        return verifyEasyAuth ? verifyEasyAuth(proof.principal, now) : unknownIssuer(proof);
    }
  }

  return async function verifyVouched(proof, now) {
    const judging = judged.get(proof) ?? judge(proof, now);
    judged.set(proof, judging);
    const outcome = await judging;
    if (!outcome.ok) return outcome;
    const { expiresAt } = outcome.value;
    return now < expiresAt
      ? allowed(share(outcome.value))
      : refused({ reason: "proof_expired", expiredAt: expiresAt, now });
  };
}

function unknownIssuer({ kind }: VouchedProof): Outcome<never> {
  return refused({ reason: "issuer_unknown", issuer: kind });
}
