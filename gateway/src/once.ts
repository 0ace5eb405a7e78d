import { hash } from "node:crypto";
import type { StoredAt } from "./completions.ts";
import type { Deadline } from "./deadline.ts";
import { messageOf } from "./errors.ts";
import { allowed, type Outcome, refused } from "./refusal.ts";
import type { Clock, EpochSeconds } from "./time.ts";

/** What is remembered of a message that its sender gave a key. */
export interface Attempt {
  /** Of all that was sent, so that another message under the same key is noticed. */
  readonly fingerprint: string;
  /** Who sends it, until `untilAt`. */
  readonly txn: string;
  readonly untilAt: EpochSeconds;
  /** When it may first have been sent. */
  readonly begunAt: EpochSeconds;
  readonly stored?: { readonly stream: string; readonly sequence: number };
}

/** Where attempts are remembered, for all instances. Both functions reject when in doubt. */
export interface AttemptStore {
  /**
   * @param attempt   absent: it is forgotten
   * @param replaces  the revision that must stand there; 0 for none
   * @returns the new revision, or undefined when another one stood there
   */
  write(id: string, attempt: Attempt | undefined, replaces: number): Promise<number | undefined>;
  read(id: string): Promise<{ readonly attempt?: Attempt; readonly revision: number }>;
}

/**
 * How long a message may be sent again after it may first have been sent: a stream knows copies for two minutes
 * (`duplicate_window`, nats-server's default), and clocks of instances differ.
 */
export const SENT_AGAIN_WITHIN_SECONDS = 105;

/** Between attempts to reach the memory, while its stream elects a leader. */
const PAUSE_MS = 200;

export interface OnceParts {
  readonly attempts: AttemptStore;
  readonly clock: Clock;
}

export interface Keyed {
  /** Derived from sender, subject and key. */
  readonly id: string;
  readonly txn: string;
  readonly fingerprint: string;
  readonly timeoutMs: number;
}

export interface Sent {
  readonly outcome: Outcome<StoredAt>;
  /** Of the tree that sealed it. */
  readonly root?: string | undefined;
}

/**
 * Sends a message unless it was stored before under the same id. The memory is written before the message leaves, so
 * that whatever ends in between, the next attempt knows of it.
 *
 * @returns `key_reused`, `key_in_use`, `key_undecided`; `check_unavailable` when the memory cannot be reached
 */
export type Once = (keyed: Keyed, deadline: Deadline, send: () => Promise<Sent>) => Promise<Sent>;

export function createOnce({ attempts, clock }: OnceParts): Once {
  /** Takes the key for this attempt, or finds what came of an earlier one. */
  async function begin(keyed: Keyed, startedAt: EpochSeconds, deadline: Deadline): Promise<Outcome<Begun>> {
    const { id, fingerprint, txn, timeoutMs } = keyed;
    const untilAt = startedAt + timeoutMs / 1000;
    // Most keys are new: writing first saves asking.
    let found: Found = { revision: 0 };
    while (!deadline.passed) {
      const known = found.attempt;
      const place = known ? judge(known, keyed, clock()) : FREE;
      if (!place.ok) return place;
      if (place.value) return allowed({ stored: place.value });
      const attempt = { fingerprint, txn, untilAt, begunAt: known?.begunAt ?? startedAt };
      const revision = await attempts.write(id, attempt, found.revision);
      if (revision !== undefined) return allowed({ attempt, revision });
      found = await attempts.read(id);
      // Written by an attempt of this very request, in doubt then.
      if (found.attempt?.txn === txn) return allowed({ attempt: found.attempt, revision: found.revision });
    }
    return refused({ reason: "check_unavailable", check: "idempotency", why: "others keep writing" });
  }

  /** Remembers what came of it. What cannot be written now, the next attempt under this key learns from the stream. */
  async function settle(
    id: string,
    { attempt, revision }: Taken,
    { outcome }: Sent,
    isNew: boolean,
  ): Promise<void> {
    if (outcome.ok) {
      const { stream, sequence } = outcome.value;
      await attempts.write(id, { ...attempt, stored: { stream, sequence } }, revision);
    } else if (isNew && outcome.refusal.reason !== "outcome_unknown") {
      // Nothing was stored: the caller may mend it and use the key again.
      await attempts.write(id, undefined, revision);
    }
  }

  return async function once(keyed, deadline, send) {
    const startedAt = clock();
    const begun = await persist(deadline, () => begin(keyed, startedAt, deadline));
    if (!begun.ok) return { outcome: begun };
    if (begun.value.stored) return { outcome: allowed({ ...begun.value.stored, duplicate: true }) };
    const { begunAt } = begun.value.attempt;
    deadline.shorten((begunAt + SENT_AGAIN_WITHIN_SECONDS - clock()) * 1000);
    const sent = await send();
    await deadline.within(settle(keyed.id, begun.value, sent, begunAt === startedAt).catch(() => {}));
    return sent;
  };
}

/** Of everything that makes a message the same as another. */
export function fingerprintOf(...of: readonly (string | readonly (readonly string[])[])[]): string {
  return hash("sha256", JSON.stringify(of), "base64url");
}

interface Found {
  readonly attempt?: Attempt;
  readonly revision: number;
}

interface Taken {
  readonly attempt: Attempt;
  readonly revision: number;
  readonly stored?: undefined;
}

type Begun = Taken | { readonly stored: Place };

type Place = NonNullable<Attempt["stored"]>;

const FREE: Outcome<Place | undefined> = allowed(undefined);

/** @returns where it is stored; undefined when it may be sent again */
function judge(
  { fingerprint, txn, stored, untilAt, begunAt }: Attempt,
  keyed: Keyed,
  now: EpochSeconds,
): typeof FREE {
  if (txn === keyed.txn) return FREE;
  if (fingerprint !== keyed.fingerprint) return refused({ reason: "key_reused" });
  if (stored) return allowed(stored);
  if (now < untilAt) return refused({ reason: "key_in_use", retryAfterSeconds: untilAt - now });
  // The stream may have forgotten it by the time that it would be sent again.
  return now < begunAt + SENT_AGAIN_WITHIN_SECONDS ? FREE : refused({ reason: "key_undecided" });
}

/** Tries until the deadline: the memory is a stream too, whose leader may be elected just now. */
async function persist<T>(deadline: Deadline, run: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
  let why = "no answer in time";
  while (!deadline.passed) {
    try {
      const outcome = await deadline.within(run());
      if (outcome) return outcome;
    } catch (error) {
      why = messageOf(error);
      await deadline.pause(PAUSE_MS);
    }
  }
  return refused({ reason: "check_unavailable", check: "idempotency", why });
}
