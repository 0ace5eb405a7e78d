import { setBounded } from "./bounded-map.ts";
import { holderOf, type Identity } from "./identity/identity.ts";
import type { Grant } from "./policy/grant.ts";
import { allowed, type Outcome, refused } from "./refusal.ts";
import type { EpochSeconds } from "./time.ts";

/** Users remembered at most: 65,536 × about 100 bytes. Beyond, the longest unseen is forgotten, bucket full. */
const USERS_MAX = 65_536;

interface Bucket {
  tokens: number;
  at: EpochSeconds;
}

/**
 * Token buckets, one per user and actor: `rate: 50/s` lets fifty messages through at once and fifty each second.
 * Per instance: the cluster as a whole allows the rate times the number of instances a user is spread over.
 */
export function createRate(): (identity: Identity, grant: Grant, now: EpochSeconds) => Outcome<void> {
  const buckets = new Map<string, Bucket>();

  return function withinRate(identity, grant, now) {
    const perSecond = grant.limits.ratePerSecond;
    if (perSecond === undefined) return allowed(undefined);
    const key = holderOf(identity);
    const bucket = buckets.get(key) ?? { tokens: perSecond, at: now };
    // A clock that steps back must not take tokens away.
    bucket.tokens = Math.min(perSecond, bucket.tokens + Math.max(0, now - bucket.at) * perSecond);
    bucket.at = now;
    setBounded(buckets, key, bucket, USERS_MAX);
    if (bucket.tokens < 1) {
      const retryAfterSeconds = Math.max(1, Math.ceil((1 - bucket.tokens) / perSecond));
      return refused({ reason: "rate_limited", perSecond, retryAfterSeconds });
    }
    bucket.tokens -= 1;
    return allowed(undefined);
  };
}
