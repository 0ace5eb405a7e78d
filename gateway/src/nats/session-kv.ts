import type { KvWatchEntry } from "@nats-io/kv";
import { setBounded } from "../bounded-map.ts";
import type { Session, SessionStore } from "../identity/session.ts";
import type { Clock } from "../time.ts";
import type { Control } from "./control.ts";
import { CurrentWatch } from "./current-watch.ts";
import { readKey, writeKey } from "./kv-write.ts";
import { NotBefores } from "./not-befores.ts";
import { parseSession } from "./session-json.ts";

export interface SessionKvOptions {
  readonly control: Control;
  readonly clock: Clock;
  readonly instance: string;
  /** How long to wait for the buckets to be loaded, ms. Default 10,000. */
  readonly startTimeoutMs?: number;
}

/** The store, and its lifetime. */
export interface SessionKv extends SessionStore {
  /** Whether not-befores are known as of now: for readyz. */
  readonly current: boolean;
  /** Whether another instance of the gateway is there, as far as is known. */
  isAlive(instance: string): boolean;
  stop(): void;
}

const START_TIMEOUT_MS = 10_000;
/** Sessions kept in memory, about 2 kB each. */
const CACHED_MAX = 10_000;
const HASH = /^[A-Za-z0-9_-]{43}$/;

/** Fulfils when every not-before is loaded. */
export async function openSessionKv(options: SessionKvOptions): Promise<SessionKv> {
  const { control, clock, instance, startTimeoutMs = START_TIMEOUT_MS } = options;
  const notBefores = new NotBefores(control, clock, instance);
  const sessions = new KvSessions(control, clock, instance, notBefores);
  try {
    await Promise.all([notBefores.started(startTimeoutMs), sessions.started(startTimeoutMs)]);
  } catch (error) {
    sessions.stop();
    throw error;
  }
  return sessions;
}

class KvSessions implements SessionKv {
  readonly #control: Control;
  readonly #clock: Clock;
  readonly #instance: string;
  readonly #notBefores: NotBefores;
  readonly #watch: CurrentWatch;
  /** In the order of last use. */
  readonly #cached = new Map<string, { readonly session: Session; readonly revision: number }>();
  /** Reads on their way, with the newest revision the watch has told of meanwhile. */
  readonly #reading = new Map<string, { newest: number }>();
  readonly #revisions = new WeakMap<Session, number>();
  readonly #locks = new Map<string, number>();
  readonly raiseNotBefore: SessionStore["raiseNotBefore"];
  readonly notBefore: SessionStore["notBefore"];
  readonly onNotBefore: SessionStore["onNotBefore"];

  constructor(control: Control, clock: Clock, instance: string, notBefores: NotBefores) {
    this.#control = control;
    this.#clock = clock;
    this.#instance = instance;
    this.#notBefores = notBefores;
    this.raiseNotBefore = (key, at) => notBefores.raiseNotBefore(key, at);
    this.notBefore = (key) => notBefores.notBefore(key);
    this.onNotBefore = (listener) => notBefores.onNotBefore(listener);
    this.#watch = new CurrentWatch({
      control,
      bucket: "sessions",
      clock,
      instance,
      include: "changes",
      onEntry: (entry) => this.#changed(entry),
      onGap: () => this.#forgetAll(),
    });
  }

  started(withinMs: number): Promise<void> {
    return this.#watch.started(withinMs);
  }

  get current(): boolean {
    return this.#notBefores.current && this.#watch.current;
  }

  isAlive(instance: string): boolean {
    return this.#notBefores.isAlive(instance);
  }

  stop(): void {
    this.#watch.stop();
    this.#notBefores.stop();
    this.#cached.clear();
  }

  async get(hash: string): Promise<Session | undefined> {
    const cached = this.#cached.get(hash);
    if (cached && this.#watch.current) {
      this.#cached.delete(hash);
      this.#cached.set(hash, cached);
      return cached.session;
    }
    if (!HASH.test(hash)) return undefined;
    const reading = this.#reading.get(hash) ?? { newest: 0 };
    this.#reading.set(hash, reading);
    try {
      const { value, revision } = await readKey(this.#control, "sessions", hash);
      const session = value === undefined ? undefined : parseSession(value, hash);
      if (session) this.#remember(session, revision, reading.newest);
      return session;
    } finally {
      if (this.#reading.get(hash) === reading) this.#reading.delete(hash);
    }
  }

  async create(session: Session): Promise<void> {
    if (!HASH.test(session.hash)) throw new Error("a session's key is a SHA-256 in base64url");
    const revision = await this.#write(session, 0);
    if (revision === undefined) throw new Error("there is such a session already");
  }

  async update(session: Session, since: Session): Promise<boolean> {
    const replaces = this.#revisions.get(since);
    if (replaces === undefined || since.hash !== session.hash) return false;
    const revision = await this.#write(session, replaces);
    if (revision === undefined) return false;
    const written = { ...session };
    this.#remember(written, revision, revision);
    return true;
  }

  async delete(hash: string): Promise<void> {
    if (!HASH.test(hash)) return;
    this.#cached.delete(hash);
    const revision = await writeKey(this.#control, { bucket: "sessions", key: hash });
    const reading = this.#reading.get(hash);
    if (reading && revision !== undefined) reading.newest = revision;
    this.#cached.delete(hash);
  }

  async lockRefresh(hash: string, seconds: number): Promise<boolean> {
    if (!HASH.test(hash)) throw new Error("a session's key is a SHA-256 in base64url");
    const last = await readKey(this.#control, "locks", hash);
    if (last.value !== undefined) return false;
    const revision = await writeKey(this.#control, {
      bucket: "locks",
      key: hash,
      value: this.#instance,
      replaces: last.revision,
      ttlSeconds: Math.ceil(seconds),
    });
    if (revision === undefined) return false;
    this.#locks.set(hash, revision);
    return true;
  }

  async unlockRefresh(hash: string): Promise<void> {
    const replaces = this.#locks.get(hash);
    if (replaces === undefined) return;
    this.#locks.delete(hash);
    // Expired and taken by somebody else meanwhile: then it is theirs.
    await writeKey(this.#control, { bucket: "locks", key: hash, replaces });
  }

  async remember(key: string, seconds: number): Promise<void> {
    await writeKey(this.#control, {
      bucket: "locks",
      key: usedKeyOf(key),
      value: this.#instance,
      ttlSeconds: Math.ceil(seconds),
    });
  }

  async rememberOnce(key: string, seconds: number): Promise<boolean> {
    const revision = await writeKey(this.#control, {
      bucket: "locks",
      key: usedKeyOf(key),
      value: this.#instance,
      replaces: 0,
      ttlSeconds: Math.ceil(seconds),
    });
    return revision !== undefined;
  }

  async isRemembered(key: string): Promise<boolean> {
    return (await readKey(this.#control, "locks", usedKeyOf(key))).value !== undefined;
  }

  #write(session: Session, replaces: number): Promise<number | undefined> {
    const ttlSeconds = Math.ceil(session.endsAt - this.#clock());
    if (!(ttlSeconds > 0)) return Promise.reject(new Error("the session has ended"));
    return writeKey(this.#control, {
      bucket: "sessions",
      key: session.hash,
      value: JSON.stringify(session),
      replaces,
      ttlSeconds,
    });
  }

  #remember(session: Session, revision: number, newest: number): void {
    this.#revisions.set(session, revision);
    const cached = this.#cached.get(session.hash);
    if (!this.#watch.current || newest > revision || (cached && cached.revision > revision)) return;
    setBounded(this.#cached, session.hash, { session, revision }, CACHED_MAX);
  }

  #changed({ key, revision }: KvWatchEntry): void {
    const reading = this.#reading.get(key);
    if (reading) reading.newest = Math.max(reading.newest, revision);
    const cached = this.#cached.get(key);
    if (cached && cached.revision < revision) this.#cached.delete(key);
  }

  #forgetAll(): void {
    this.#cached.clear();
    // A read that began before the gap may have missed a change in it.
    for (const reading of this.#reading.values()) reading.newest = Number.POSITIVE_INFINITY;
  }
}

/** A refresh lock is its session's hash alone. */
function usedKeyOf(key: string): string {
  if (!HASH.test(key)) throw new Error("what is remembered is a SHA-256 in base64url");
  return `used.${key}`;
}
