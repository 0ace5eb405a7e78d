import { createPublicKey, type KeyObject } from "node:crypto";
import { isBase64urlOf32Bytes } from "./base64url.ts";
import type { EpochSeconds } from "./claims.ts";
import { isKid } from "./jws.ts";

/** A key that seals are verified with. */
export interface SealPublicKey {
  readonly kid: string;
  /** EC, P-256. */
  readonly key: KeyObject;
  /** Seals are sealed with it from here (`nbf`) … */
  readonly validFrom: EpochSeconds;
  /** … to here (`exp`). It verifies them ever after. */
  readonly validUntil: EpochSeconds;
  /** Withdrawn: nothing it signed is to be believed, whenever that was, since who stole it can write any `iat`. */
  readonly revoked: boolean;
}

/** Keys in one set: those of all instances of a gateway, past ones included. */
export const KEYS_MAX = 200;
/** A JWK Set as bytes. */
export const JWKS_BYTES_MAX = 262_144;
export const JWKS_DEPTH_MAX = 8;

/**
 * Takes the sealing keys out of a JWK Set (RFC 7517 §5): `kty` EC, `crv` P-256, `alg` ES256, `use` sig, a `kid` of
 * `[A-Za-z0-9_-]{1,64}`, and `nbf` and `exp` in whole seconds, between which it seals. A member `revoked` of any
 * value but null or false withdraws the key (OpenID Federation 1.0 writes an object there). Other keys are passed over, as the RFC asks.
 *
 * @param jwks  JSON, untrusted
 * @throws TypeError when it is no JWK Set, has over `KEYS_MAX` (200) keys, or two with one `kid`
 */
export function parseKeys(jwks: unknown): ReadonlyMap<string, SealPublicKey> {
  const list = typeof jwks === "object" && jwks !== null && "keys" in jwks ? jwks.keys : undefined;
  if (!Array.isArray(list) || list.length > KEYS_MAX) {
    throw new TypeError(`Cannot read the key set: expected a JWK Set of at most ${KEYS_MAX} keys`);
  }
  const keys = new Map<string, SealPublicKey>();
  for (const jwk of list) {
    const key = parseKey(jwk);
    if (!key) continue;
    if (keys.has(key.kid)) throw new TypeError(`Cannot read the key set: two keys have the kid ${key.kid}`);
    keys.set(key.kid, key);
  }
  return keys;
}

function parseKey(jwk: unknown): SealPublicKey | undefined {
  if (typeof jwk !== "object" || jwk === null) return undefined;
  const { kty, crv, alg, use, kid, x, y, nbf, exp, revoked }: Readonly<Record<string, unknown>> = { ...jwk };
  if (kty !== "EC" || crv !== "P-256" || alg !== "ES256" || use !== "sig") return undefined;
  if (!isKid(kid) || !isCoordinate(x) || !isCoordinate(y)) return undefined;
  if (!isSeconds(nbf) || !isSeconds(exp)) return undefined;
  const isRevoked = revoked !== undefined && revoked !== null && revoked !== false;
  try {
    // Only the public members go in, or a private key in the set would be taken for a public one.
    const key = createPublicKey({ key: { kty, crv, x, y }, format: "jwk" });
    return { kid, key, validFrom: nbf, validUntil: exp, revoked: isRevoked };
  } catch {
    return undefined; // Not a point on the curve.
  }
}

function isCoordinate(value: unknown): value is string {
  return typeof value === "string" && isBase64urlOf32Bytes(value);
}

function isSeconds(value: unknown): value is EpochSeconds {
  return typeof value === "number" && Number.isSafeInteger(value);
}
