import { GatewayError, messageOf } from "../errors.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { isLoopbackHost } from "./addresses.ts";
import { checkAmbient } from "./ambient.ts";
import { type BackChannelLogout, createBackChannelLogout } from "./back-channel-logout.ts";
import { beginSignIn, type SignInBegun } from "./begin-sign-in.ts";
import { clearCookie, cookieNameOf, loginCookieNameOf, setCookie } from "./cookie.ts";
import { finishSignIn } from "./finish-sign-in.ts";
import type { Presented } from "./identity.ts";
import { followIdleSessions } from "./idle-sessions.ts";
import type { ClientOptions, Issuer, Issuers } from "./issuer.ts";
import { openLoginState } from "./login-state.ts";
import { createRenewSession } from "./renew-session.ts";
import type { SecretKey } from "./sealed-box.ts";
import type { Session, SessionStore } from "./session.ts";
import {
  createSessionStands,
  createUseSession,
  createVerifySession,
  type SessionStands,
  sessionHashOf,
  type UseSession,
  type VerifySession,
} from "./session-proof.ts";
import { followUpstreamSessions } from "./upstream-sessions.ts";

/** Characters of a callback's query: code, state and iss are a few hundred. */
const CALLBACK_MAX = 8_192;

export interface SignInOptions {
  /** With `client` where one can sign in; the first of those is the default. */
  readonly issuers: Issuers;
  readonly sessions: SessionStore;
  /** https, or http on loopback; its path is the base of all of ours. */
  readonly publicUrl: string;
  /** Origins whose pages may sign a session out: `origins` of the configuration. */
  readonly origins: readonly string[];
  /** 32 bytes; seals the login cookie. */
  readonly loginKey: SecretKey;
  /** 32 bytes; seals refresh tokens, together with each cookie's value. */
  readonly refreshKey: SecretKey;
  /** Without a request for so long a session ends: 60 to 86,400 s. Default 1,800 (30 m). */
  readonly idleSeconds?: number;
  /** The longest a session lives: 300 to 2,592,000 s (30 d). Default 28,800 (8 h). */
  readonly absoluteSeconds?: number;
  /** How long a session goes on while its provider does not answer: 0 to 86,400 s. Default 3,600 (1 h). */
  readonly graceSeconds?: number;
}

/** The web session, from sign-in to sign-out. Nothing here rejects for what a caller or a provider does. */
export interface SignIn {
  /**
   * @returns where to send the browser, with a cookie to set
   * @see beginSignIn
   */
  begin(ask: {
    /** Its name; default the first one. */
    readonly issuer?: string;
    /** A path of our origin. Default the base path. */
    readonly returnTo?: string;
    readonly now: EpochSeconds;
  }): Promise<Outcome<SignInBegun>>;
  /**
   * Exchanges the code and judges what comes, without storing anything, so that the record can stand before `keep`.
   *
   * @see finishSignIn
   */
  finish(ask: {
    /** The request's URL or path with its query; only the query and the end of the path are looked at. */
    readonly url: string;
    /** Of the cookie `loginCookieNameOf`, if any. */
    readonly loginCookie: string | undefined;
    /** Of the session cookie, if any: that session ends, so that a browser never holds two. */
    readonly formerSession?: string | undefined;
    readonly now: EpochSeconds;
  }): Promise<Outcome<SignedInBrowser>>;
  /**
   * Stores the session that `finish` made, and ends the one the browser had.
   *
   * @returns `check_unavailable`: then the new cookie is worth nothing
   */
  keep(signedIn: SignedInBrowser): Promise<Outcome<void>>;
  /**
   * Judges a sign-out without doing it, so that its record can stand before it. The ambient rule is asked here too,
   * since a form of another site must not sign anybody out.
   *
   * @returns the id of the session to end; `proof_missing` without a session cookie, `cross_site`
   */
  judgeLogout(presented: Presented): Outcome<string>;
  /**
   * Signs the session of the presented cookie out: on all instances when it fulfils.
   *
   * @returns what `judgeLogout` refuses, or `check_unavailable`
   */
  logout(ask: {
    readonly presented: Presented;
    readonly now: EpochSeconds;
  }): Promise<Outcome<SignedOutBrowser>>;
  readonly backChannel: BackChannelLogout;
  /** For `createIdentify`. */
  readonly verifySession: VerifySession;
  readonly sessionStands: SessionStands;
  readonly useSession: UseSession;
  /** @returns sessions that were used here and that nobody uses any more, each once: by their hashes */
  takeIdle(now: EpochSeconds): Promise<readonly string[]>;
}

export interface SignedInBrowser {
  /** `Set-Cookie` values. */
  readonly cookies: readonly string[];
  /** A path of our origin. */
  readonly returnTo: string;
  /** Not yet stored. */
  readonly session: Session;
  /** The id of the session to end. */
  readonly formerSession?: string;
}

export interface SignedOutBrowser {
  /** `Set-Cookie` values. */
  readonly cookies: readonly string[];
  /** Where the provider signs the browser out too (OpenID Connect RP-Initiated Logout), if it does. */
  readonly location?: string;
}

/**
 * @throws GatewayError `CONFIG_INVALID` for a public URL or limits that cannot be meant, or when nobody can sign in
 */
export function createSignIn(options: SignInOptions): SignIn {
  const { issuers, sessions, publicUrl, loginKey, refreshKey } = options;
  const { idleSeconds = 1_800, absoluteSeconds = 28_800, graceSeconds = 3_600 } = options;
  checkOptions(publicUrl, { idleSeconds, absoluteSeconds, graceSeconds });
  const base = publicUrl.replace(/\/$/, "");
  const origins: ReadonlySet<string> = new Set(options.origins);
  const doors = doorsOf(issuers, base);
  const [defaultDoor] = doors;
  if (!defaultDoor)
    throw new GatewayError("CONFIG_INVALID", "Cannot sign anybody in: no issuer has a client");
  const cookieName = cookieNameOf(publicUrl);
  const loginCookieName = loginCookieNameOf(publicUrl);

  const sessionStands = createSessionStands({ sessions, idleSeconds });
  const idle = followIdleSessions({ sessionStands, idleSeconds });
  const noteUpstream = followUpstreamSessions(sessions);

  async function end(id: string, now: EpochSeconds): Promise<Session | undefined> {
    const hash = sessionHashOf(id);
    const session = await sessions.get(hash);
    // For a cookie that anybody can make up nothing is written: sign-outs are remembered for a day.
    if (!session) return undefined;
    await sessions.raiseNotBefore({ session: hash }, now);
    await sessions.delete(hash);
    return session;
  }

  function judgeLogout(presented: Presented): Outcome<string> {
    const counts = checkAmbient(presented, origins);
    if (!counts.ok) return counts;
    const proof = presented.proofs.find(({ kind }) => kind === "session");
    return proof?.kind === "session" ? allowed(proof.id) : refused({ reason: "proof_missing" });
  }

  return {
    async begin({ issuer: name, returnTo = new URL(`${base}/`).pathname, now }) {
      const door =
        name === undefined ? defaultDoor : doors.find(({ issuer }) => issuer.options.name === name);
      if (!door)
        return refused({ reason: "request_invalid", what: "issuer", why: "nobody can sign in there" });
      return beginSignIn({ ...door, returnTo, publicUrl, loginKey, now });
    },

    async finish({ url, loginCookie = "", formerSession, now }) {
      const login = openLoginState(loginKey, loginCookie, now);
      if (!login) return loginFailed("cookie", "there is no sign-in under way in this browser");
      const door = doors.find(({ issuer }) => issuer.options.name === login.issuer);
      const callback = door && callbackOf(url, door.redirectUri);
      if (!door || !callback) return loginFailed("callback", "it is not the callback of this sign-in");
      const finished = await finishSignIn({ ...door, login, callback, absoluteSeconds, refreshKey, now });
      if (!finished.ok) return finished;
      const { id, session } = finished.value;
      const cookies = [setCookie(cookieName, id), clearCookie(loginCookieName)];
      const former = formerSession !== undefined && { formerSession };
      return allowed({ cookies, returnTo: login.returnTo, session, ...former });
    },

    async keep({ session, formerSession }) {
      try {
        if (formerSession !== undefined) await end(formerSession, session.signedInAt);
        await sessions.create(session);
      } catch (error) {
        return unavailable(error);
      }
      return allowed(undefined);
    },

    judgeLogout,

    async logout({ presented, now }) {
      const sessionId = judgeLogout(presented);
      if (!sessionId.ok) return sessionId;
      try {
        const session = await end(sessionId.value, now);
        const location = session && (await endSessionUrlOf(session, issuers, base, now));
        return allowed({ cookies: [clearCookie(cookieName)], ...(location !== undefined && { location }) });
      } catch (error) {
        return unavailable(error);
      }
    },

    backChannel: createBackChannelLogout({ issuers, sessions }),

    verifySession: createVerifySession({
      issuers,
      sessions,
      renew: createRenewSession({ issuers, sessions, refreshKey, graceSeconds }),
      note(session) {
        noteUpstream(session);
        idle.note(session);
      },
      idleSeconds,
      graceSeconds,
    }),

    sessionStands,
    useSession: createUseSession({ sessions, idleSeconds }),
    takeIdle: idle.take,
  };
}

/** An issuer at which one can sign in. */
interface Door {
  readonly issuer: Issuer;
  readonly client: ClientOptions;
  readonly redirectUri: string;
}

/**
 * Each issuer has a redirect URI of its own, so that a code of one is never taken for another's (mix-up: RFC 9700
 * §4.4.2.2), also where a provider does not send `iss`. The first has the plain one: `/auth/callback`, the others
 * `/auth/callback/<name>`.
 */
function doorsOf(issuers: Issuers, base: string): readonly Door[] {
  const plain = `${base}/auth/callback`;
  return issuers.all
    .flatMap((issuer) => (issuer.options.client ? [{ issuer, client: issuer.options.client }] : []))
    .map((door, at) => ({ ...door, redirectUri: at === 0 ? plain : `${plain}/${door.issuer.options.name}` }));
}

/**
 * The callback as the provider was told of it, with the query that came: never with the host of the request, which
 * the caller chooses. The base path may have been taken off on the way.
 */
function callbackOf(url: string, redirectUri: string): URL | undefined {
  if (url.length > CALLBACK_MAX || !URL.canParse(url, redirectUri)) return undefined;
  const { pathname, search } = new URL(url, redirectUri);
  const end = redirectUri.slice(redirectUri.lastIndexOf("/auth/callback"));
  return pathname.endsWith(end) ? new URL(redirectUri + search) : undefined;
}

/**
 * @returns undefined when the provider has no such place, does not answer, or is no longer configured: the session
 *   here has ended whatever the provider does
 */
async function endSessionUrlOf(
  session: Session,
  issuers: Issuers,
  base: string,
  now: EpochSeconds,
): Promise<string | undefined> {
  const issuer = issuers.byName(session.identity.issuer);
  const client = issuer?.options.client;
  if (!issuer || !client) return undefined;
  const metadata = await issuer.metadata(now).catch(() => undefined);
  const place = metadata?.document.end_session_endpoint;
  if (typeof place !== "string" || !URL.canParse(place)) return undefined;
  const url = new URL(place);
  if (url.protocol !== new URL(issuer.options.url).protocol) return undefined;
  url.searchParams.set("client_id", client.id);
  url.searchParams.set("post_logout_redirect_uri", `${base}/`);
  if (session.upstreamSid !== undefined) url.searchParams.set("logout_hint", session.upstreamSid);
  return url.href;
}

const LIMITS = {
  idleSeconds: [60, 86_400],
  absoluteSeconds: [300, 2_592_000],
  graceSeconds: [0, 86_400],
} as const;

function checkOptions(publicUrl: string, limits: Readonly<Record<keyof typeof LIMITS, number>>): void {
  const url = new URL(publicUrl);
  // The cookie is Secure, and a browser keeps it over plain HTTP for this machine only.
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopbackHost(url.hostname))) {
    throw new GatewayError(
      "CONFIG_INVALID",
      `Cannot sign anybody in: public-url "${publicUrl}" is not https`,
    );
  }
  for (const [name, seconds] of Object.entries(limits)) {
    const [least, most] = LIMITS[name as keyof typeof LIMITS];
    if (!(seconds >= least && seconds <= most)) {
      const message = `Cannot keep sessions: ${name} must be ${least} to ${most}, found ${seconds}`;
      throw new GatewayError("CONFIG_INVALID", message);
    }
  }
}

function loginFailed(step: string, why: string): Outcome<never> {
  return refused({ reason: "login_failed", step, why });
}

function unavailable(error: unknown): Outcome<never> {
  const why = messageOf(error);
  return refused({ reason: "check_unavailable", check: "sessions", why });
}
