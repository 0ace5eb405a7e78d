import { hash } from "node:crypto";
import type { KvWatchEntry } from "@nats-io/kv";
import type { NotBeforeKey, SessionStore } from "../identity/session.ts";
import type { Clock, EpochSeconds } from "../time.ts";
import type { Control } from "./control.ts";
import { notBeforeSeconds } from "./control-streams.ts";
import { CurrentWatch } from "./current-watch.ts";
import { readKey, writeKey } from "./kv-write.ts";
import { formatNotBefore, parseNotBefore } from "./session-json.ts";

/** Instances that raise the same key at once: each tries again after another was faster. */
const RAISE_ATTEMPTS_MAX = 10;

interface Remembered {
  readonly at: EpochSeconds;
  /** When the bucket has forgotten it, and so may we. */
  readonly until: EpochSeconds;
}

/** The not-befores of all instances, in memory; never answered from when they may be out of date. */
export class NotBefores implements Pick<SessionStore, "raiseNotBefore" | "notBefore" | "onNotBefore"> {
  readonly #control: Control;
  readonly #clock: Clock;
  readonly #keptSeconds: number;
  readonly #known = new Map<string, Remembered>();
  readonly #listeners = new Set<(key: NotBeforeKey, at: EpochSeconds) => void>();
  readonly #watch: CurrentWatch;
  /** A value was there that is none of ours: nobody knows whom it was to refuse. */
  #damaged: string | undefined;
  #sweptAt: EpochSeconds;

  constructor(control: Control, clock: Clock, instance: string) {
    this.#control = control;
    this.#clock = clock;
    this.#keptSeconds = notBeforeSeconds(control.options);
    this.#sweptAt = clock();
    this.#watch = new CurrentWatch({
      control,
      bucket: "notBefore",
      clock,
      instance,
      include: "everything",
      onEntry: (entry) => this.#take(entry),
      onGap: () => {},
    });
  }

  started(withinMs: number): Promise<void> {
    return this.#watch.started(withinMs);
  }

  get current(): boolean {
    return this.#watch.current && this.#damaged === undefined;
  }

  isAlive(instance: string): boolean {
    return this.#watch.isAlive(instance);
  }

  stop(): void {
    this.#watch.stop();
  }

  async raiseNotBefore(key: NotBeforeKey, at: EpochSeconds): Promise<void> {
    const name = nameOf(key);
    for (let attempt = 0; attempt < RAISE_ATTEMPTS_MAX; attempt++) {
      const { value: found, revision: replaces } = await readKey(this.#control, "notBefore", name);
      const raised = Math.max(at, (found === undefined ? undefined : parseNotBefore(found)?.at) ?? at);
      // Written even when it is there already: its time in the bucket begins anew, and the acknowledgement is ours.
      const value = formatNotBefore({ key, at: raised });
      const revision = await writeKey(this.#control, { bucket: "notBefore", key: name, value, replaces });
      if (revision === undefined) continue;
      this.#remember(key, raised);
      return;
    }
    throw new Error("the not-before could not be raised: others keep raising it");
  }

  notBefore(key: NotBeforeKey): EpochSeconds | undefined {
    if (this.#damaged !== undefined) throw new Error(`the not-before ${this.#damaged} is damaged`);
    if (!this.#watch.current) throw new Error("the not-befores may be out of date");
    return this.#known.get(plainName(key))?.at;
  }

  onNotBefore(listener: (key: NotBeforeKey, at: EpochSeconds) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #take(entry: KvWatchEntry): void {
    this.#sweep();
    if (entry.operation !== "PUT") return;
    const value = parseNotBefore(entry.string());
    const sound = value !== undefined && nameOf(value.key) === entry.key;
    if (sound) this.#remember(value.key, value.at);
    else this.#damaged = entry.key;
    if (sound && this.#damaged === entry.key) this.#damaged = undefined;
  }

  #remember(key: NotBeforeKey, at: EpochSeconds): void {
    const name = plainName(key);
    const known = this.#known.get(name);
    const until = this.#clock() + this.#keptSeconds;
    this.#known.set(name, { at: Math.max(at, known?.at ?? at), until });
    if (known && known.at >= at) return;
    for (const listener of this.#listeners) listener(key, at);
  }

  /** The bucket forgets without a word; memory must not grow for ever. */
  #sweep(): void {
    const now = this.#clock();
    if (now - this.#sweptAt < 60) return;
    this.#sweptAt = now;
    for (const [name, { until }] of this.#known) if (until < now) this.#known.delete(name);
  }
}

/** For memory, which every request asks. */
function plainName(key: NotBeforeKey): string {
  return key.user === undefined ? `session ${key.session}` : `user ${key.user}`;
}

/** For the bucket: hashed, because a user name may be longer than a key. */
function nameOf(key: NotBeforeKey): string {
  return key.user === undefined
    ? `session.${hash("sha256", key.session, "base64url")}`
    : `user.${hash("sha256", key.user, "base64url")}`;
}
