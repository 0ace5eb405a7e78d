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
/** Ids of tokens remembered until they expire. */
const REMEMBERED_MAX = 10_000;

export type BackChannelLogout = (ask: {
  readonly logoutToken: string;
  readonly now: EpochSeconds;
}) => Promise<Outcome<void>>;

/**
 * Makes the receiver of back-channel logouts. It raises the not-before of the provider's session that the token
 * names, or of the user when it names none, to the token's own time: a copy that comes later ends nothing that
 * began since. It fulfils when all instances refuse.
 *
 * @returns what of `ProofRefusal` the token fails by; `check_unavailable` when sign-outs cannot be written
 * @source  OpenID Connect Back-Channel Logout 1.0 §2.4, §2.6
 */
export function createBackChannelLogout({
  issuers,
  sessions,
}: {
  readonly issuers: Issuers;
  readonly sessions: SessionStore;
}): BackChannelLogout {
  /** Until when each token id is remembered, in order of arrival. */
  const seen = new Map<string, EpochSeconds>();

  function isFirst(key: string, until: EpochSeconds, now: EpochSeconds): boolean {
    for (const [old, end] of seen) {
      if (now < end && seen.size < REMEMBERED_MAX) break;
      seen.delete(old);
    }
    if (seen.has(key)) return false;
    seen.set(key, until);
    return true;
  }

  return async function backChannelLogout({ logoutToken, now }) {
    const token = await verifyLogoutToken(logoutToken, issuers, now);
    if (!token.ok) return token;
    const { key, id, issuedAt, expiresAt } = token.value;
    if (!isFirst(id, expiresAt, now)) return invalid("it was used before");
    try {
      await sessions.raiseNotBefore(key, Math.min(now, issuedAt));
    } catch (error) {
      seen.delete(id);
      const why = messageOf(error);
      return refused({ reason: "check_unavailable", check: "sign-outs", why });
    }
    return allowed(undefined);
  };
}

interface LogoutToken {
  readonly key: NotBeforeKey;
  readonly id: string;
  /** The latest sign-in it can mean: its `iat` and the accepted clock difference. */
  readonly issuedAt: EpochSeconds;
  readonly expiresAt: EpochSeconds;
}

async function verifyLogoutToken(
  token: string,
  issuers: Issuers,
  now: EpochSeconds,
): Promise<Outcome<LogoutToken>> {
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
): Outcome<LogoutToken> {
  const audience = checkAudience(claims.aud, client.id);
  if (!audience.ok) return audience;
  const tolerance = issuer.clockToleranceSeconds;
  const times = checkTimes(claims, tolerance, now, LOGOUT_SECONDS_MAX);
  if (!times.ok) return times;
  if ("nonce" in claims) return invalid("claim nonce belongs to another kind of token");
  const { events, jti } = claims;
  if (!isJsonObject(events) || !isJsonObject(events[EVENT])) return invalid("its event is not a logout");
  if (typeof jti !== "string" || jti === "" || jti.length > 256) return invalid("its id (jti) is missing");
  const key = keyOf(claims, issuer);
  if (!key) return invalid("it names neither a session nor a user");
  return allowed({
    key,
    id: JSON.stringify([issuer.options.name, jti]),
    issuedAt: times.value.issuedAt + tolerance,
    expiresAt: times.value.expiresAt,
  });
}

/** A session where one is named (§2.6: `sid` narrows it to that one), else the user. */
function keyOf(claims: Jws["claims"], { options }: Issuer): NotBeforeKey | undefined {
  const sid = sidOf(claims);
  if (sid !== undefined) return { session: upstreamSessionHashOf(options.name, sid) };
  // Entra's sub is not the id we know its users by.
  if (typeof claims.sub !== "string" || options.entraTenant !== undefined) return undefined;
  const user = userName(options.name, claims.sub);
  return user === undefined ? undefined : { user };
}

function invalid(why: string): Outcome<never> {
  return refused({ reason: "proof_invalid", why });
}
