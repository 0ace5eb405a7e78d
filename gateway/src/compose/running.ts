import type { Readiness } from "../endpoints/health.ts";

/** What has been started, to be ended in the opposite order. */
export class Running {
  readonly #ends: (() => unknown)[] = [];

  add(end: () => unknown): void {
    this.#ends.push(end);
  }

  /**
   * Runs a task now and again and again until all is ended.
   *
   * @param task  never rejects; fulfils with how long to wait before the next time, milliseconds
   * @returns when it has run once
   */
  async repeat(task: () => Promise<number>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    let ended = false;
    this.add(() => {
      ended = true;
      clearTimeout(timer);
    });
    async function run(): Promise<void> {
      const waitMs = await task();
      if (!ended) timer = setTimeout(() => void run(), waitMs).unref();
    }
    await run();
  }

  /** Ends everything; one that fails keeps none of the others running, and is reported last. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const end of this.#ends.splice(0).reverse()) {
      try {
        await end();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}

/** What the gateway needs in order to serve, asked anew each time. */
export class ReadinessList {
  readonly #checks: (() => Readiness)[] = [];

  /** @param unready  says in words what is missing, or undefined */
  add(check: string, unready: () => string | undefined, remedy: string): void {
    this.#checks.push(() => {
      const why = unready();
      return why === undefined ? { check, ok: true, found: "ok" } : { check, ok: false, found: why, remedy };
    });
  }

  /** @param noteOf  something to look into that keeps the gateway from nothing: the check stays ok */
  addNote(check: string, noteOf: () => string | undefined): void {
    this.#checks.push(() => ({ check, ok: true, found: noteOf() ?? "ok" }));
  }

  all(): readonly Readiness[] {
    return this.#checks.map((check) => check());
  }
}
