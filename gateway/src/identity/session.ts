import type { EpochSeconds } from "../time.ts";
import type { Identity } from "./identity.ts";

/** A signed-in browser, server-side. Kept under the SHA-256 of the cookie's value, never under the value. */
export interface Session {
  /** base64url SHA-256 of the cookie's value: the key in the store, and the seal's `rctx.sid`. */
  readonly hash: string;
  readonly identity: Omit<Identity, "proof" | "expiresAt">;
  readonly signedInAt: EpochSeconds;
  /** Refreshed at most once a minute (or a quarter of a short idle limit), so that reading does not become writing. */
  readonly lastSeenAt: EpochSeconds;
  /** Absolute limit: the session ends then, whatever happens. */
  readonly endsAt: EpochSeconds;
  /** When the provider's word on this user must be renewed with the refresh token; absent = not before `endsAt`. */
  readonly refreshAt?: EpochSeconds;
  /** The upstream refresh token, sealed under a key that needs the cookie's value; base64url. */
  readonly sealedRefreshToken?: string;
  /** The provider's session id (`sid`), for back-channel logout. */
  readonly upstreamSid?: string;
  /** The ID token is not kept; logout at the provider uses `client_id` and `logout_hint`. */
}

/** Sessions and not-befores, shared by all instances. Implemented by nats/session-kv.ts; every method may reject: fail closed. */
export interface SessionStore {
  /** @returns undefined when there is none. May be answered from memory as long as the watch is current. */
  get(hash: string): Promise<Session | undefined>;
  /** Creates; rejects when the key exists. */
  create(session: Session): Promise<void>;
  /**
   * Replaces `since`, the very object that `get` returned, or nothing.
   *
   * @returns false when somebody else was faster, the session is gone, or `since` is not from `get`
   */
  update(session: Session, since: Session): Promise<boolean>;
  delete(hash: string): Promise<void>;
  /** Takes the refresh lock of a session for at most `seconds`; @returns false when somebody holds it. */
  lockRefresh(hash: string, seconds: number): Promise<boolean>;
  unlockRefresh(hash: string): Promise<void>;
  /**
   * Remembers, on all instances, that something was used: for at least `seconds`, rounded up.
   *
   * @param key  base64url SHA-256, apart from those of sessions
   */
  remember(key: string, seconds: number): Promise<void>;
  /**
   * Remembers it unless it is remembered already: of two that try at once, on whichever instances, one succeeds.
   *
   * @returns false when it was
   */
  rememberOnce(key: string, seconds: number): Promise<boolean>;
  /** Asks the store itself, never memory: what another instance has just used is known here. */
  isRemembered(key: string): Promise<boolean>;
  /**
   * Refuses every proof of this user (or session) made at or before `at`, on all instances, from the moment
   * the promise fulfils.
   */
  raiseNotBefore(key: NotBeforeKey, at: EpochSeconds): Promise<void>;
  /** Answered from memory; throws when the watch is not current, since not knowing is not "none". */
  notBefore(key: NotBeforeKey): EpochSeconds | undefined;
  /** Called on this instance whenever a not-before rises, wherever it was raised. @returns stops listening. */
  onNotBefore(listener: (key: NotBeforeKey, at: EpochSeconds) => void): () => void;
}

/** A user (`<issuer>-<escaped id>`), or a session by its hash. */
export type NotBeforeKey =
  | { readonly user: string; readonly session?: undefined }
  | { readonly session: string; readonly user?: undefined };
