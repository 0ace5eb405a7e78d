import assert from "node:assert/strict";
import { test } from "node:test";
import type { Refusal } from "../refusal.ts";
import { problemOf } from "./problem.ts";

const publicUrl = "https://apps.example.com/bus";
const requestId = "0193-1";
const rule = { role: "clerk-hidden", text: "publish hidden.>", file: "hidden.yaml", line: 7 };

/** One of every arm: the compiler refuses a table that forgets one. Everything "hidden" must not come out. */
const arms: {
  readonly [R in Refusal["reason"]]: readonly [Extract<Refusal, { reason: R }>, number, string];
} = {
  proof_missing: [{ reason: "proof_missing" }, 401, "unauthenticated"],
  proof_malformed: [{ reason: "proof_malformed", why: "hidden" }, 400, "invalid_proof"],
  proof_invalid: [{ reason: "proof_invalid", why: "hidden" }, 401, "unauthenticated"],
  proof_expired: [{ reason: "proof_expired", expiredAt: 666_001, now: 666_002 }, 401, "unauthenticated"],
  proof_not_yet_valid: [
    { reason: "proof_not_yet_valid", validFrom: 666_001, now: 666_002 },
    401,
    "unauthenticated",
  ],
  proof_revoked: [{ reason: "proof_revoked", notBefore: 666_001, provedAt: 666_002 }, 401, "unauthenticated"],
  issuer_unknown: [{ reason: "issuer_unknown", issuer: "https://hidden" }, 401, "unauthenticated"],
  audience_mismatch: [
    { reason: "audience_mismatch", expected: "hidden", found: ["hidden"] },
    401,
    "unauthenticated",
  ],
  proof_ambiguous: [{ reason: "proof_ambiguous", users: ["hidden-a", "hidden-b"] }, 400, "invalid_proof"],
  session_unknown: [{ reason: "session_unknown" }, 401, "unauthenticated"],
  session_idle: [{ reason: "session_idle", idleSince: 666_001, now: 666_002 }, 401, "unauthenticated"],
  cross_site: [{ reason: "cross_site", origin: "https://hidden", fetchSite: "hidden" }, 403, "not_allowed"],
  groups_overage: [{ reason: "groups_overage", issuer: "hidden", claim: "hidden" }, 403, "not_allowed"],
  login_failed: [{ reason: "login_failed", step: "hidden", why: "hidden" }, 400, "invalid_login"],
  check_unavailable: [{ reason: "check_unavailable", check: "hidden", why: "hidden" }, 503, "unavailable"],
  hop_unproven: [{ reason: "hop_unproven", proof: "hidden" }, 400, "invalid_request"],
  hop_unfit: [{ reason: "hop_unfit", why: "hidden" }, 503, "unavailable"],
  request_invalid: [
    { reason: "request_invalid", what: "timeout", why: "not a duration" },
    400,
    "invalid_request",
  ],
  subject_invalid: [
    { reason: "subject_invalid", subject: "hidden..", why: "an empty token" },
    400,
    "invalid_subject",
  ],
  header_refused: [
    { reason: "header_refused", header: "nats-rollup", why: "is ours" },
    400,
    "invalid_header",
  ],
  media_type_unsupported: [
    { reason: "media_type_unsupported", found: "hidden", expected: "application/json" },
    415,
    "unsupported_media_type",
  ],
  not_found: [{ reason: "not_found", path: "/hidden" }, 404, "not_found"],
  payload_too_large: [
    { reason: "payload_too_large", bytes: 666_001, bytesMax: 64 },
    413,
    "payload_too_large",
  ],
  not_granted: [{ reason: "not_granted", action: "publish hidden", nearest: rule }, 403, "not_allowed"],
  never: [{ reason: "never", action: "publish hidden", rule }, 403, "not_allowed"],
  rate_limited: [{ reason: "rate_limited", perSecond: 50, retryAfterSeconds: 0.2 }, 429, "rate_limited"],
  connections_exceeded: [{ reason: "connections_exceeded", connectionsMax: 5 }, 429, "connections_exceeded"],
  credential_too_large: [
    { reason: "credential_too_large", bytes: 666_001, bytesMax: 666_002 },
    403,
    "not_allowed",
  ],
  connection_type_refused: [{ reason: "connection_type_refused", type: "hidden" }, 403, "not_allowed"],
  source_refused: [{ reason: "source_refused", remote: "hidden" }, 403, "not_allowed"],
  limit_unenforceable: [{ reason: "limit_unenforceable", limit: "payload" }, 403, "not_allowed"],
  nats_unavailable: [{ reason: "nats_unavailable", why: "hidden" }, 503, "unavailable"],
  no_responders: [{ reason: "no_responders", subject: "hidden" }, 503, "no_responders"],
  stream_unknown: [{ reason: "stream_unknown", stream: "ORDERS" }, 404, "not_found"],
  timeout: [{ reason: "timeout", timeoutMs: 666_001 }, 504, "timeout"],
  connection_lost: [{ reason: "connection_lost" }, 503, "unavailable"],
  no_stream: [{ reason: "no_stream", stream: "ORDERS", subject: "orders.1" }, 503, "no_responders"],
  stream_mismatch: [
    { reason: "stream_mismatch", stream: "ORDERS", subject: "orders.1" },
    412,
    "precondition_failed",
  ],
  precondition_failed: [
    { reason: "precondition_failed", why: "the last sequence is 5", last: 5 },
    412,
    "precondition_failed",
  ],
  stream_refused: [
    { reason: "stream_refused", stream: "hidden", code: 666_001, why: "hidden" },
    503,
    "unavailable",
  ],
  key_reused: [{ reason: "key_reused" }, 422, "key_reused"],
  key_in_use: [{ reason: "key_in_use", retryAfterSeconds: 0.2 }, 409, "key_in_use"],
  key_undecided: [{ reason: "key_undecided" }, 409, "key_in_use"],
  outcome_unknown: [{ reason: "outcome_unknown", timeoutMs: 2_000 }, 504, "outcome_unknown"],
  record_unwritable: [{ reason: "record_unwritable", why: "hidden" }, 503, "unavailable"],
  capacity_exceeded: [{ reason: "capacity_exceeded", what: "hidden", max: 666_001 }, 503, "unavailable"],
  internal_error: [{ reason: "internal_error" }, 500, "internal_error"],
  shutting_down: [{ reason: "shutting_down" }, 503, "unavailable"],
};

for (const [refusal, status, code] of Object.values(arms)) {
  test(`problemOf() answers ${status} ${code} to ${refusal.reason} and keeps its evidence`, () => {
    const problem = problemOf(refusal, { publicUrl, requestId });
    assert.equal(problem.status, status);
    assert.equal(problem.body.status, status);
    assert.equal(problem.body.code, code);
    assert.equal(problem.body.type, `https://apps.example.com/bus/problems/${code}`);
    assert.equal(problem.body.requestId, requestId);
    assert.doesNotMatch(JSON.stringify(problem), /hidden|666/);
    assert.equal(problem.headers["content-type"], "application/problem+json");
    assert.equal("www-authenticate" in problem.headers, status === 401 || code === "invalid_proof");
    const isLater = status === 429 || status === 503 || refusal.reason === "key_in_use";
    assert.equal("retry-after" in problem.headers, isLater);
  });
}

test("problemOf() challenges with RFC 9728 metadata at the origin's root, and no error where nothing was presented", () => {
  const challenge = (refusal: Refusal, url: string) =>
    problemOf(refusal, { publicUrl: url, requestId }).headers["www-authenticate"];
  assert.equal(
    challenge({ reason: "proof_missing" }, publicUrl),
    'Bearer resource_metadata="https://apps.example.com/.well-known/oauth-protected-resource/bus"',
  );
  assert.equal(
    challenge({ reason: "session_unknown" }, "http://127.0.0.1:8480"),
    'Bearer error="invalid_token", resource_metadata="http://127.0.0.1:8480/.well-known/oauth-protected-resource"',
  );
});

test("problemOf() gives one answer to whatever is wrong with a proof, and one to whatever the policy says", () => {
  const answer = (...of: Refusal[]) =>
    new Set(of.map((r) => JSON.stringify(problemOf(r, { publicUrl, requestId }))));
  const { proof_invalid, proof_expired, proof_revoked, issuer_unknown, audience_mismatch } = arms;
  const proofs = [proof_invalid, proof_expired, proof_revoked, issuer_unknown, audience_mismatch];
  assert.equal(answer(...proofs.map(([refusal]) => refusal)).size, 1);
  assert.equal(answer(arms.not_granted[0], arms.never[0]).size, 1);
});

test("problemOf() rounds Retry-After up to whole seconds, since 0 would invite at once", () => {
  const after = (retryAfterSeconds: number) =>
    problemOf({ reason: "rate_limited", perSecond: 1, retryAfterSeconds }, { publicUrl, requestId }).headers[
      "retry-after"
    ];
  assert.deepEqual([after(0), after(0.01), after(1.5)], ["1", "1", "2"]);
});

test("problemOf() cuts and cleans what the caller sent before it sends it back", () => {
  const refusal: Refusal = { reason: "request_invalid", what: "a\u001b[31m", why: "x".repeat(5_000) };
  const { detail } = problemOf(refusal, { publicUrl, requestId }).body;
  assert.equal(detail?.length, 300);
  assert.ok(detail?.startsWith("a?[31m: xxx"));
});
