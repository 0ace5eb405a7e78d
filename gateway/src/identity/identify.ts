import { messageOf } from "../errors.ts";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { checkAmbient } from "./ambient.ts";
import type { VerifyBearer } from "./bearer.ts";
import type { CredentialProof, Identity, Presented, Proof, VouchedProof } from "./identity.ts";
import type { NotBeforeKey, SessionStore } from "./session.ts";
import type { SessionStands, VerifySession } from "./session-proof.ts";

export type VerifyVouched = (
  proof: VouchedProof,
  now: EpochSeconds,
) => Outcome<Identity> | Promise<Outcome<Identity>>;

export type Identify = (
  presented: Presented,
  now: EpochSeconds,
) => Outcome<Identity> | Promise<Outcome<Identity>>;

export type VerifyCredential = (proof: CredentialProof, now: EpochSeconds) => Outcome<Identity>;

/**
 * Makes the one judge of who a caller is. Every proof in a request must hold: one that fails refuses the request,
 * whatever else is presented. An ambient proof is first of all asked whether it counts in this request; and
 * whether a user has signed out since is asked every time, of remembered tokens too.
 *
 * Answers at once for a bearer token it has verified before.
 *
 * @returns the Identity; every arm of `ProofRefusal`. Never rejects: a check that cannot be made refuses.
 */
export function createIdentify({
  verifyBearer,
  verifySession,
  verifyVouched,
  verifyCredential,
  sessionStands,
  notBefore,
  origins,
}: {
  readonly verifyBearer: VerifyBearer;
  /** Absent when nobody signs in: cookies are refused as unknown sessions. */
  readonly verifySession?: VerifySession;
  /** Absent when nothing that stands in front is believed about users. */
  readonly verifyVouched?: VerifyVouched;
  /** Absent where no client connects by itself: credentials are refused. */
  readonly verifyCredential?: VerifyCredential;
  /** Absent when nobody signs in: what was made from a session is refused. */
  readonly sessionStands?: SessionStands;
  readonly notBefore: SessionStore["notBefore"];
  /** Serialized origins whose pages may use ambient proofs; the gateway's own is not added. */
  readonly origins: readonly string[];
}): Identify {
  const allowedOrigins: ReadonlySet<string> = new Set(origins);

  function verify(proof: Proof, now: EpochSeconds): Outcome<Identity> | Promise<Outcome<Identity>> {
    if (proof.kind === "bearer") return verifyBearer(proof.token, now);
    if (proof.kind === "credential") return judgeCredential(proof, now);
    if (proof.kind === "session") {
      return verifySession ? verifySession(proof.id, now) : refused({ reason: "session_unknown" });
    }
    return verifyVouched
      ? verifyVouched(proof, now)
      : refused({ reason: "issuer_unknown", issuer: proof.kind });
  }

  /** What was made from a session is worth nothing without it, however the session ended. */
  function judgeCredential(
    proof: CredentialProof,
    now: EpochSeconds,
  ): Outcome<Identity> | Promise<Outcome<Identity>> {
    const identity = verifyCredential?.(proof, now) ?? refused(NO_CREDENTIALS);
    if (!identity.ok || identity.value.proof.kind !== "session") return identity;
    const stands = sessionStands?.(identity.value.proof.hash, now) ?? Promise.resolve(false);
    return stands.then((stands) => (stands ? identity : refused({ reason: "session_unknown" })));
  }

  function judge(proof: Proof, now: EpochSeconds): Outcome<Identity> | Promise<Outcome<Identity>> {
    try {
      const answer = verify(proof, now);
      if (!(answer instanceof Promise)) return unlessRevoked(answer, notBefore);
      return answer.then((identity) => unlessRevoked(identity, notBefore)).catch(unavailable);
    } catch (error) {
      return unavailable(error);
    }
  }

  return function identify(presented, now) {
    const [first, ...rest] = presented.proofs;
    if (!first) return refused({ reason: "proof_missing" });
    if (presented.proofs.some(isAmbient)) {
      const counts = checkAmbient(presented, allowedOrigins);
      if (!counts.ok) return counts;
    }
    if (rest.length === 0) return judge(first, now);
    return Promise.all(presented.proofs.map((proof) => judge(proof, now))).then(unite);
  };
}

/** Whether a browser attaches it by itself, or what stands in front does for it. */
function isAmbient({ kind }: Proof): boolean {
  return kind !== "bearer" && kind !== "credential";
}

const NO_CREDENTIALS: Refusal = { reason: "proof_invalid", why: "no credentials are given here" };

/**
 * Of several proofs of one user the bearer counts, because the caller put it there on purpose, while the browser
 * attaches all others to whatever it sends. Who is two users is nobody.
 */
function unite(outcomes: readonly Outcome<Identity>[]): Outcome<Identity> {
  const identities: Identity[] = [];
  for (const outcome of outcomes) {
    if (!outcome.ok) return outcome;
    identities.push(outcome.value);
  }
  const users = [...new Set(identities.map(({ user }) => user))];
  if (users.length > 1) return refused({ reason: "proof_ambiguous", users });
  const counting = identities.find(({ proof }) => proof.kind === "bearer") ?? identities[0];
  return counting ? allowed(counting) : refused({ reason: "proof_missing" });
}

function unlessRevoked(outcome: Outcome<Identity>, notBefore: SessionStore["notBefore"]): Outcome<Identity> {
  const refusal = outcome.ok ? revocationOf(outcome.value, notBefore) : undefined;
  return refusal ? refused(refusal) : outcome;
}

/**
 * @returns the refusal of a proof made at or before the moment its user, its session or its actor was signed out;
 *   undefined while it stands
 */
export function revocationOf(
  identity: Pick<Identity, "user" | "actor" | "proof" | "provedAt">,
  notBefore: SessionStore["notBefore"],
): Refusal | undefined {
  return (
    revokedBy(identity, { user: identity.user }, notBefore) ??
    (identity.actor && revokedBy(identity, { user: identity.actor.user }, notBefore)) ??
    (identity.proof.kind === "session"
      ? revokedBy(identity, { session: identity.proof.hash }, notBefore)
      : undefined)
  );
}

function revokedBy(
  { provedAt }: Pick<Identity, "provedAt">,
  key: NotBeforeKey,
  notBeforeOf: SessionStore["notBefore"],
): Refusal | undefined {
  const notBefore = notBeforeOf(key);
  return notBefore !== undefined && provedAt <= notBefore
    ? { reason: "proof_revoked", notBefore, provedAt }
    : undefined;
}

function unavailable(error: unknown): Outcome<never> {
  const why = messageOf(error);
  return refused({ reason: "check_unavailable", check: "sessions and sign-outs", why });
}
