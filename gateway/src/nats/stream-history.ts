import { DeliverPolicy, type JsMsg, jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { Msg, NatsConnection } from "@nats-io/transport-node";
import type { InboundMessage } from "./connection.ts";
import { receivedOf } from "./received.ts";

/** A message as a stream keeps it. */
export interface StoredMessage {
  readonly stream: string;
  readonly sequence: number;
  /** When the stream took it, milliseconds since 1970. */
  readonly atMs: number;
  readonly message: InboundMessage;
}

export interface HistoryOptions {
  readonly stream: string;
  /** A pattern; absent = everything. */
  readonly subject?: string;
  /** Milliseconds since 1970, both within. */
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** @returns false when that was enough */
  readonly onMessage: (stored: StoredMessage) => boolean;
  readonly signal: AbortSignal;
}

/** Names of the streams that keep what is published on a subject, or on a part of a pattern. */
export async function streamsOf(connection: NatsConnection, subject: string): Promise<readonly string[]> {
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const names: string[] = [];
  for await (const name of manager.streams.names(subject)) names.push(name);
  return names;
}

/** Reads a stream from a moment to what is its end now, in order. Leaves no consumer behind. */
export async function readHistory(
  connection: NatsConnection,
  { stream, subject, sinceMs, untilMs = Number.POSITIVE_INFINITY, onMessage, signal }: HistoryOptions,
): Promise<void> {
  const consumer = await jetstream(connection).consumers.get(stream, {
    ...(subject !== undefined && { filter_subjects: [subject] }),
    ...(sinceMs === undefined
      ? { deliver_policy: DeliverPolicy.All }
      : { deliver_policy: DeliverPolicy.StartTime, opt_start_time: new Date(sinceMs).toISOString() }),
  });
  if ((await consumer.info()).num_pending === 0) return;
  const messages = await consumer.consume();
  const stop = (): void => messages.stop();
  signal.addEventListener("abort", stop, { once: true });
  try {
    for await (const found of messages) {
      const atMs = found.time.getTime();
      if (atMs > untilMs) break;
      const more = onMessage({
        stream,
        sequence: found.seq,
        atMs,
        message: receivedOf(rawOf(found)).message,
      });
      if (!more || found.info.pending === 0) break;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    await messages.close();
  }
  signal.throwIfAborted();
}

/** What nats.js wraps: its own headers throw on names that it does not like. */
function rawOf(message: JsMsg): Msg {
  return (message as unknown as { readonly msg: Msg }).msg;
}
