import { setBounded } from "./bounded-map.ts";
import type { EpochSeconds } from "./claims.ts";
import type { SealPublicKey } from "./jwks.ts";

/** Where a verifier finds keys. It knows its own issuer's set and asks nobody whom a message names. */
export interface KeySet {
  /**
   * @param kid  well-formed, from a message nobody has verified yet
   * @param at   now, by which what is held in memory ages
   * @returns undefined when the set certainly has no such key; rejects when that cannot be said now
   */
  get(kid: string, at: EpochSeconds): Promise<SealPublicKey | undefined>;
}

export interface KeySource {
  /** The current keys. */
  readonly loadKeys: () => Promise<ReadonlyMap<string, SealPublicKey>>;
  /** One key that is no longer, or not yet, among them. Absent: there are no others. */
  readonly loadKey?: (kid: string) => Promise<SealPublicKey | undefined>;
}

/** After this a revocation is seen. */
const FRESH_SECONDS = 600;
/** How long an old set serves when its source fails: a gateway may restart without breaking its readers. */
const STALE_SECONDS_MAX = 3_600;
const RETRY_SECONDS = 5;
/** Unknown kids are asked for this seldom, all of them together: whoever can send a message can make them up. */
const UNKNOWN_SECONDS = 60;
const UNKNOWN_KIDS_MAX = 16;
const PAST_KEYS_MAX = 256;

/** Holds keys in memory: one request at a time, however many messages wait for it. */
export class CachedKeys implements KeySet {
  readonly #source: KeySource;
  #current: ReadonlyMap<string, SealPublicKey> = new Map();
  #loadedAt: EpochSeconds = Number.NEGATIVE_INFINITY;
  #triedAt: EpochSeconds = Number.NEGATIVE_INFINITY;
  #askedAt: EpochSeconds = Number.NEGATIVE_INFINITY;
  #loading: Promise<void> | undefined;
  #asking: Promise<void> | undefined;
  /** Kids to ask for, when it is time. */
  readonly #unknown = new Set<string>();
  /** What came of asking, oldest first; undefined = there is no such key. */
  readonly #past = new Map<string, { readonly key: SealPublicKey | undefined; readonly at: EpochSeconds }>();

  constructor(source: KeySource) {
    this.#source = source;
  }

  async get(kid: string, at: EpochSeconds): Promise<SealPublicKey | undefined> {
    if (!isWithin(FRESH_SECONDS, this.#loadedAt, at)) await this.#refresh(at);
    const key = this.#current.get(kid) ?? this.#pastKey(kid, at);
    if (key) return key;
    if (!this.#isAbsent(kid, at) && this.#unknown.size < UNKNOWN_KIDS_MAX) this.#unknown.add(kid);
    await this.#ask(at);
    const found = this.#current.get(kid) ?? this.#pastKey(kid, at);
    if (found || this.#isAbsent(kid, at)) return found;
    throw new Error(`Cannot ask for the key ${kid} yet: unknown keys are asked for once a minute`);
  }

  /** Rejects unless there is a set that may be used. */
  async #refresh(at: EpochSeconds): Promise<void> {
    if (this.#loading || !isWithin(RETRY_SECONDS, this.#triedAt, at)) {
      try {
        await this.#load(at);
      } catch (error) {
        if (!isWithin(STALE_SECONDS_MAX, this.#loadedAt, at)) throw error;
      }
    } else if (!isWithin(STALE_SECONDS_MAX, this.#loadedAt, at)) {
      throw new Error(`Cannot load the key set: it failed less than ${RETRY_SECONDS} seconds ago`);
    }
  }

  #load(at: EpochSeconds): Promise<void> {
    this.#loading ??= this.#loadOnce(at).finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #loadOnce(at: EpochSeconds): Promise<void> {
    this.#triedAt = at;
    this.#current = await this.#source.loadKeys();
    this.#loadedAt = at;
  }

  async #ask(at: EpochSeconds): Promise<void> {
    if (this.#unknown.size === 0) return;
    if (!this.#asking) {
      if (isWithin(UNKNOWN_SECONDS, this.#askedAt, at)) return;
      this.#askedAt = at;
      this.#asking = this.#askForAll(at).finally(() => {
        this.#asking = undefined;
      });
    }
    await this.#asking;
  }

  async #askForAll(at: EpochSeconds): Promise<void> {
    if (this.#loadedAt !== at) await this.#load(at);
    const kids = [...this.#unknown];
    this.#unknown.clear();
    const { loadKey } = this.#source;
    await Promise.all(
      kids.map(async (kid) => {
        const key = this.#current.get(kid) ?? (await loadKey?.(kid));
        setBounded(this.#past, kid, { key, at }, PAST_KEYS_MAX);
      }),
    );
  }

  #pastKey(kid: string, at: EpochSeconds): SealPublicKey | undefined {
    const past = this.#past.get(kid);
    return past?.key && isWithin(STALE_SECONDS_MAX, past.at, at) ? past.key : undefined;
  }

  #isAbsent(kid: string, at: EpochSeconds): boolean {
    const past = this.#past.get(kid);
    return past !== undefined && past.key === undefined && isWithin(UNKNOWN_SECONDS, past.at, at);
  }
}

/** A clock that was set back makes nothing fresh. */
function isWithin(seconds: number, since: EpochSeconds, at: EpochSeconds): boolean {
  return at >= since && at - since <= seconds;
}
