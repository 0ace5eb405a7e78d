import { hash } from "node:crypto";
import { setBounded } from "../bounded-map.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { Identity } from "./identity.ts";
import type { Issuer, Issuers } from "./issuer.ts";
import { type Jws, parseJws } from "./jws.ts";
import { TOKEN_BYTES_CEILING } from "./present.ts";
import {
  checkAccessToken,
  checkAudience,
  checkTimes,
  clientOf,
  kindOf,
  readActor,
  readWho,
} from "./token-claims.ts";
import { verifyJws } from "./verify-jws.ts";

/** Seconds a verified token is believed without looking again: a key that its issuer withdrew lives on that long. */
const REMEMBER_SECONDS = 60;
/** Verified tokens kept; an Identity of a token of 8 KB takes about as much. */
const REMEMBERED_MAX = 5_000;

export type VerifyBearer = (
  token: string,
  now: EpochSeconds,
) => Outcome<Identity> | Promise<Outcome<Identity>>;

/**
 * Makes the verifier of access tokens. A token verified within the last minute is answered at once from memory,
 * by its SHA-256: a signature costs 50 to 200 µs, and a caller sends the same token with every request.
 *
 * Signatures are verified by node:crypto rather than a JOSE library because that answers synchronously, with the
 * algorithm fixed by the key and claims parsed strictly.
 *
 * @returns the Identity, or what of `ProofRefusal` it fails by; not-before is the caller's to check
 * @source  RFC 9068 §4, RFC 8725
 */
export function createVerifyBearer({
  issuers,
  rememberedMax = REMEMBERED_MAX,
}: {
  readonly issuers: Issuers;
  /** Verified tokens kept, 1–100,000. Default 5,000. */
  readonly rememberedMax?: number;
}): VerifyBearer {
  /** By token hash, least recently used first. */
  const remembered = new Map<
    string,
    { readonly identity: Outcome<Identity>; readonly until: EpochSeconds }
  >();

  function remember(token: string, identity: Identity, now: EpochSeconds): Outcome<Identity> {
    const outcome = allowed(identity);
    const until = Math.min(identity.expiresAt, now + REMEMBER_SECONDS);
    setBounded(remembered, token, { identity: outcome, until }, rememberedMax);
    return outcome;
  }

  return function verifyBearer(token, now) {
    // Not every way in is a header that was bounded already.
    if (token.length > TOKEN_BYTES_CEILING) {
      return refused({ reason: "proof_invalid", why: "a token over the size limit" });
    }
    const tokenHash = hash("sha256", token, "base64url");
    const known = remembered.get(tokenHash);
    if (known) {
      remembered.delete(tokenHash);
      if (now < known.until) {
        remembered.set(tokenHash, known);
        return known.identity;
      }
    }
    const jws = parseJws(token);
    if (!jws.ok) return jws;
    const issuer = issuerOf(jws.value, issuers);
    if (!issuer.ok) return issuer;
    const finish = (verified: Outcome<Jws>): Outcome<Identity> => {
      if (!verified.ok) return verified;
      const identity = identityOf(verified.value, issuer.value, tokenHash, now);
      return identity.ok ? remember(tokenHash, identity.value, now) : identity;
    };
    const verified = verifyJws(jws.value, issuer.value, now);
    return verified instanceof Promise ? verified.then(finish) : finish(verified);
  };
}

function issuerOf({ claims }: Jws, issuers: Issuers): Outcome<Issuer> {
  const iss = typeof claims.iss === "string" ? claims.iss : "";
  const issuer = issuers.byUrl(iss);
  return issuer ? allowed(issuer) : refused({ reason: "issuer_unknown", issuer: iss.slice(0, 256) });
}

/** Judges the claims of an access token whose signature holds. */
function identityOf(jws: Jws, issuer: Issuer, tokenHash: string, now: EpochSeconds): Outcome<Identity> {
  const { claims } = jws;
  const access = checkAccessToken(jws, issuer);
  if (!access.ok) return access;
  const audience = checkAudience(claims.aud, issuer.options.audience, issuer.options.audiencesBesides);
  if (!audience.ok) return audience;
  const times = checkTimes(claims, issuer.clockToleranceSeconds, now);
  if (!times.ok) return times;
  const who = readWho(claims, issuer);
  if (!who.ok) return who;
  const actor = readActor(claims, issuer);
  if (!actor.ok) return actor;
  const client = clientOf(claims);
  return allowed({
    ...who.value,
    kind: kindOf(jws, issuer),
    ...(client !== undefined && { client }),
    ...(actor.value && { actor: actor.value }),
    proof: { kind: "bearer", hash: tokenHash },
    provedAt: times.value.issuedAt,
    expiresAt: times.value.expiresAt,
  });
}
