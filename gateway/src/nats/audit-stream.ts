import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Sink } from "../audit/sink.ts";
import { GatewayError, messageOf } from "../errors.ts";
import type { Control } from "./control.ts";
import { AUDIT_STREAM, AUDIT_SUBJECT_PREFIX } from "./control-streams.ts";

export interface AuditStreamOptions {
  readonly control: Control;
  /** Names the subject, `audit.<instance>`: `[A-Za-z0-9_-]{1,64}`. */
  readonly instance: string;
  /** Lines that wait for their acknowledgement, 1 MiB–1 GiB. Default 16 MiB; beyond, `append` rejects. */
  readonly bufferBytesMax?: number;
}

/** One message at most: below nats-server's default `max_payload` of 1 MiB, with headers. */
const BATCH_BYTES_MAX = 512 * 1024;
const BUFFER_BYTES_MAX = 16 * 1024 * 1024;
/** A sink settles within five seconds; this leaves time to say so. */
const DURABLE_TIMEOUT_MS = 4_500;
const CLOSE_TIMEOUT_MS = 4_500;
const RETRY_WAIT_MS = 250;

interface Batch {
  readonly id: string;
  readonly lines: string[];
  bytes: number;
  readonly acknowledged: PromiseWithResolvers<void>;
}

/**
 * Appends lines to the AUDIT stream: one message holds as many as came while the one before it was on its way,
 * each followed by a line feed. Batches leave in order, one at a time, and are sent again until they are acknowledged.
 *
 * Not durable means: taken into memory, bounded, and only as long as the stream acknowledges what came before.
 */
export function createAuditStream(options: AuditStreamOptions): Sink {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(options.instance))
    throw new GatewayError("CONFIG_INVALID", "an instance's name is [A-Za-z0-9_-]{1,64}");
  return new AuditStream(options);
}

class AuditStream implements Sink {
  readonly name: string = `stream ${AUDIT_STREAM}`;
  readonly #control: Control;
  readonly #subject: string;
  readonly #bufferBytesMax: number;
  readonly #queue: Batch[] = [];
  #bufferedBytes = 0;
  #sending: Promise<void> | undefined;
  /** What the last attempt failed with; nothing more is taken on trust until one succeeds. */
  #failing: string | undefined;
  #closed = false;

  constructor({ control, instance, bufferBytesMax = BUFFER_BYTES_MAX }: AuditStreamOptions) {
    this.#control = control;
    this.#subject = AUDIT_SUBJECT_PREFIX + instance;
    this.#bufferBytesMax = bufferBytesMax;
  }

  async append(lines: readonly string[], durable: boolean): Promise<void> {
    if (this.#closed) throw new Error("the audit stream is closed");
    const why = this.#control.unready() ?? this.#failing;
    if (why !== undefined) throw new Error(`the audit stream does not acknowledge: ${why}`);
    const bytes = lines.reduce((sum, line) => sum + line.length + 1, 0);
    if (this.#bufferedBytes + bytes > this.#bufferBytesMax) throw new Error("the audit stream is too slow");
    const batches = this.#enqueue(lines);
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
    });
    if (durable)
      await within(DURABLE_TIMEOUT_MS, Promise.all([...batches].map((batch) => batch.acknowledged.promise)));
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#sending) await within(CLOSE_TIMEOUT_MS, this.#sending);
  }

  /** @returns the batches the lines went into */
  #enqueue(lines: readonly string[]): Set<Batch> {
    const used = new Set<Batch>();
    for (const line of lines) {
      // The first is on its way already.
      let batch = this.#queue.length > (this.#sending ? 1 : 0) ? this.#queue.at(-1) : undefined;
      if (!batch || batch.bytes + line.length + 1 > BATCH_BYTES_MAX) {
        batch = { id: randomUUID(), lines: [], bytes: 0, acknowledged: Promise.withResolvers<void>() };
        this.#queue.push(batch);
      }
      batch.lines.push(line);
      batch.bytes += line.length + 1;
      this.#bufferedBytes += line.length + 1;
      used.add(batch);
    }
    return used;
  }

  async #send(): Promise<void> {
    for (let batch = this.#queue[0]; batch; batch = this.#queue[0]) {
      await this.#deliver(batch);
      this.#queue.shift();
      this.#bufferedBytes -= batch.bytes;
    }
  }

  async #deliver({ id, lines, acknowledged }: Batch): Promise<void> {
    const payload = `${lines.join("\n")}\n`;
    for (;;) {
      try {
        // The stream remembers the id for two minutes. After that it may stand there twice, which is better than never.
        await this.#control.jetstream.publish(this.#subject, payload, {
          msgID: id,
          expect: { streamName: AUDIT_STREAM },
        });
        this.#failing = undefined;
        acknowledged.resolve();
        return;
      } catch (error) {
        this.#failing = messageOf(error);
        await delay(RETRY_WAIT_MS, undefined, { ref: false });
      }
    }
  }
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const inTime = new AbortController();
  const late = delay(ms, undefined, { signal: inTime.signal, ref: false }).then(() => {
    throw new Error(`the audit stream has not acknowledged within ${ms} ms`);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    inTime.abort();
    late.catch(() => {});
  }
}
