import { hash, randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type KvWatchEntry, KvWatchInclude } from "@nats-io/kv";
import type { QueuedIterator } from "@nats-io/transport-node";
import { setBounded } from "../bounded-map.ts";
import type { Clock } from "../time.ts";
import type { Control } from "./control.ts";
import { writeKey } from "./kv-write.ts";

export interface WatchParts {
  readonly control: Control;
  readonly bucket: "sessions" | "notBefore";
  readonly clock: Clock;
  /** Names the beacon's key, so that restarts do not leave one each. */
  readonly instance: string;
  /** `everything` begins with all keys, `changes` with none. */
  readonly include: "everything" | "changes";
  /** In the order they were written. */
  readonly onEntry: (entry: KvWatchEntry) => void;
  /** Changes may have been missed: what was remembered because of `changes` is void. */
  readonly onGap: () => void;
}

/** A revocation acknowledged to another instance is refused here after this at the latest, whatever breaks. */
const CURRENT_SECONDS_MAX = 5;
const BEACON_INTERVAL_MS = 1_000;
/** No beacon for so long on a living connection: the consumer is gone, as after a server's restart. */
const STUCK_SECONDS = 3;
const RESTART_WAIT_MS = 250;
const CONNECTED_LOOK_MS = 20;
const BEACON_PREFIX = "beacon.";
/** Without a beacon for so long an instance is not there; several times their interval. */
const ALIVE_SECONDS = 10;
const INSTANCES_MAX = 1_000;

/**
 * Follows a bucket and knows whether it is up to date. It writes a beacon every second: once that comes round,
 * everything that a majority had acknowledged before it was written has come too. That a connection is up, or
 * that a heartbeat came, would not say so: a replica may be behind.
 */
export class CurrentWatch {
  readonly #parts: WatchParts;
  readonly #key: string;
  readonly #run = randomUUID();
  readonly #stop = new AbortController();
  readonly #beat: NodeJS.Timeout;
  readonly #first = Promise.withResolvers<void>();
  readonly #forgetChange: () => void;
  /** When each instance's beacon last came, by its key. */
  readonly #heard = new Map<string, number>();
  #entries: QueuedIterator<KvWatchEntry> | undefined;
  #startedAt = 0;
  #currentAsOf = Number.NEGATIVE_INFINITY;
  #beacon = { value: "", at: 0, count: 0 };
  #writing = false;

  constructor(parts: WatchParts) {
    this.#parts = parts;
    this.#key = beaconKeyOf(parts.instance);
    this.#forgetChange = parts.control.onChange(() => this.#restart());
    this.#beat = setInterval(() => this.#pulse(), BEACON_INTERVAL_MS);
    this.#beat.unref();
    void this.#follow();
  }

  /** Fulfils when it is up to date for the first time; rejects when that takes longer than `withinMs`. */
  async started(withinMs: number): Promise<void> {
    const late = new AbortController();
    const timer = delay(withinMs, undefined, { signal: late.signal, ref: false }).then(() => {
      throw new Error(`the bucket ${this.#parts.bucket} was not loaded within ${withinMs} ms`);
    });
    try {
      await Promise.race([this.#first.promise, timer]);
    } finally {
      late.abort();
      timer.catch(() => {});
    }
  }

  /** Whether an instance of that name follows this bucket too; until that can be known, it is taken to. */
  isAlive(instance: string): boolean {
    const now = this.#parts.clock();
    if (now - this.#startedAt < ALIVE_SECONDS) return true;
    return now - (this.#heard.get(beaconKeyOf(instance)) ?? Number.NEGATIVE_INFINITY) < ALIVE_SECONDS;
  }

  get current(): boolean {
    return this.#parts.clock() - this.#currentAsOf <= CURRENT_SECONDS_MAX;
  }

  stop(): void {
    this.#stop.abort();
    clearInterval(this.#beat);
    this.#forgetChange();
    this.#currentAsOf = Number.NEGATIVE_INFINITY;
    this.#entries?.stop();
  }

  async #follow(): Promise<void> {
    const { control, bucket, include } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        // Asked while disconnected, it would only be known to be lost when its time is over.
        await this.#connected();
        this.#startedAt = this.#parts.clock();
        const entries = await control.bucket(bucket).watch({
          include: include === "everything" ? KvWatchInclude.LastValue : KvWatchInclude.UpdatesOnly,
        });
        this.#entries = entries;
        this.#pulse();
        for await (const entry of entries) this.#take(entry);
      } catch {
        // Not being current is the report: whoever asks is refused.
      }
      this.#void();
      await delay(RESTART_WAIT_MS, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  async #connected(): Promise<void> {
    const { control } = this.#parts;
    while (control.unready() !== undefined && !this.#stop.signal.aborted)
      await delay(CONNECTED_LOOK_MS, undefined, { signal: this.#stop.signal, ref: false });
  }

  #take(entry: KvWatchEntry): void {
    if (!entry.key.startsWith(BEACON_PREFIX)) {
      this.#parts.onEntry(entry);
      return;
    }
    setBounded(this.#heard, entry.key, this.#parts.clock(), INSTANCES_MAX);
    if (entry.key !== this.#key || entry.string() !== this.#beacon.value) return;
    this.#currentAsOf = this.#beacon.at;
    this.#first.resolve();
  }

  #pulse(): void {
    const { control, bucket, clock } = this.#parts;
    const now = clock();
    const unheardSince = Math.max(this.#startedAt, this.#currentAsOf);
    if (now - unheardSince > STUCK_SECONDS && control.unready() === undefined) this.#restart();
    if (this.#writing || !this.#entries) return;
    this.#writing = true;
    const count = this.#beacon.count + 1;
    this.#beacon = { value: `${this.#run} ${count}`, at: now, count };
    writeKey(control, { bucket, key: this.#key, value: this.#beacon.value })
      .catch(() => {})
      .finally(() => {
        this.#writing = false;
      });
  }

  #restart(): void {
    this.#void();
    this.#startedAt = this.#parts.clock();
    this.#entries?.stop();
    this.#entries = undefined;
  }

  #void(): void {
    this.#currentAsOf = Number.NEGATIVE_INFINITY;
    // A beacon written before the gap must not vouch for what comes after it.
    this.#beacon = { ...this.#beacon, value: "" };
    this.#parts.onGap();
  }
}

function beaconKeyOf(instance: string): string {
  return BEACON_PREFIX + hash("sha256", instance, "base64url");
}
