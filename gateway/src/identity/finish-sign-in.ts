import { randomBytes } from "node:crypto";
import { authorizationCodeGrant } from "openid-client";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { type SignedIn, verifyIdToken } from "./id-token.ts";
import type { ClientOptions, Issuer } from "./issuer.ts";
import type { LoginState } from "./login-state.ts";
import { askProvider } from "./provider-client.ts";
import { refreshKeyOf, type SecretKey, sealBox } from "./sealed-box.ts";
import type { Session } from "./session.ts";
import { sessionHashOf } from "./session-proof.ts";

/** Bounds of the time after which a provider is asked again; it says so by the life of its access token. */
const REFRESH_SECONDS = { min: 60, max: 3_600, default: 600 };
/** Bytes of a session's id: 256 bits that nobody guesses. */
const SESSION_ID_BYTES = 32;

export interface NewSession {
  /** The cookie's value. */
  readonly id: string;
  readonly session: Session;
}

/**
 * Exchanges the code of a callback for an ID token, and makes a session of it under a new id: whatever cookie the
 * browser had before means nothing any more.
 *
 * openid-client compares state, nonce and, where the provider sends or promises it, `iss` (RFC 9207).
 *
 * @param callback  this issuer's redirect URI, with the query that came
 * @returns the session, not yet stored; `login_failed` with the step and a code, `check_unavailable`, or what of
 *   `ProofRefusal` the ID token fails by
 */
export async function finishSignIn({
  issuer,
  client,
  login,
  callback,
  absoluteSeconds,
  refreshKey,
  now,
}: {
  readonly issuer: Issuer;
  readonly client: ClientOptions;
  readonly login: LoginState;
  readonly callback: URL;
  readonly absoluteSeconds: number;
  readonly refreshKey: SecretKey;
  readonly now: EpochSeconds;
}): Promise<Outcome<NewSession>> {
  const asked = await askProvider(issuer, client, now, (configuration) =>
    authorizationCodeGrant(configuration, callback, {
      expectedState: login.state,
      expectedNonce: login.nonce,
      pkceCodeVerifier: login.verifier,
    }),
  );
  if (asked.kind === "unavailable") {
    const check = `sign-in at ${issuer.options.name}`;
    return refused({ reason: "check_unavailable", check, why: asked.why });
  }
  if (asked.kind === "refused") return refused({ reason: "login_failed", step: "callback", why: asked.code });
  const { id_token: idToken = "", refresh_token: refreshToken, expires_in: expiresIn } = asked.value;
  const signedIn = await verifyIdToken(idToken, issuer, client, now);
  if (!signedIn.ok) return signedIn;
  const id = randomBytes(SESSION_ID_BYTES).toString("base64url");
  const hash = sessionHashOf(id);
  const { upstreamSid } = signedIn.value;
  const session: Session = {
    hash,
    identity: identityOf(signedIn.value, client, now),
    signedInAt: now,
    lastSeenAt: now,
    endsAt: now + absoluteSeconds,
    ...(refreshToken !== undefined && {
      refreshAt: refreshAtOf(expiresIn, now),
      sealedRefreshToken: sealRefreshToken(refreshKey, refreshToken, id, hash),
    }),
    ...(upstreamSid !== undefined && { upstreamSid }),
  };
  return allowed({ id, session });
}

/** Whoever comes through a browser's sign-in is a user, by that. */
export function identityOf(
  { who }: SignedIn,
  client: ClientOptions,
  provedAt: EpochSeconds,
): Session["identity"] {
  return { ...who, kind: "user", client: client.id, provedAt };
}

export function refreshAtOf(expiresIn: number = REFRESH_SECONDS.default, now: EpochSeconds): EpochSeconds {
  return now + Math.min(Math.max(expiresIn, REFRESH_SECONDS.min), REFRESH_SECONDS.max);
}

export function sealRefreshToken(key: SecretKey, token: string, id: string, hash: string): string {
  return sealBox(refreshKeyOf(key(), id), token, hash);
}
