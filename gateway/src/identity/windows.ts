import { hash } from "node:crypto";
import { userName } from "@countersign/seal";
import type { SignedIdentity, WindowsAccount } from "../hop/signed-identity.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { Identity } from "./identity.ts";
import { WORD_SECONDS } from "./shared-identity.ts";
import type { UseOnce } from "./used-once.ts";

export type VerifyWindows = (signed: SignedIdentity, now: EpochSeconds) => Promise<Outcome<Identity>>;

/**
 * Makes the verifier of users that IIS signed in by Windows authentication. The user's id is the SID, which stays when
 * an account is renamed and is never given away again; the groups are SIDs and names alike, as the module sends them.
 *
 * @param issuer  its name in the configuration
 * @returns `proof_missing` when nobody is signed in, `groups_overage`, and what `UseOnce` refuses
 */
export function createVerifyWindows({
  issuer,
  useOnce,
}: {
  readonly issuer: string;
  readonly useOnce: UseOnce;
}): VerifyWindows {
  return async function verifyWindows(signed, now) {
    if (!signed.account) return refused({ reason: "proof_missing", why: "IIS signed nobody in" });
    const once = await useOnce(signed, now);
    // A clock of IIS that is ahead must not make a proof newer than a sign-out that came after it.
    return once.ok ? identityOf(issuer, signed.account, Math.min(signed.signedAt, now)) : once;
  };
}

function identityOf(issuer: string, account: WindowsAccount, provedAt: EpochSeconds): Outcome<Identity> {
  const { sid, name, groups, authenticationType } = account;
  // A user without a group that they are in may be allowed more: a rule may say `not`.
  if (groups === "left-out") return refused({ reason: "groups_overage", issuer, claim: "groups" });
  const user = userName(issuer, sid);
  if (user === undefined) return refused({ reason: "proof_invalid", why: "a SID that cannot be a name" });
  const attributes: Record<string, readonly string[]> = Object.create(null);
  const names = groups.flatMap((group) => (group.name === undefined ? [group.sid] : [group.sid, group.name]));
  if (names.length > 0) attributes.groups = [...new Set(names)];
  attributes.authentication = [authenticationType];
  return allowed({
    user,
    issuer,
    id: sid,
    name,
    kind: "user",
    attributes,
    proof: {
      kind: "windows",
      hash: hash("sha256", JSON.stringify(["windows", issuer, account]), "base64url"),
    },
    provedAt,
    expiresAt: provedAt + WORD_SECONDS,
  });
}
