import { hash } from "node:crypto";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { Identity } from "./identity.ts";
import type { Issuers } from "./issuer.ts";
import type { Session, SessionStore } from "./session.ts";

/** Seconds between two marks of use, so that reading does not become writing; or a quarter of the idle limit. */
const TOUCH_SECONDS = 60;

export type VerifySession = (id: string, now: EpochSeconds) => Promise<Outcome<Identity>>;

/** Whether a session stands, asked by the name it is held by: nobody has to present its cookie. */
export type SessionStands = (hash: string, now: EpochSeconds) => Promise<boolean>;

/**
 * Asks the provider again about a session whose time for that has come.
 *
 * @param id  the cookie's value, without which the refresh token cannot be opened
 */
export type RenewSession = (session: Session, id: string, now: EpochSeconds) => Promise<Outcome<Session>>;

/** What a session's cookie is known by: in the store, in leases, in records. base64url SHA-256, 43 characters. */
export function sessionHashOf(id: string): string {
  return hash("sha256", id, "base64url");
}

/**
 * The name under which a provider's session is signed out before we know which of ours it is: a not-before's key
 * like a session's own hash.
 *
 * @param issuer  its name in the configuration
 * @param sid     the provider's `sid`
 */
export function upstreamSessionHashOf(issuer: string, sid: string): string {
  return hash("sha256", JSON.stringify(["upstream-session", issuer, sid]), "base64url");
}

/**
 * Makes the verifier of session cookies.
 *
 * @returns `session_unknown`, `session_idle`, `issuer_unknown`, `proof_expired` at the absolute limit, `proof_revoked` when the
 *   provider's session was signed out or its refresh refused, `check_unavailable` when the provider has not
 *   answered for too long. Rejects when the store does.
 */
export function createVerifySession({
  issuers,
  sessions,
  renew,
  note = () => {},
  idleSeconds,
  graceSeconds,
}: {
  /** A session of an issuer that is no longer configured ends with it. */
  readonly issuers: Pick<Issuers, "byName">;
  readonly sessions: SessionStore;
  /** Told of each session that is used here, whenever it is new or changed. */
  readonly note?: (session: Session) => void;
  /** Called when `refreshAt` has passed. */
  readonly renew: RenewSession;
  /** Without a request for so long a session ends: 60 to 86,400 s. */
  readonly idleSeconds: number;
  /** How long after `refreshAt` a session goes on while the provider does not answer: 0 to 86,400 s. */
  readonly graceSeconds: number;
}): VerifySession {
  /** One Identity for each state of a session, so that what is cached by identity stays cached. */
  const identities = new WeakMap<Session, Outcome<Identity>>();
  const touch = createTouch(sessions, idleSeconds);

  return async function verifySession(id, now) {
    const session = await sessions.get(sessionHashOf(id));
    if (!session) return refused({ reason: "session_unknown" });
    const { issuer } = session.identity;
    if (!issuers.byName(issuer)) return refused({ reason: "issuer_unknown", issuer });
    const over = sessionRefusalOf(session, { sessions, idleSeconds, now });
    if (over) return refused(over);
    const due = session.refreshAt !== undefined && now >= session.refreshAt;
    const current = due ? await renew(session, id, now) : allowed(session);
    if (!current.ok) return current;
    if (current.value === session) touch(session, now);
    const known = identities.get(current.value);
    if (known) return known;
    note(current.value);
    const identity = allowed(identityOf(current.value, graceSeconds));
    identities.set(current.value, identity);
    return identity;
  };
}

export function createSessionStands(parts: {
  readonly sessions: SessionStore;
  readonly idleSeconds: number;
}): SessionStands {
  return async (hash, now) => {
    const session = await parts.sessions.get(hash);
    return session !== undefined && sessionRefusalOf(session, { ...parts, now }) === undefined;
  };
}

/** Marks a session as used by what asks no more once it is open: a native client that goes on publishing. */
export type UseSession = (hash: string, now: EpochSeconds) => Promise<void>;

/** Never rejects: a mark that is lost is made with the next use. */
export function createUseSession(parts: {
  readonly sessions: SessionStore;
  readonly idleSeconds: number;
}): UseSession {
  const touch = createTouch(parts.sessions, parts.idleSeconds);
  return async function useSession(hash, now) {
    const session = await parts.sessions.get(hash).catch(() => undefined);
    if (session && sessionRefusalOf(session, { ...parts, now }) === undefined) touch(session, now);
  };
}

function createTouch(
  sessions: SessionStore,
  idleSeconds: number,
): (session: Session, now: EpochSeconds) => void {
  const touching = new Set<string>();
  const touchSeconds = Math.min(TOUCH_SECONDS, idleSeconds / 4);
  return function touch(session, now) {
    if (now < session.lastSeenAt + touchSeconds || touching.has(session.hash)) return;
    touching.add(session.hash);
    // Nobody waits for it. If the mark is lost the session idles out sooner, which is the safe side.
    sessions
      .update({ ...session, lastSeenAt: now }, session)
      .catch(() => false)
      .finally(() => touching.delete(session.hash));
  };
}

/** @returns why a session is over: at its absolute limit, idle, or signed out at its provider */
function sessionRefusalOf(
  session: Session,
  {
    sessions,
    idleSeconds,
    now,
  }: { readonly sessions: SessionStore; readonly idleSeconds: number; readonly now: EpochSeconds },
): Refusal | undefined {
  if (now >= session.endsAt) return { reason: "proof_expired", expiredAt: session.endsAt, now };
  const idleSince = session.lastSeenAt;
  if (now >= idleSince + idleSeconds) return { reason: "session_idle", idleSince, now };
  if (session.upstreamSid === undefined) return undefined;
  const key = upstreamSessionHashOf(session.identity.issuer, session.upstreamSid);
  const notBefore = sessions.notBefore({ session: key });
  if (notBefore === undefined || session.signedInAt > notBefore) return undefined;
  return { reason: "proof_revoked", notBefore, provedAt: session.signedInAt };
}

/**
 * Where the provider's word must be renewed, nothing made from it outlives that word and the grace: a stream that
 * never asks again ends then too, and its client comes back with a request that renews it.
 */
function identityOf(session: Session, graceSeconds: number): Identity {
  const renewBy =
    session.refreshAt === undefined ? Number.POSITIVE_INFINITY : session.refreshAt + graceSeconds;
  return {
    ...session.identity,
    proof: { kind: "session", hash: session.hash },
    expiresAt: Math.min(session.endsAt, renewBy),
  };
}
