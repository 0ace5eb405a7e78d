import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { Issuer } from "./issuer.ts";
import type { KeyLookup } from "./jwks.ts";
import { isSignedBy, type Jws } from "./jws.ts";

/**
 * Verifies that the issuer signed it, with a key of its current set and that key's algorithm. Answers at once
 * when the key is there.
 *
 * @returns the JWS; `proof_invalid`; `check_unavailable` when the key is not known and the issuer cannot be asked
 */
export function verifyJws(jws: Jws, issuer: Issuer, now: EpochSeconds): Outcome<Jws> | Promise<Outcome<Jws>> {
  const key = issuer.keys.keyFor(jws.kid, now);
  return key instanceof Promise ? key.then((found) => judge(jws, issuer, found)) : judge(jws, issuer, key);
}

function judge(jws: Jws, issuer: Issuer, key: KeyLookup): Outcome<Jws> {
  if (key.found) {
    return isSignedBy(jws, key.found) ? allowed(jws) : refused({ reason: "proof_invalid", why: "signature" });
  }
  if (key.unavailable !== undefined) {
    return refused({
      reason: "check_unavailable",
      check: `keys of ${issuer.options.name}`,
      why: key.unavailable,
    });
  }
  return refused({ reason: "proof_invalid", why: "its key is not among the issuer's" });
}
