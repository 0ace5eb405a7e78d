import type { Refusal } from "../refusal.ts";

/** An HTTP answer in words of RFC 9457. */
export interface Problem {
  readonly status: number;
  /** Lower-case names; `X-Request-Id` is not among them, since every response carries it, not only problems. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ProblemBody;
}

/** `application/problem+json` (RFC 9457 §3), with two extension members: `code` and `requestId`. */
export interface ProblemBody {
  /** `<public-url>/problems/<code>` */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ProblemCode;
  /** One sentence of ours, or a cut part of what the caller sent itself; at most 300 characters. */
  readonly detail?: string;
  readonly requestId: string;
  /** Of a sequence that a precondition did not meet: the one that stands there. */
  readonly lastSequence?: number;
}

export type ProblemCode = keyof typeof PROBLEM_TITLES;

export const PROBLEM_TITLES = {
  invalid_proof: "The proof of identity is not well-formed",
  invalid_login: "The sign-in did not complete",
  invalid_request: "The request is not well-formed",
  invalid_subject: "The subject is not well-formed",
  invalid_header: "A header is not accepted",
  unauthenticated: "Authentication is needed",
  not_allowed: "Not allowed",
  not_found: "Not found",
  payload_too_large: "The payload is too large",
  unsupported_media_type: "The media type is not supported",
  rate_limited: "Too many messages",
  connections_exceeded: "Too many streams and connections",
  unavailable: "Not available now",
  no_responders: "Nobody answers on this subject",
  timeout: "No answer in time",
  precondition_failed: "A precondition does not hold",
  outcome_unknown: "Whether it was stored is not known",
  key_in_use: "The Idempotency-Key is in use",
  key_reused: "Another message has this Idempotency-Key",
  invalid_policy: "The policy may not go live",
  conflict: "Somebody else changed it meanwhile",
  internal_error: "The gateway failed",
} as const;

/** Each code means one status, so that whoever reads either may know the other. */
export const PROBLEM_STATUS: Readonly<Record<ProblemCode, number>> = {
  invalid_proof: 400,
  invalid_login: 400,
  invalid_request: 400,
  invalid_subject: 400,
  invalid_header: 400,
  unauthenticated: 401,
  not_allowed: 403,
  not_found: 404,
  payload_too_large: 413,
  unsupported_media_type: 415,
  rate_limited: 429,
  connections_exceeded: 429,
  unavailable: 503,
  no_responders: 503,
  timeout: 504,
  precondition_failed: 412,
  outcome_unknown: 504,
  key_in_use: 409,
  key_reused: 422,
  invalid_policy: 422,
  conflict: 409,
  internal_error: 500,
};

/** Long enough for a restart of nats-server or an audit disk's hiccup, short enough that a page recovers by itself. */
const RETRY_AFTER_SECONDS = 5;

/** Keeps a hostile name or an over-long reason from growing the answer. */
const DETAIL_CHARACTERS_MAX = 300;

/** What a caller may know, before it is dressed as HTTP. */
export interface Face {
  readonly code: ProblemCode;
  readonly detail?: string;
  /** `error` of the Bearer challenge (RFC 6750 §3.1); null = a challenge without one, absent = no challenge. */
  readonly challenge?: "invalid_token" | "invalid_request" | null;
  readonly retryAfterSeconds?: number;
  readonly lastSequence?: number;
}

/**
 * Tells a caller why not: vague where evidence would be an oracle (which check failed, which rule, which users),
 * exact where the caller can only know it from us (what of its own request to mend). The record keeps the rest.
 *
 * @source RFC 9457; RFC 6750 §3 and RFC 9728 §5.1 for the challenge
 */
export function problemOf(refusal: Refusal, where: Where): Problem {
  return dress(faceOf(refusal), where);
}

interface Where {
  /** Normalised, without a trailing slash. */
  readonly publicUrl: string;
  readonly requestId: string;
}

/** For what is answered like a refusal and is none: the policy allowed it, and it went wrong otherwise. */
export function dress(face: Face, where: Where): Problem {
  const status = PROBLEM_STATUS[face.code];
  const headers: Record<string, string> = {
    "content-type": "application/problem+json",
    "cache-control": "no-store",
  };
  if (face.challenge !== undefined)
    headers["www-authenticate"] = challengeOf(face.challenge, where.publicUrl);
  if (face.retryAfterSeconds !== undefined) headers["retry-after"] = String(face.retryAfterSeconds);
  return {
    status,
    headers,
    body: {
      type: `${where.publicUrl}/problems/${face.code}`,
      title: PROBLEM_TITLES[face.code],
      status,
      code: face.code,
      ...(face.detail === undefined ? {} : { detail: cut(face.detail) }),
      requestId: where.requestId,
      ...(face.lastSequence !== undefined && { lastSequence: face.lastSequence }),
    },
  };
}

function faceOf(refusal: Refusal): Face {
  switch (refusal.reason) {
    case "proof_missing":
      // RFC 6750 §3.1: no error code for a request that presented nothing, or by a method that is not supported.
      return { code: "unauthenticated", challenge: null, detail: "Sign in or present a token." };
    case "proof_malformed":
      return {
        code: "invalid_proof",
        challenge: "invalid_request",
        detail: "Present one proof of identity, once, in its usual form.",
      };
    case "proof_ambiguous":
      return {
        code: "invalid_proof",
        challenge: "invalid_request",
        detail: "The request carries proofs of more than one user; present one.",
      };
    case "proof_invalid":
    case "proof_expired":
    case "proof_not_yet_valid":
    case "proof_revoked":
    case "issuer_unknown":
    case "audience_mismatch":
    case "session_unknown":
    case "session_idle":
      // One answer for all: which check failed would tell a forger what to mend.
      return {
        code: "unauthenticated",
        challenge: "invalid_token",
        detail: "The proof of identity is not accepted; sign in again or present a fresh token.",
      };
    case "cross_site":
      return {
        code: "not_allowed",
        detail:
          "Another site may have caused this request; send it from an allowed origin, or with the header Countersign-Request: 1.",
      };
    case "groups_overage":
      // Not 401: a browser would sign in again, and again, and get the same token.
      return {
        code: "not_allowed",
        detail:
          "The identity provider left your groups out of the token because there are too many. Your administrator can use application roles, or limit the groups to those assigned to the application.",
      };
    case "login_failed":
      return { code: "invalid_login", detail: "Start the sign-in again." };
    case "hop_unproven":
      return {
        code: "invalid_request",
        detail: "The request did not come by the way that this gateway is reached.",
      };
    case "request_invalid":
      return { code: "invalid_request", detail: `${refusal.what}: ${refusal.why}` };
    case "subject_invalid":
      return { code: "invalid_subject", detail: refusal.why };
    case "header_refused":
      return { code: "invalid_header", detail: `${refusal.header}: ${refusal.why}` };
    case "media_type_unsupported":
      return { code: "unsupported_media_type", detail: `Expected ${refusal.expected}.` };
    case "not_found":
      return { code: "not_found" };
    case "stream_unknown":
      return { code: "not_found", detail: `There is no stream ${refusal.stream}.` };
    case "payload_too_large":
      return { code: "payload_too_large", detail: `At most ${refusal.bytesMax} bytes.` };
    case "not_granted":
    case "never":
      // One answer for both: that a `never` line exists is the policy's business.
      return {
        code: "not_allowed",
        detail: "The policy does not allow you this. GET v1/explain says what you may know of why.",
      };
    case "credential_too_large":
      return {
        code: "not_allowed",
        detail:
          "Your permissions do not fit into one NATS credential here. Your administrator can narrow the policy or raise max_control_line.",
      };
    case "limit_unenforceable":
      return {
        code: "not_allowed",
        detail: `Your role limits your ${refusal.limit}, which nobody could keep if you connected by yourself. Your administrator can give this right in a role without that limit.`,
      };
    case "connection_type_refused":
    case "source_refused":
      return {
        code: "not_allowed",
        detail: "Clients do not connect by themselves in this way, or from this address.",
      };
    case "rate_limited":
      return {
        code: "rate_limited",
        retryAfterSeconds: Math.max(1, Math.ceil(refusal.retryAfterSeconds)),
        detail: `At most ${refusal.perSecond} messages a second.`,
      };
    case "connections_exceeded":
      return {
        code: "connections_exceeded",
        retryAfterSeconds: RETRY_AFTER_SECONDS,
        detail: `At most ${refusal.connectionsMax} at once; close one first.`,
      };
    case "no_responders":
      return { code: "no_responders", retryAfterSeconds: RETRY_AFTER_SECONDS };
    case "timeout":
      return { code: "timeout" };
    case "no_stream":
      return {
        code: "no_responders",
        retryAfterSeconds: RETRY_AFTER_SECONDS,
        // From outside, a stream without a leader and no stream at all look alike.
        detail: `Nothing was stored: no stream takes ${refusal.subject} now. Either none is there for it, or the stream elects a leader; then send it again.`,
      };
    case "stream_mismatch":
      return {
        code: "precondition_failed",
        detail: `Nothing was stored: the stream ${refusal.stream} does not take ${refusal.subject}, another stream does.`,
      };
    case "precondition_failed":
      return {
        code: "precondition_failed",
        detail: `Nothing was stored: ${refusal.why}.`,
        ...(refusal.last !== undefined && { lastSequence: refusal.last }),
      };
    case "key_reused":
      return {
        code: "key_reused",
        detail: "You sent another message under this Idempotency-Key; a new message needs a new key.",
      };
    case "key_in_use":
      return {
        code: "key_in_use",
        retryAfterSeconds: Math.max(1, Math.ceil(refusal.retryAfterSeconds)),
        detail:
          "An earlier request under this Idempotency-Key is under way; send it again to learn what came of it.",
      };
    case "key_undecided":
      return {
        code: "key_in_use",
        detail:
          "Whether an earlier request under this Idempotency-Key was stored is not known, and the stream tells no copies apart any more. Look in the stream; to send it anew, use a new key.",
      };
    case "outcome_unknown":
      return {
        code: "outcome_unknown",
        detail: `No acknowledgement within ${refusal.timeoutMs} ms: the stream may have it or not. With an Idempotency-Key, send it again under the same key; without one, look in the stream first.`,
      };
    case "internal_error":
      return { code: "internal_error", detail: "Give the request id to your administrator." };
    case "hop_unfit":
    case "check_unavailable":
    case "nats_unavailable":
    case "connection_lost":
    case "stream_refused":
    case "record_unwritable":
    case "capacity_exceeded":
    case "shutting_down":
      return { code: "unavailable", retryAfterSeconds: RETRY_AFTER_SECONDS };
  }
}

function challengeOf(error: "invalid_token" | "invalid_request" | null, publicUrl: string): string {
  const { origin, pathname } = new URL(publicUrl);
  // RFC 9728 §3.1 inserts the well-known string between host and path.
  const metadata = `${origin}/.well-known/oauth-protected-resource${pathname === "/" ? "" : pathname}`;
  return `Bearer ${error === null ? "" : `error="${error}", `}resource_metadata="${metadata}"`;
}

function cut(detail: string): string {
  const plain = detail.replace(/[^\x20-\x7e]/g, "?");
  return plain.length <= DETAIL_CHARACTERS_MAX ? plain : `${plain.slice(0, DETAIL_CHARACTERS_MAX - 3)}...`;
}
