import { refreshTokenGrant } from "openid-client";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { identityOf, refreshAtOf, sealRefreshToken } from "./finish-sign-in.ts";
import { verifyIdToken } from "./id-token.ts";
import type { ClientOptions, Issuer, Issuers } from "./issuer.ts";
import { RETRY_SECONDS } from "./jwks.ts";
import { type Asked, askProvider } from "./provider-client.ts";
import { openBox, refreshKeyOf, type SecretKey } from "./sealed-box.ts";
import type { Session, SessionStore } from "./session.ts";
import type { RenewSession } from "./session-proof.ts";

/** How long a refresh may take before another instance may try; several times the provider's time limit. */
const LOCK_SECONDS = 30;
/** Attempts to write a renewed session while marks of use come in between: they are a minute apart. */
const WRITES_MAX = 5;

interface Renewal {
  readonly session: Session;
  /** The cookie's value. */
  readonly id: string;
  readonly issuer: Issuer;
  readonly client: ClientOptions;
  readonly now: EpochSeconds;
}

/**
 * Makes the renewal of sessions by their refresh tokens: once at a time for each session, on all instances, since a
 * rotated token that is used twice makes the provider end its whole family.
 *
 * While the provider does not answer, a session goes on until its grace has passed. When the provider says no
 * (`invalid_grant`: signed out there, disabled, the token used elsewhere), the session ends.
 *
 * @returns the session to go by; `proof_revoked` when it ended, `check_unavailable` after the grace, or what of
 *   `ProofRefusal` the provider's new word fails by, and then the session has ended too
 */
export function createRenewSession({
  issuers,
  sessions,
  refreshKey,
  graceSeconds,
}: {
  readonly issuers: Issuers;
  readonly sessions: SessionStore;
  readonly refreshKey: SecretKey;
  readonly graceSeconds: number;
}): RenewSession {
  const running = new Map<string, Promise<Outcome<Session>>>();
  /** By issuer: until when it is left alone, because it did not answer. */
  const leftAlone = new Map<string, EpochSeconds>();

  function goOn({ session, issuer, now }: Renewal, why: string): Outcome<Session> {
    if (now < (session.refreshAt ?? now) + graceSeconds) return allowed(session);
    return refused({ reason: "check_unavailable", check: `session at ${issuer.options.name}`, why });
  }

  async function end({ session, now }: Renewal): Promise<Outcome<never>> {
    await sessions.raiseNotBefore({ session: session.hash }, now);
    await sessions.delete(session.hash);
    return refused({ reason: "proof_revoked", notBefore: now, provedAt: session.signedInAt });
  }

  async function write(renewal: Renewal, changes: Partial<Session>): Promise<Outcome<Session>> {
    let since: Session | undefined = renewal.session;
    for (let attempt = 0; attempt < WRITES_MAX && since; attempt++) {
      const next: Session = { ...since, ...changes, lastSeenAt: Math.max(since.lastSeenAt, renewal.now) };
      if (await sessions.update(next, since)) return allowed((await sessions.get(next.hash)) ?? next);
      since = await sessions.get(renewal.session.hash);
    }
    return since ? goOn(renewal, "the session kept changing") : refused({ reason: "session_unknown" });
  }

  async function renewLocked(renewal: Renewal): Promise<Outcome<Session>> {
    const { session, id, issuer, client, now } = renewal;
    const sealed = session.sealedRefreshToken ?? "";
    const refreshToken = openBox(refreshKeyOf(refreshKey(), id), sealed, session.hash);
    if (refreshToken === undefined) return end(renewal);
    const asked: Asked<Awaited<ReturnType<typeof refreshTokenGrant>>> = await askProvider(
      issuer,
      client,
      now,
      (configuration) => refreshTokenGrant(configuration, refreshToken),
    );
    if (asked.kind === "refused" && asked.code === "invalid_grant") return end(renewal);
    if (asked.kind !== "answered") {
      leftAlone.set(issuer.options.name, now + RETRY_SECONDS);
      return goOn(renewal, asked.kind === "refused" ? asked.code : asked.why);
    }
    const { id_token: idToken, refresh_token: rotated = refreshToken, expires_in: expiresIn } = asked.value;
    const kept = { sealedRefreshToken: sealRefreshToken(refreshKey, rotated, id, session.hash) };
    const renewed = { ...kept, refreshAt: refreshAtOf(expiresIn, now) };
    // A provider may renew without an ID token; then it has said that the sign-in stands, and no more.
    if (idToken === undefined) return write(renewal, renewed);
    const signedIn = await verifyIdToken(idToken, issuer, client, now);
    if (!signedIn.ok && signedIn.refusal.reason === "check_unavailable") {
      // The former refresh token is used up: the new one is kept although its company could not be checked.
      const written = await write(renewal, kept);
      return written.ok ? goOn({ ...renewal, session: written.value }, signedIn.refusal.why) : written;
    }
    if (!signedIn.ok || signedIn.value.who.user !== session.identity.user) {
      const ended = await end(renewal);
      return signedIn.ok ? ended : signedIn;
    }
    const identity = identityOf(signedIn.value, client, session.identity.provedAt);
    return write(renewal, { ...renewed, identity });
  }

  async function renewOnce(renewal: Renewal): Promise<Outcome<Session>> {
    const { session, issuer, now } = renewal;
    if (now < (leftAlone.get(issuer.options.name) ?? now))
      return goOn(renewal, "the provider did not answer");
    if (!(await sessions.lockRefresh(session.hash, LOCK_SECONDS))) {
      return goOn(renewal, "another instance is renewing it");
    }
    try {
      const current = await sessions.get(session.hash);
      if (!current) return refused({ reason: "session_unknown" });
      // Another instance may have been faster between our reading and our lock.
      if (current.refreshAt === undefined || now < current.refreshAt) return allowed(current);
      return await renewLocked({ ...renewal, session: current });
    } finally {
      // A lock that stays is only slow: it ends by itself.
      await sessions.unlockRefresh(session.hash).catch(() => {});
    }
  }

  return async function renewSession(session, id, now) {
    const issuer = issuers.byName(session.identity.issuer);
    const client = issuer?.options.client;
    if (!issuer || !client) return refused({ reason: "issuer_unknown", issuer: session.identity.issuer });
    const known = running.get(session.hash);
    if (known) return known;
    const renewal = renewOnce({ session, id, issuer, client, now }).finally(() =>
      running.delete(session.hash),
    );
    running.set(session.hash, renewal);
    return renewal;
  };
}
