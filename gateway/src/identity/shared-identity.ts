import { setBounded } from "../bounded-map.ts";
import type { EpochSeconds } from "../time.ts";
import type { Identity } from "./identity.ts";
import type { SessionStore } from "./session.ts";

/** Identities kept, so that a Grant compiled for one is found again. */
const REMEMBERED_MAX = 5_000;
/** So long requests of whom the same is said share one Identity. */
const SHARED_SECONDS = 60;
/**
 * Nothing made from one word of what stands in front outlives this: a stream then asks again, and a changed group, a
 * disabled account or a revoked certificate counts.
 */
export const WORD_SECONDS = 3_600;

/**
 * Makes what gives requests of whom the same is said the same Identity, where each has a proof of its own. It ends
 * with a sign-out: who is proved after it is proved anew.
 *
 * @returns the former one of the same `proof.hash`, or the given one
 */
export function createShareIdentity(notBefore: SessionStore["notBefore"]): (identity: Identity) => Identity {
  /** By the proof's hash; least recently used first. */
  const known = new Map<string, Identity>();

  function isShared({ user, provedAt }: Identity, at: EpochSeconds): boolean {
    const signedOut = notBefore({ user });
    const isAfter = signedOut === undefined || provedAt > signedOut;
    return isAfter && at >= provedAt && at < provedAt + SHARED_SECONDS;
  }

  return function shareIdentity(identity) {
    const { hash } = identity.proof;
    const former = known.get(hash);
    const shared = former && isShared(former, identity.provedAt) ? former : identity;
    setBounded(known, hash, shared, REMEMBERED_MAX);
    return shared;
  };
}
