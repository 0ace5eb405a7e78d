import { setBounded } from "../bounded-map.ts";
import type { EpochSeconds } from "../time.ts";
import type { Session } from "./session.ts";
import type { SessionStands } from "./session-proof.ts";

/** Sessions remembered; the next request of one that is forgotten is refused all the same. */
const REMEMBERED_MAX = 50_000;

export interface IdleSessions {
  /** Told of each session that is used here, whenever it is new or changed. */
  note(session: Session): void;
  /** @returns the hashes of those that are over, each once. Never rejects: what cannot be known is asked again. */
  take(now: EpochSeconds): Promise<readonly string[]>;
}

/**
 * Knows when nobody uses a session any more. Its requests are refused then without this; its streams and connections
 * ask nothing, and have to be told. Each instance tells its own: it has seen the sessions that opened them.
 */
export function followIdleSessions({
  sessionStands,
  idleSeconds,
}: {
  readonly sessionStands: SessionStands;
  readonly idleSeconds: number;
}): IdleSessions {
  /** When each will be idle, as far as was seen here. */
  const idleAt = new Map<string, EpochSeconds>();
  return {
    note: ({ hash, lastSeenAt }) => setBounded(idleAt, hash, lastSeenAt + idleSeconds, REMEMBERED_MAX),
    async take(now) {
      const over: string[] = [];
      for (const [hash, at] of idleAt) {
        if (now < at) continue;
        const stands = await sessionStands(hash, now).catch(() => true);
        // It may have been used on another instance meanwhile, which will use it again.
        if (stands) setBounded(idleAt, hash, now + LOOK_AGAIN_SECONDS, REMEMBERED_MAX);
        else if (idleAt.delete(hash)) over.push(hash);
      }
      return over;
    },
  };
}

/** A session in use elsewhere is not read from the store more often than this. */
const LOOK_AGAIN_SECONDS = 15;
