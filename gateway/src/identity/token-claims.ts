import { userName } from "@countersign/seal";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { readAttributes } from "./attributes.ts";
import type { Identity } from "./identity.ts";
import type { Issuer } from "./issuer.ts";
import type { Jws } from "./jws.ts";
import { isJsonObject, type Json, type JsonObject } from "./strict-json.ts";

/**
 * The longest a token may live, from `iat` to `exp`: a not-before is remembered no longer than any proof that it
 * revokes could live.
 */
export const PROOF_SECONDS_MAX = 86_400;
/** Characters of `name`, `client`, `acr`: display and comparison, never subjects. */
const TEXT_MAX = 256;
/** How many actors may stand behind each other (RFC 8693 §4.1); only the outermost is decided upon. */
const ACTORS_MAX = 4;

/**
 * Judges the times of a token. `exp` has no tolerance: all that is made from a token ends at its `exp`, so a few
 * seconds more would be an identity that is allowed and can do nothing.
 *
 * @param secondsMax  from `iat` to `exp`; only a token that is not itself the proof may live longer than a day
 * @returns `iat` and `exp`; `proof_expired`, `proof_not_yet_valid`, `proof_invalid` when one is missing or the
 *   token lives too long
 */
export function checkTimes(
  claims: JsonObject,
  toleranceSeconds: number,
  now: EpochSeconds,
  secondsMax: number = PROOF_SECONDS_MAX,
): Outcome<{ readonly issuedAt: EpochSeconds; readonly expiresAt: EpochSeconds }> {
  const { iat, exp, nbf = iat } = claims;
  if (!isTime(iat) || !isTime(exp) || !isTime(nbf)) return invalid("iat, exp or nbf is missing or no time");
  if (exp - iat > secondsMax) return invalid("it lives too long");
  if (now >= exp) return refused({ reason: "proof_expired", expiredAt: exp, now });
  const validFrom = Math.max(iat, nbf);
  if (validFrom > now + toleranceSeconds) return refused({ reason: "proof_not_yet_valid", validFrom, now });
  return allowed({ issuedAt: iat, expiresAt: exp });
}

/**
 * Judges `aud`: exactly ours, or a list with ours in which every other one is configured too. A token that is
 * also for somebody else may have been handed on by them.
 *
 * @source  RFC 9068 §4, RFC 8725 §3.9
 */
export function checkAudience(
  aud: Json | undefined,
  expected: string,
  besides: readonly string[] = [],
): Outcome<void> {
  const list: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  const found = list.filter((each) => typeof each === "string");
  const fits =
    found.length === list.length &&
    found.includes(expected) &&
    found.every((each) => each === expected || besides.includes(each));
  return fits
    ? allowed(undefined)
    : refused({
        reason: "audience_mismatch",
        expected,
        found: found.slice(0, 8).map((each) => each.slice(0, 256)),
      });
}

/**
 * Judges whether a token is an access token at all. `at+jwt` says so; a plain `JWT` (Entra, Keycloak, Kubernetes
 * write no other) must show nothing that only ID, refresh and logout tokens have, and where the sign-in client's own
 * id is the audience, which it is for ID tokens, it must show a scope too, or Entra's mark of an application.
 *
 * @source  RFC 9068 §2.1, §4; RFC 8725 §3.11; ID tokens: OpenID Connect Core §2, §3.1.3.6
 */
export function checkAccessToken({ typ, claims }: Jws, issuer: Issuer): Outcome<void> {
  // A token bound to a key proves nothing without the proof of that key, which this path does not take.
  if ("cnf" in claims) return invalid("it is bound to a key (cnf)");
  if (typ === "at+jwt") return allowed(undefined);
  if (typ !== "jwt") return invalid("its type is not that of an access token");
  for (const name of ["nonce", "at_hash", "c_hash", "s_hash", "events"]) {
    if (name in claims) return invalid(`claim ${name} belongs to another kind of token`);
  }
  const { typ: kind = "Bearer", token_use: use = "access" } = claims;
  if (kind !== "Bearer" || use !== "access") return invalid("it says that it is another kind of token");
  const scoped = typeof claims.scp === "string" || typeof claims.scope === "string";
  if (issuer.options.client?.id === issuer.options.audience && !scoped && claims.idtyp !== "app") {
    return invalid("it may be an ID token: it has the client's audience and no scope");
  }
  return allowed(undefined);
}

/** Who a token is about, however it came to us. */
export type Who = Pick<Identity, "user" | "issuer" | "id" | "attributes"> &
  Partial<Pick<Identity, "name" | "acr">>;

/**
 * Reads who a token is about. The id is the issuer's `sub`; Entra's `sub` differs from application to application,
 * so there it is `oid`, and only of the tenant that is configured. Names and e-mail addresses are display.
 */
export function readWho(claims: JsonObject, issuer: Issuer): Outcome<Who> {
  const { name, entraTenant } = issuer.options;
  if (entraTenant !== undefined && claims.tid !== entraTenant) return invalid("it is another tenant's (tid)");
  const id = claims[entraTenant === undefined ? "sub" : "oid"];
  const user = typeof id === "string" ? userName(name, id) : undefined;
  if (typeof id !== "string" || user === undefined)
    return invalid("its user id is missing or cannot be a name");
  const attributes = readAttributes(claims, issuer.attributes, name);
  if (!attributes.ok) return attributes;
  const display = displayName(claims.name) ?? displayName(claims.preferred_username);
  const acr = shortText(claims.acr);
  return allowed({
    user,
    issuer: name,
    id,
    attributes: attributes.value,
    ...(display !== undefined && { name: display }),
    ...(acr !== undefined && { acr }),
  });
}

/**
 * Whether a user or a service stands behind an access token: only what the token says for certain. RFC 9068 (§2.2)
 * has `sub` = `client_id` where no user takes part; Entra says `idtyp`; any other token leaves it open.
 */
export function kindOf({ typ, claims }: Jws, { options }: Issuer): Identity["kind"] {
  if (options.kind === "service") return "service";
  if (options.entraTenant !== undefined) {
    const { idtyp } = claims;
    return idtyp === "app" ? "service" : idtyp === "user" ? "user" : "unknown";
  }
  const client = claims.client_id;
  if (typ !== "at+jwt" || typeof client !== "string") return "unknown";
  return claims.sub === client ? "service" : "user";
}

/** The application a token was issued to: `client_id` (RFC 9068), `azp` (OpenID Connect), `appid` (Entra v1). */
export function clientOf(claims: JsonObject): string | undefined {
  return shortText(claims.client_id) ?? shortText(claims.azp) ?? shortText(claims.appid);
}

/**
 * Reads who acts for the user (RFC 8693 §4.1): the outermost actor, whose name is made as its own token would make
 * it. An issuer speaks for its own actors only: another's would lend its agents' rights. Entra names actors by an
 * id that no other token of theirs has, so there none is accepted.
 */
export function readActor(
  claims: JsonObject,
  { options }: Issuer,
): Outcome<{ readonly user: string } | undefined> {
  const act = claims.act;
  if (act === undefined) return allowed(undefined);
  if (options.entraTenant !== undefined) return invalid("actors of this issuer cannot be named");
  let depth = 0;
  for (let each: Json | undefined = act; each !== undefined; depth++) {
    if (!isJsonObject(each) || depth >= ACTORS_MAX)
      return invalid("its chain of actors is malformed or too long");
    each = each.act;
  }
  const { sub, iss = options.url } = act as JsonObject;
  const user = typeof sub === "string" && iss === options.url ? userName(options.name, sub) : undefined;
  return user === undefined
    ? invalid("its actor cannot be named, or is another issuer's")
    : allowed({ user });
}

function isTime(value: Json | undefined): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 && value < 1e11;
}

function shortText(value: Json | undefined): string | undefined {
  return typeof value === "string" && value !== "" && value.length <= TEXT_MAX ? value : undefined;
}

/** Control characters and those that turn the direction of text have no place in a name that consoles print. */
function displayName(value: Json | undefined): string | undefined {
  const text = shortText(value);
  return text === undefined || /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/u.test(text)
    ? undefined
    : text;
}

function invalid(why: string): Outcome<never> {
  return refused({ reason: "proof_invalid", why });
}
