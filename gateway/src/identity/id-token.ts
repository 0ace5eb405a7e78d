import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { ClientOptions, Issuer } from "./issuer.ts";
import { parseJws } from "./jws.ts";
import type { JsonObject } from "./strict-json.ts";
import { checkAudience, checkTimes, readWho, type Who } from "./token-claims.ts";
import { verifyJws } from "./verify-jws.ts";

/** Characters of an ID token: it comes from the provider itself and may list more groups than a header carries. */
const ID_TOKEN_MAX = 65_536;
/** Characters of a provider's session id. */
const SID_MAX = 256;

/** Who signed in, as the ID token says. */
export interface SignedIn {
  readonly who: Who;
  /** The provider's session, when it names one. */
  readonly upstreamSid?: string;
}

/**
 * Verifies an ID token as strictly as an access token: signature, too, although OpenID Connect would let TLS stand
 * for it, and with the attributes read from it alone. UserInfo is not signed, and an access token is for the
 * provider's resources, not for us to read.
 *
 * The nonce was compared by openid-client, on the same token.
 *
 * @source  OpenID Connect Core §3.1.3.7
 */
export async function verifyIdToken(
  token: string,
  issuer: Issuer,
  client: ClientOptions,
  now: EpochSeconds,
): Promise<Outcome<SignedIn>> {
  if (token.length > ID_TOKEN_MAX)
    return refused({ reason: "proof_invalid", why: "a token over the size limit" });
  const jws = parseJws(token);
  if (!jws.ok) return jws;
  if (jws.value.typ !== "jwt")
    return refused({ reason: "proof_invalid", why: "its type is not that of an ID token" });
  const verified = await verifyJws(jws.value, issuer, now);
  if (!verified.ok) return verified;
  const { claims } = verified.value;
  if (claims.iss !== issuer.options.url)
    return refused({ reason: "proof_invalid", why: "it is another issuer's" });
  const audience = checkAudience(claims.aud, client.id);
  if (!audience.ok) return audience;
  const times = checkTimes(claims, issuer.clockToleranceSeconds, now, Number.POSITIVE_INFINITY);
  if (!times.ok) return times;
  const who = readWho(claims, issuer);
  if (!who.ok) return who;
  const upstreamSid = sidOf(claims);
  return allowed({ who: who.value, ...(upstreamSid !== undefined && { upstreamSid }) });
}

/** The provider's session id (OpenID Connect Front- and Back-Channel Logout). */
export function sidOf({ sid }: JsonObject): string | undefined {
  return typeof sid === "string" && sid !== "" && sid.length <= SID_MAX ? sid : undefined;
}
