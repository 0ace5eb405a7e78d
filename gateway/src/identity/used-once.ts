import { hash } from "node:crypto";
import { messageOf } from "../errors.ts";
import { SIGNED_SECONDS_MAX, type SignedIdentity } from "../hop/signed-identity.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";

/** Signatures remembered in this process, about 100 bytes each: two thousand requests a second for two minutes. */
const REMEMBERED_MAX = 262_144;
/** Whoever is told of it last must still find it: from a minute ahead to a minute behind. */
const REMEMBER_SECONDS = 2 * SIGNED_SECONDS_MAX + 10;

/** @returns `proof_invalid` for what was used before; `check_unavailable` when that cannot be known */
export type UseOnce = (signed: SignedIdentity, now: EpochSeconds) => Promise<Outcome<void>>;

export interface UseOnceParts {
  /**
   * Remembers on all instances, and over a restart. Absent: here alone, and then what was signed before `startedAt`
   * is refused, since it may have been used then.
   *
   * @returns false when it was remembered already; rejects when that cannot be known
   */
  readonly rememberOnce?: (key: string, seconds: number) => Promise<boolean>;
  readonly startedAt: EpochSeconds;
  /** Default 262,144. */
  readonly rememberedMax?: number;
}

/**
 * Makes what lets each signature of the module count once. One request may be judged several times, as for each
 * subject of a stream: the object it was opened to is its own, and stays used by it.
 */
export function createUseOnce({
  rememberOnce,
  startedAt,
  rememberedMax = REMEMBERED_MAX,
}: UseOnceParts): UseOnce {
  /** By nonce, until when; in the order in which they came, which is nearly that in which they end. */
  const used = new Map<string, EpochSeconds>();
  const judged = new WeakMap<SignedIdentity, Promise<Outcome<void>>>();

  function forgetEnded(now: EpochSeconds): void {
    for (const [nonce, until] of used) {
      if (until > now) return;
      used.delete(nonce);
    }
  }

  async function use({ nonce, signedAt }: SignedIdentity, now: EpochSeconds): Promise<Outcome<void>> {
    forgetEnded(now);
    if (used.has(nonce)) return USED;
    if (used.size >= rememberedMax) return unavailable("more signatures than can be remembered");
    used.set(nonce, now + REMEMBER_SECONDS);
    if (!rememberOnce) return signedAt < startedAt ? TOO_OLD : allowed(undefined);
    try {
      const key = hash("sha256", `countersign-identity ${nonce}`, "base64url");
      return (await rememberOnce(key, REMEMBER_SECONDS)) ? allowed(undefined) : USED;
    } catch (error) {
      return unavailable(messageOf(error));
    }
  }

  return function useOnce(signed, now) {
    const known = judged.get(signed);
    if (known) return known;
    const outcome = use(signed, now);
    judged.set(signed, outcome);
    return outcome;
  };
}

const USED = refused({ reason: "proof_invalid", why: "an identity from IIS that was used before" });
const TOO_OLD = refused({
  reason: "proof_invalid",
  why: "an identity from IIS that was signed before this process began",
});

function unavailable(why: string): Outcome<never> {
  return refused({ reason: "check_unavailable", check: "used signatures of IIS", why });
}
