import { constants, type KeyObject, verify } from "node:crypto";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { type JsonObject, parseStrictJson } from "./strict-json.ts";

/** Three parts of base64url, none empty: a JWS in compact form, signed. */
const COMPACT = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/;
/** Characters of a key id. */
const KID_MAX = 256;

/** Signature algorithms we believe. A key takes part in exactly one (jwks.ts), whatever a token says. */
export type Algorithm = "RS256" | "PS256" | "ES256" | "Ed25519";

/** A JWS taken apart, nothing of it believed yet. */
export interface Jws {
  /** `EdDSA`, the name before RFC 9864, is read as `Ed25519`. */
  readonly alg: Algorithm;
  readonly kid: string;
  /** Lower case, without `application/`; `jwt` when absent. */
  readonly typ: string;
  readonly claims: JsonObject;
  readonly signingInput: Buffer;
  readonly signature: Buffer;
}

/**
 * Takes a compact JWS apart and refuses what we never accept, whoever signed it.
 *
 * A header may not bring its own key (`jku`, `jwk`, `x5u`, `x5c`) nor demand extensions (`crit`): ignoring them
 * would be safe too, but only an attack or a token meant for somebody else carries them.
 *
 * @param token  its length already bounded
 * @returns `proof_invalid` when it is no JWS, or its header or claims are none we accept
 * @source  RFC 7515 §4.1, §5.2; RFC 8725 §3.1, §3.10
 */
export function parseJws(token: string): Outcome<Jws> {
  const parts = COMPACT.exec(token);
  const [, head = "", body = "", tail = ""] = parts ?? [];
  const headerBytes = decodeBase64url(head);
  const claimBytes = decodeBase64url(body);
  const signature = decodeBase64url(tail);
  if (!parts || !headerBytes || !claimBytes || !signature) {
    return invalid("not a JWS in compact form");
  }
  const header = parseStrictJson(textOf(headerBytes));
  const claims = parseStrictJson(textOf(claimBytes));
  if (!header || !claims) return invalid("header or claims are not unambiguous JSON objects");
  for (const name of ["crit", "jku", "jwk", "x5u", "x5c", "zip", "enc", "b64"]) {
    if (name in header) return invalid(`header parameter ${name}`);
  }
  const alg = algorithmOf(header.alg);
  if (!alg) return invalid("signature algorithm");
  const kid = header.kid;
  if (typeof kid !== "string" || kid === "" || kid.length > KID_MAX)
    return invalid("key id missing or too long");
  const typ = header.typ ?? "jwt";
  if (typeof typ !== "string") return invalid("token type");
  return allowed({
    alg,
    kid,
    typ: typ.toLowerCase().replace(/^application\//, ""),
    claims,
    signingInput: Buffer.from(token.slice(0, head.length + 1 + body.length), "latin1"),
    signature,
  });
}

/** Whether the key made the signature, under the key's own algorithm, which must be the token's. */
export function isSignedBy(
  jws: Jws,
  key: { readonly alg: Algorithm; readonly publicKey: KeyObject },
): boolean {
  if (jws.alg !== key.alg) return false;
  const { signingInput, signature } = jws;
  switch (key.alg) {
    case "RS256":
      return verify("sha256", signingInput, key.publicKey, signature);
    case "PS256":
      return verify(
        "sha256",
        signingInput,
        { key: key.publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 },
        signature,
      );
    case "ES256":
      return verify("sha256", signingInput, { key: key.publicKey, dsaEncoding: "ieee-p1363" }, signature);
    case "Ed25519":
      return verify(null, signingInput, key.publicKey, signature);
  }
}

/** @returns undefined for every algorithm that is not on the list, `none` and the symmetric ones first of all */
export function algorithmOf(name: unknown): Algorithm | undefined {
  switch (name) {
    case "RS256":
    case "PS256":
    case "ES256":
    case "Ed25519":
      return name;
    case "EdDSA":
      return "Ed25519";
    default:
      return undefined;
  }
}

/** Canonical base64url only: no padding, no trailing bits, so that one token has one spelling and one hash. */
function decodeBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64url");
  return bytes.length > 0 && bytes.toString("base64url") === text ? bytes : undefined;
}

/** @returns empty, which is no JSON, for bytes that are not UTF-8 */
function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return "";
  }
}

function invalid(why: string): Outcome<never> {
  return refused({ reason: "proof_invalid", why });
}
