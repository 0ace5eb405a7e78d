import { createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";
import { messageOf } from "../errors.ts";
import type { EpochSeconds } from "../time.ts";
import { type Algorithm, algorithmOf } from "./jws.ts";
import { isJsonObject, type Json, type JsonObject, parseStrictJson } from "./strict-json.ts";

/** Keys in one set. Providers publish two to ten. */
const KEYS_MAX = 50;
/** RSA moduli: below 2048 bits is breakable, above 8192 costs milliseconds per verification. */
const RSA_BITS = { min: 2048, max: 8192 };

/** A provider's public key with the one algorithm it takes part in. */
export interface VerificationKey {
  readonly alg: Algorithm;
  readonly publicKey: KeyObject;
}

/**
 * Reads a JWK Set. Keys that are not for signatures, or of a kind we do not use, are passed over, since providers
 * keep encryption keys in the same set; two keys under one id refuse the whole set.
 *
 * @param text  at most 256 KB
 * @returns by key id
 * @throws Error saying what is wrong, without a word of the set's contents
 * @source  RFC 7517 §4, §5; RFC 8037 (Ed25519); RFC 8725 §3.1 (one algorithm for each key)
 */
export function parseJwks(text: string): ReadonlyMap<string, VerificationKey> {
  const entries = parseStrictJson(text)?.keys;
  if (!Array.isArray(entries)) throw new Error("The key set is not a JSON object with a list of keys");
  if (entries.length > KEYS_MAX) throw new Error(`The key set has more than ${KEYS_MAX} keys`);
  const keys = new Map<string, VerificationKey>();
  for (const entry of entries as readonly Json[]) {
    if (!isJsonObject(entry)) throw new Error("The key set contains something that is no key");
    const kid = entry.kid;
    const key = verificationKeyOf(entry);
    if (!key || typeof kid !== "string") continue;
    if (keys.has(kid)) throw new Error("The key set has two keys under one id");
    keys.set(kid, key);
  }
  return keys;
}

function verificationKeyOf(jwk: JsonObject): VerificationKey | undefined {
  if ("d" in jwk || (jwk.use !== undefined && jwk.use !== "sig")) return undefined;
  const operations = jwk.key_ops;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify")))
    return undefined;
  const alg = keyAlgorithmOf(jwk);
  if (!alg) return undefined;
  const { kty, crv, n, e, x, y } = jwk;
  try {
    const publicKey = createPublicKey({ key: { kty, crv, n, e, x, y } as JsonWebKey, format: "jwk" });
    return isFit(publicKey) ? { alg, publicKey } : undefined;
  } catch {
    return undefined;
  }
}

/** The key's own `alg` if it suits its type; where it says none, the usual one of the type (RSA: RS256). */
function keyAlgorithmOf(jwk: JsonObject): Algorithm | undefined {
  const { kty, crv, alg } = jwk;
  const said = alg === undefined ? undefined : (algorithmOf(alg) ?? "unknown");
  if (kty === "EC" && crv === "P-256") return said === undefined || said === "ES256" ? "ES256" : undefined;
  if (kty === "OKP" && crv === "Ed25519")
    return said === undefined || said === "Ed25519" ? "Ed25519" : undefined;
  if (kty !== "RSA") return undefined;
  if (said === undefined) return "RS256";
  return said === "RS256" || said === "PS256" ? said : undefined;
}

function isFit(key: KeyObject): boolean {
  if (key.asymmetricKeyType !== "rsa") return true;
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  // An exponent of 1 would make every signature its own message.
  return modulusLength >= RSA_BITS.min && modulusLength <= RSA_BITS.max && publicExponent >= 3n;
}

/** Seconds between two fetches that unknown key ids cause, all of them together: a flood of them costs nothing. */
const COOLDOWN_SECONDS = 30;
/** Seconds between two attempts while a provider does not answer. */
export const RETRY_SECONDS = 5;
/** However often a provider wants its keys asked for, and however seldom: a removed key is believed that long. */
const FRESH_SECONDS = { min: 60, max: 3_600, default: 600 };
/** After that, while the provider does not answer, keys we have are still believed this long. */
const STALE_SECONDS = 3_600;

/** What came of looking for a key. `unavailable`: we could not ask, which is not the same as "no such key". */
export type KeyLookup =
  | { readonly found: VerificationKey }
  | { readonly found?: undefined; readonly unavailable?: string };

export interface KeySource {
  /** Answers at once when the set is fresh and has the key; never rejects. */
  keyFor(kid: string, now: EpochSeconds): KeyLookup | Promise<KeyLookup>;
}

/**
 * A provider's keys, fetched when first needed and kept: one fetch however many ask at once.
 *
 * @param load  fetches the set; rejects when it cannot
 */
export function createKeySource(
  load: (now: EpochSeconds) => Promise<{ readonly text: string; readonly maxAgeSeconds?: number }>,
): KeySource {
  let keys: ReadonlyMap<string, VerificationKey> = new Map();
  let freshUntil = Number.NEGATIVE_INFINITY;
  let askedAt = Number.NEGATIVE_INFINITY;
  let failure: string | undefined;
  let loading: Promise<void> | undefined;

  async function reload(now: EpochSeconds): Promise<void> {
    askedAt = now;
    try {
      const { text, maxAgeSeconds = FRESH_SECONDS.default } = await load(now);
      keys = parseJwks(text);
      freshUntil = now + Math.min(Math.max(maxAgeSeconds, FRESH_SECONDS.min), FRESH_SECONDS.max);
      failure = undefined;
    } catch (error) {
      failure = messageOf(error);
    }
  }

  function answer(kid: string, now: EpochSeconds): KeyLookup {
    const found = now < freshUntil + STALE_SECONDS ? keys.get(kid) : undefined;
    if (found) return { found };
    return failure === undefined ? {} : { unavailable: failure };
  }

  return {
    keyFor(kid, now) {
      if (now < freshUntil && keys.has(kid)) return answer(kid, now);
      if (!loading && now < askedAt + (failure === undefined ? COOLDOWN_SECONDS : RETRY_SECONDS))
        return answer(kid, now);
      loading ??= reload(now).finally(() => {
        loading = undefined;
      });
      return loading.then(() => answer(kid, now));
    },
  };
}
