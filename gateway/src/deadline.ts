import { setTimeout as delay } from "node:timers/promises";

/** A moment by which something has to be known. To be ended, or it keeps its timer. */
export class Deadline {
  readonly #passing = Promise.withResolvers<undefined>();
  readonly #timer: NodeJS.Timeout;
  readonly #over = new AbortController();

  constructor(afterMs: number) {
    this.#timer = setTimeout(() => this.#pass(), afterMs);
  }

  get passed(): boolean {
    return this.#over.signal.aborted;
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
    clearTimeout(this.#timer);
  }

  #pass(): void {
    this.#over.abort();
    this.#passing.resolve(undefined);
  }
}
