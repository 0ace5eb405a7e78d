import { writeSync } from "node:fs";
import type { Sink } from "./sink.ts";

/** Waits between attempts on a full pipe, and how many: five seconds in all, as `Sink` promises. */
const RETRY_MS = 5;
const ATTEMPTS_MAX = 1_000;
/** What may wait for a slow reader. Beyond, records are refused at once rather than kept in memory. */
const WAITING_BYTES_MAX = 8 * 1_048_576;

/** What a full pipe has not taken yet. */
interface Waiting {
  rest: Buffer;
  /** The attempt after which it began to wait. */
  readonly since: number;
  readonly done: PromiseWithResolvers<void>;
}

/**
 * Writes records to standard output (or another descriptor). write(2) has returned when `append` has, except where
 * a pipe is full and non-blocking (EAGAIN): then it is tried again, in order, for at most five seconds.
 *
 * Durable means no more than that here: what happens behind a pipe is its reader's. A descriptor that blocks stops
 * the gateway while its reader does, as every program that logs to a pipe.
 *
 * @param write  write(2): returns how many bytes were taken, throws EAGAIN; replaced in tests only
 */
export function createStdoutSink({
  fd = 1,
  write = writeSync,
}: {
  readonly fd?: number;
  readonly write?: (fd: number, bytes: Buffer) => number;
} = {}): Sink {
  const queue: Waiting[] = [];
  let waitingBytes = 0;
  let attempt = 0;
  /** A line was cut in the middle, so that the next one must begin on a new line. */
  let torn = false;

  /** @returns what was not taken */
  function writeAll(bytes: Buffer): Buffer {
    let rest = bytes;
    while (rest.length > 0) {
      try {
        rest = rest.subarray(write(fd, rest));
      } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "EAGAIN") return rest;
        torn ||= rest.length < bytes.length;
        throw error;
      }
    }
    return rest;
  }

  function retry(): void {
    attempt += 1;
    for (let first = queue[0]; first; first = queue[0]) {
      const before = first.rest.length;
      try {
        first.rest = writeAll(first.rest);
      } catch (error) {
        giveUp(error instanceof Error ? error : new Error("unknown error"));
        return;
      }
      waitingBytes -= before - first.rest.length;
      if (first.rest.length > 0) {
        if (attempt - first.since < ATTEMPTS_MAX) setTimeout(retry, RETRY_MS);
        else giveUp(new Error("the reader is too slow"));
        return;
      }
      queue.shift();
      first.done.resolve();
    }
  }

  /** All that wait are refused: what stands behind a stuck reader would wait just as long. */
  function giveUp(error: Error): void {
    torn = true;
    waitingBytes = 0;
    for (const { done } of queue.splice(0)) done.reject(error);
  }

  return {
    name: "stdout",
    append(lines) {
      const bytes = Buffer.from(`${torn ? "\n" : ""}${lines.join("\n")}\n`, "latin1");
      const rest = queue.length > 0 ? bytes : writeAll(bytes);
      if (rest.length < bytes.length) torn = false;
      if (rest.length === 0) return undefined;
      if (waitingBytes + rest.length > WAITING_BYTES_MAX) {
        torn ||= rest.length < bytes.length;
        throw new Error("the reader is slow and the queue is full");
      }
      torn = false;
      waitingBytes += rest.length;
      const waiting: Waiting = { rest, since: attempt, done: Promise.withResolvers() };
      if (queue.push(waiting) === 1) setTimeout(retry, RETRY_MS);
      return waiting.done.promise;
    },
    async close() {
      await Promise.allSettled(queue.map(({ done }) => done.promise));
    },
  };
}
