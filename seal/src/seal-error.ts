/**
 * Why a message is not to be believed. Match on `code`; the message may improve. It never quotes the seal, the
 * payload or a header's value.
 */
export class SealError extends Error {
  override readonly name = "SealError";
  readonly code: SealErrorCode;

  constructor(code: SealErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export type SealErrorCode = (typeof SEAL_ERROR_CODES)[number];

/** In the order in which the checks are made. `seal/README.md` explains each; `seal/vectors` has an example of each. */
export const SEAL_ERROR_CODES = [
  /** A part exceeds its bound: a header of the seal, the headers together, the payload. */
  "too_large",
  /** There is no seal. */
  "seal_missing",
  /** More than one seal, or both forms: the same header twice, also in different case. */
  "seal_ambiguous",
  /** `Seal-Claims`, `Seal-Path` and `Seal-Root` are not all there. */
  "seal_incomplete",
  /** Not base64url, JWS, UTF-8 or JSON in the one accepted spelling; a duplicate key. */
  "encoding_invalid",
  /** The JWS header has another `typ`. */
  "typ_wrong",
  /** The JWS header has another `alg`. */
  "alg_wrong",
  /** The JWS header has a parameter besides `typ`, `alg` and `kid`, or an ill-formed `kid`. */
  "header_invalid",
  /** No key set could be read: try again. The only code besides `revocation_unavailable` that may pass by itself. */
  "keys_unavailable",
  /** The key set has no such key. */
  "kid_unknown",
  /** The key was withdrawn. */
  "key_revoked",
  /** Not signed by that key. */
  "signature_wrong",
  /** What the tree's signature covers is not well-formed. */
  "root_invalid",
  /** The claims are not well-formed. */
  "claims_invalid",
  /** `Seal-Path` does not fit the size of the tree. */
  "path_invalid",
  /** The path does not lead from these claims to the signed root. */
  "root_mismatch",
  /** The claims disagree with what the tree's signature covers. */
  "claims_mismatch",
  /** Sealed by another gateway. */
  "issuer_wrong",
  /** Sealed for another trust domain: staging, say. */
  "audience_wrong",
  /** The key was not in use at `iat`. */
  "key_not_valid",
  /** The broker took the message before it was sealed. */
  "too_early",
  /** The broker took the message after the seal had expired. */
  "expired",
  /** Older than `maxAgeSeconds`. */
  "stale",
  /** A reply where a message was expected, a message where a reply was, or the reply to another message. */
  "reply_wrong",
  /** Received on another subject than it was sealed for. */
  "subject_wrong",
  /** The sealed subject lies outside the sealed scope. */
  "out_of_scope",
  /** The payload is not the sealed one. */
  "payload_changed",
  /** The headers are not the sealed ones, or one of them cannot be sealed at all. */
  "headers_changed",
  /** Not exactly one `Nats-Msg-Id`, or not the sealed one. */
  "id_wrong",
  /** The revocation source could not be asked: try again. */
  "revocation_unavailable",
] as const;
