import { setTimeout as delay } from "node:timers/promises";

/** A moment by which something has to be known. To be ended, or it keeps its timer. */
export class Deadline {
  readonly #passing = Promise.withResolvers<undefined>();
  readonly #timers: NodeJS.Timeout[];
  readonly #over = new AbortController();

  constructor(afterMs: number) {
    this.#timers = [setTimeout(() => this.#pass(), afterMs)];
  }

  get passed(): boolean {
    return this.#over.signal.aborted;
  }

  /** Lets it pass so soon, if it would not sooner anyway. */
  shorten(afterMs: number): void {
    this.#timers.push(setTimeout(() => this.#pass(), Math.max(0, afterMs)));
  }

  /** @returns what it fulfils with; undefined when the deadline passes first */
  within<T>(promise: Promise<T>): Promise<T | undefined> {
    return Promise.race([promise, this.#passing.promise]);
  }

  /** Waits so long, or until the deadline. */
  async pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#over.signal }).catch(() => {});
  }

  end(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #pass(): void {
    this.#over.abort();
    this.#passing.resolve(undefined);
  }
}
