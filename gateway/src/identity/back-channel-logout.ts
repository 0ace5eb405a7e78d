import { hash } from "node:crypto";
import { userName } from "@countersign/seal";
import { messageOf } from "../errors.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { sidOf } from "./id-token.ts";
import type { ClientOptions, Issuer, Issuers } from "./issuer.ts";
import { type Jws, parseJws } from "./jws.ts";
import type { NotBeforeKey, SessionStore } from "./session.ts";
import { upstreamSessionHashOf } from "./session-proof.ts";
import { isJsonObject } from "./strict-json.ts";
import { checkAudience, checkTimes } from "./token-claims.ts";
import { verifyJws } from "./verify-jws.ts";

const EVENT = "http://schemas.openid.net/event/backchannel-logout";
/** Characters; real ones are under 2,000. */
const LOGOUT_TOKEN_MAX = 8_192;
/** Seconds from `iat` to `exp`: whoever intercepts one cannot use it tomorrow. */
const LOGOUT_SECONDS_MAX = 3_600;

/** Receives what providers say about sign-outs, without a browser. */
export interface BackChannelLogout {
  /**
   * Judges a token without acting on it, so that the record can stand before the effect.
   *
   * @returns whom to sign out; what of `ProofRefusal` the token fails by, also when it was used before, on
   *   whichever instance; `check_unavailable` when that cannot be known
   */
  judge(ask: { readonly logoutToken: string; readonly now: EpochSeconds }): Promise<Outcome<ProviderLogout>>;
  /**
   * Raises the not-before of the provider's session that the token names, or of the user when it names none, to the
   * token's own time: a copy that comes later ends nothing that began since. It fulfils when all instances refuse.
   *
   * @returns `check_unavailable` when it cannot be written: then the token may be sent again
   */
  signOut(judged: ProviderLogout): Promise<Outcome<void>>;
}

/** A sign-out that a provider asks for, judged and not yet done. */
export interface ProviderLogout {
  /** The issuer's name in the configuration. */
  readonly issuer: string;
  /** Whom it signs out: the provider's session by the hash of its id, or every session and token of the user. */
  readonly key: NotBeforeKey;
  /** Whose the session is, where the token says so. */
  readonly user?: string;
  /** Every proof made at or before it is refused: the token's own time, and never the future. */
  readonly notBefore: EpochSeconds;
  /** The token's id is remembered under this name, for so many seconds. */
  readonly id: string;
  readonly rememberSeconds: number;
}

/** @source  OpenID Connect Back-Channel Logout 1.0 §2.4, §2.6 */
export function createBackChannelLogout({
  issuers,
  sessions,
}: {
  readonly issuers: Issuers;
  readonly sessions: SessionStore;
}): BackChannelLogout {
  return {
    async judge({ logoutToken, now }) {
      const token = await verifyLogoutToken(logoutToken, issuers, now);
      if (!token.ok) return token;
      try {
        return (await sessions.isRemembered(token.value.id)) ? invalid("it was used before") : token;
      } catch (error) {
        return unavailable(error);
      }
    },

    async signOut({ key, notBefore, id, rememberSeconds }) {
      try {
        await sessions.raiseNotBefore(key, notBefore);
        // Only now, since a token whose sign-out was not written must count when it is sent again. Two copies judged
        // at once both raise it, to the time at which they were judged, and so end nothing that began since.
        await sessions.remember(id, rememberSeconds);
      } catch (error) {
        return unavailable(error);
      }
      return allowed(undefined);
    },
  };
}

async function verifyLogoutToken(
  token: string,
  issuers: Issuers,
  now: EpochSeconds,
): Promise<Outcome<ProviderLogout>> {
  if (token.length > LOGOUT_TOKEN_MAX) return invalid("a token over the size limit");
  const jws = parseJws(token);
  if (!jws.ok) return jws;
  const { typ, claims } = jws.value;
  if (typ !== "logout+jwt") return invalid("its type is not that of a logout token");
  const iss = typeof claims.iss === "string" ? claims.iss : "";
  const issuer = issuers.byUrl(iss);
  const client = issuer?.options.client;
  if (!issuer || !client) return refused({ reason: "issuer_unknown", issuer: iss.slice(0, 256) });
  const verified = await verifyJws(jws.value, issuer, now);
  return verified.ok ? readLogoutToken(verified.value, issuer, client, now) : verified;
}

function readLogoutToken(
  { claims }: Jws,
  issuer: Issuer,
  client: ClientOptions,
  now: EpochSeconds,
): Outcome<ProviderLogout> {
  const audience = checkAudience(claims.aud, client.id);
  if (!audience.ok) return audience;
  const tolerance = issuer.clockToleranceSeconds;
  const times = checkTimes(claims, tolerance, now, LOGOUT_SECONDS_MAX);
  if (!times.ok) return times;
  if ("nonce" in claims) return invalid("claim nonce belongs to another kind of token");
  const { events, jti } = claims;
  if (!isJsonObject(events) || !isJsonObject(events[EVENT])) return invalid("its event is not a logout");
  if (typeof jti !== "string" || jti === "" || jti.length > 256) return invalid("its id (jti) is missing");
  const user = userOf(claims, issuer);
  const sid = sidOf(claims);
  const { name } = issuer.options;
  // A session where one is named (§2.6: `sid` narrows it to that one), else the user.
  const key = sid !== undefined ? { session: upstreamSessionHashOf(name, sid) } : user && { user };
  if (!key) return invalid("it names neither a session nor a user");
  const { issuedAt, expiresAt } = times.value;
  return allowed({
    issuer: name,
    key,
    ...(user !== undefined && { user }),
    // The latest sign-in it can mean: clocks differ.
    notBefore: Math.min(now, issuedAt + tolerance),
    id: hash("sha256", JSON.stringify(["logout-token", name, jti]), "base64url"),
    rememberSeconds: expiresAt - now + tolerance,
  });
}

function userOf(claims: Jws["claims"], { options }: Issuer): string | undefined {
  // Entra's sub is not the id we know its users by.
  if (typeof claims.sub !== "string" || options.entraTenant !== undefined) return undefined;
  return userName(options.name, claims.sub);
}

function invalid(why: string): Outcome<never> {
  return refused({ reason: "proof_invalid", why });
}

function unavailable(error: unknown): Outcome<never> {
  return refused({ reason: "check_unavailable", check: "sign-outs", why: messageOf(error) });
}
