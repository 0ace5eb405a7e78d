import type { EpochSeconds } from "../../time.ts";
import type { NotBeforeKey, Session, SessionStore } from "../session.ts";

/** A session store in memory: for tests that are about something else. It passes the suite the real one passes. */
export function createMemorySessions(): SessionStore & {
  /** While set, every method fails with it: the bucket cannot be reached. */
  failure: Error | undefined;
} {
  const sessions = new Map<string, Session>();
  const locks = new Set<string>();
  const remembered = new Set<string>();
  const notBefores = new Map<string, EpochSeconds>();
  const listeners = new Set<(key: NotBeforeKey, at: EpochSeconds) => void>();
  const store = {
    failure: undefined as Error | undefined,
    async get(hash: string) {
      check();
      return sessions.get(hash);
    },
    async create(session: Session) {
      check();
      if (sessions.has(session.hash)) throw new Error("there is one already");
      sessions.set(session.hash, session);
    },
    async update(session: Session, since: Session) {
      check();
      if (sessions.get(session.hash) !== since) return false;
      sessions.set(session.hash, session);
      return true;
    },
    async delete(hash: string) {
      check();
      sessions.delete(hash);
    },
    async lockRefresh(hash: string) {
      check();
      if (locks.has(hash)) return false;
      locks.add(hash);
      return true;
    },
    async unlockRefresh(hash: string) {
      check();
      locks.delete(hash);
    },
    async remember(key: string) {
      check();
      remembered.add(key);
    },
    async rememberOnce(key: string) {
      check();
      if (remembered.has(key)) return false;
      remembered.add(key);
      return true;
    },
    async isRemembered(key: string) {
      check();
      return remembered.has(key);
    },
    async raiseNotBefore(key: NotBeforeKey, at: EpochSeconds) {
      check();
      const name = nameOf(key);
      if (at <= (notBefores.get(name) ?? Number.NEGATIVE_INFINITY)) return;
      notBefores.set(name, at);
      for (const listener of listeners) listener(key, at);
    },
    notBefore(key: NotBeforeKey) {
      check();
      return notBefores.get(nameOf(key));
    },
    onNotBefore(listener: (key: NotBeforeKey, at: EpochSeconds) => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };

  function check(): void {
    if (store.failure) throw store.failure;
  }
  return store;
}

function nameOf(key: NotBeforeKey): string {
  return key.user === undefined ? `session ${key.session}` : `user ${key.user}`;
}
