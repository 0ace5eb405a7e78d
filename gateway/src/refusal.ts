import type { EpochSeconds } from "./time.ts";

/**
 * Why not: a tagged value that carries its evidence. The record keeps all of it; the caller learns no more
 * than `problemOf` (endpoints/problem.ts) says.
 */
export type Refusal = ProofRefusal | RequestRefusal | GrantRefusal | EffectRefusal;

/** Who the caller is could not be established. */
export type ProofRefusal =
  /** None that we take; `why` when there was something else in its place. */
  | { readonly reason: "proof_missing"; readonly why?: string }
  /** May be read in two ways: two Authorization headers, a duplicate cookie, a header that only we set. */
  | { readonly reason: "proof_malformed"; readonly why: string }
  /** Not to be believed: no token or session id at all, over the size limit; signature, algorithm, type, key, claims. */
  | { readonly reason: "proof_invalid"; readonly why: string }
  | { readonly reason: "proof_expired"; readonly expiredAt: EpochSeconds; readonly now: EpochSeconds }
  | { readonly reason: "proof_not_yet_valid"; readonly validFrom: EpochSeconds; readonly now: EpochSeconds }
  /** Proved before the user's or the session's not-before: signed out, kicked. */
  | { readonly reason: "proof_revoked"; readonly notBefore: EpochSeconds; readonly provedAt: EpochSeconds }
  | { readonly reason: "issuer_unknown"; readonly issuer: string }
  | { readonly reason: "audience_mismatch"; readonly expected: string; readonly found: readonly string[] }
  /** Proofs of two different users in one request. */
  | { readonly reason: "proof_ambiguous"; readonly users: readonly string[] }
  | { readonly reason: "session_unknown" }
  | { readonly reason: "session_idle"; readonly idleSince: EpochSeconds; readonly now: EpochSeconds }
  /** A proof the browser attaches by itself, in a request that another site may have caused. */
  | { readonly reason: "cross_site"; readonly origin: string | null; readonly fetchSite: string | null }
  /** The provider left the groups out of the token because there were too many. */
  | { readonly reason: "groups_overage"; readonly issuer: string; readonly claim: string }
  /** The sign-in at the identity provider did not end well. */
  | { readonly reason: "login_failed"; readonly step: string; readonly why: string }
  /** A check could not be made: fail closed. */
  | { readonly reason: "check_unavailable"; readonly check: string; readonly why: string };

/** What was asked for is not well-formed, or did not come by the way it should. */
export type RequestRefusal =
  /** It did not come through what stands in front: `proof` says by what that would show. */
  | { readonly reason: "hop_unproven"; readonly proof: string }
  /** It came through what stands in front, which is set up so that it harms us. */
  | { readonly reason: "hop_unfit"; readonly why: string }
  | { readonly reason: "request_invalid"; readonly what: string; readonly why: string }
  | { readonly reason: "subject_invalid"; readonly subject: string; readonly why: string }
  | { readonly reason: "header_refused"; readonly header: string; readonly why: string }
  | { readonly reason: "media_type_unsupported"; readonly found: string; readonly expected: string }
  | { readonly reason: "not_found"; readonly path: string }
  | { readonly reason: "payload_too_large"; readonly bytes: number; readonly bytesMax: number };

/** The caller is known and may not do it, or not now. */
export type GrantRefusal =
  /** No rule allows it. `nearest` is the rule that came closest, for `explain` and the record. */
  | { readonly reason: "not_granted"; readonly action: string; readonly nearest?: RuleRef }
  /** A `never` line forbids it, whatever else allows it. */
  | { readonly reason: "never"; readonly action: string; readonly rule: RuleRef }
  | { readonly reason: "rate_limited"; readonly perSecond: number; readonly retryAfterSeconds: number }
  | { readonly reason: "connections_exceeded"; readonly connectionsMax: number }
  /** CONNECT would exceed the server's max_control_line. */
  | { readonly reason: "credential_too_large"; readonly bytes: number; readonly bytesMax: number }
  /** A client that connects by itself does so in a way, or from an address, that is not configured. */
  | { readonly reason: "connection_type_refused"; readonly type: string }
  | { readonly reason: "source_refused"; readonly remote: string }
  /** The Grant has a limit that nobody would keep if its holder connected by itself. */
  | { readonly reason: "limit_unenforceable"; readonly limit: "payload" | "rate" };

/** It was allowed and could not be done. */
export type EffectRefusal =
  | { readonly reason: "nats_unavailable"; readonly why: string }
  | { readonly reason: "no_responders"; readonly subject: string }
  | { readonly reason: "stream_unknown"; readonly stream: string }
  | { readonly reason: "timeout"; readonly timeoutMs: number }
  /** It was sent, and the connection broke before the answer. */
  | { readonly reason: "connection_lost" }
  /** No stream took it, and certainly none has it: none is there for the subject, or it has no leader. */
  | { readonly reason: "no_stream"; readonly stream: string; readonly subject: string }
  /** A stream other than the one that was named would have taken it. */
  | { readonly reason: "stream_mismatch"; readonly stream: string; readonly subject: string }
  /** A precondition does not hold. `last`: the sequence that stands there instead, where nats-server tells it. */
  | { readonly reason: "precondition_failed"; readonly why: string; readonly last?: number }
  /** The stream does not take it; `code` is nats-server's. */
  | {
      readonly reason: "stream_refused";
      readonly stream: string;
      readonly code: number;
      readonly why: string;
    }
  /** Another message was sent under the same Idempotency-Key. */
  | { readonly reason: "key_reused" }
  /** An earlier request under the same Idempotency-Key is under way. */
  | { readonly reason: "key_in_use"; readonly retryAfterSeconds: number }
  /** An earlier request under the same Idempotency-Key ended unknown, too long ago for the stream to tell copies. */
  | { readonly reason: "key_undecided" }
  /** It was sent, and whether a stream has it could not be learned in time. */
  | { readonly reason: "outcome_unknown"; readonly timeoutMs: number }
  | { readonly reason: "record_unwritable"; readonly why: string }
  | { readonly reason: "capacity_exceeded"; readonly what: string; readonly max: number }
  | { readonly reason: "shutting_down" }
  /** A fault of ours: the operator's log has it. */
  | { readonly reason: "internal_error" };

/** Where a rule stands in the policy. */
export interface RuleRef {
  /** The role it stands in; absent for the policy's own `never`. */
  readonly role?: string;
  /** The line as written: `publish orders.{region}.*.create`. */
  readonly text: string;
  readonly file: string;
  /** 1-based. */
  readonly line: number;
}

export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly refusal: Refusal };

export function allowed<T>(value: T): Outcome<T> {
  return { ok: true, value };
}

export function refused(refusal: Refusal): { readonly ok: false; readonly refusal: Refusal } {
  return { ok: false, refusal };
}
