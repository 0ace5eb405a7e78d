/** What order needs to know of a message. */
export interface Ordered {
  readonly sequence: number;
  /** How many more were waiting for its reader when it was delivered. */
  readonly pending: number;
}

interface Queue<T> {
  readonly waiting: T[];
  /** Nothing more waits for this reader, as far as the server has said: it need not be waited for. */
  idle: boolean;
}

/**
 * Puts what several readers of one stream bring into the stream's order, as far as that needs no guessing: while a
 * reader has more waiting, those of the others that may come after it are held. What has just been published is
 * passed on as it comes.
 */
export class StreamOrder<T extends Ordered> {
  readonly #queues: readonly Queue<T>[];

  /** @param readers  how many; known by their index from now on */
  constructor(readers: number) {
    this.#queues = Array.from({ length: readers }, () => ({ waiting: [], idle: false }));
  }

  /** @returns what may be passed on now, in order, with whose it is */
  push(reader: number, message: T): (readonly [reader: number, message: T])[] {
    const queue = this.#queues[reader];
    if (!queue) return [];
    queue.waiting.push(message);
    queue.idle = message.pending === 0;
    return this.#release();
  }

  /** Nothing more waits for this reader. */
  idle(reader: number): (readonly [reader: number, message: T])[] {
    const queue = this.#queues[reader];
    if (!queue || queue.idle) return [];
    queue.idle = true;
    return this.#release();
  }

  /** Whether something of this reader's is held. */
  holds(reader: number): boolean {
    return (this.#queues[reader]?.waiting.length ?? 0) > 0;
  }

  #release(): (readonly [number, T])[] {
    const released: (readonly [number, T])[] = [];
    while (this.#queues.every(({ waiting, idle }) => waiting.length > 0 || idle)) {
      const next = this.#lowest();
      if (next === undefined) break;
      const message = this.#queues[next]?.waiting.shift();
      if (message) released.push([next, message]);
    }
    return released;
  }

  #lowest(): number | undefined {
    let lowest: number | undefined;
    let sequence = Number.POSITIVE_INFINITY;
    for (const [index, { waiting }] of this.#queues.entries()) {
      const first = waiting[0];
      if (first === undefined || first.sequence >= sequence) continue;
      lowest = index;
      sequence = first.sequence;
    }
    return lowest;
  }
}
