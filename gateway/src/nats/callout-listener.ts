import type { Msg, NatsConnection } from "@nats-io/transport-node";
import {
  CALLOUT_BYTES_MAX,
  CALLOUT_QUEUE,
  CALLOUT_SUBJECT,
  CALLOUT_XKEY_HEADER,
  type CalloutRequest,
  type ReadCallout,
} from "../credentials/callout.ts";
import type { Xkey } from "../credentials/xkey.ts";
import type { Clock } from "../time.ts";

/** Answers nats-server's questions who a connection is. */
export interface CalloutListener {
  /** Takes no more questions and fulfils when those taken are answered. */
  close(): Promise<void>;
}

export interface CalloutListenerParts {
  /** As a user that may subscribe to `CALLOUT_SUBJECT` in this queue, and answer. */
  readonly connection: NatsConnection;
  readonly read: ReadCallout;
  /** Present where the account says so: then what is not sealed for it is not looked at. */
  readonly xkey?: Xkey;
  /** @returns the answer to one question, signed; never rejects, but for a fault of ours */
  readonly judge: (request: CalloutRequest) => Promise<string>;
  readonly clock: Clock;
  /** Told of each question that is met with silence, and why. */
  readonly onSilence: (why: string) => void;
  /** Questions taken and not answered, 1–100,000. Default 8,192. */
  readonly waitingMax?: number;
}

/** A restart of a server of thousands of clients fits; what does not is asked again by clients that come again. */
const WAITING_MAX = 8_192;
/** Questions begun in one turn: a storm of them must leave time for everything else, and shares records' writes. */
const PER_TURN = 16;

/**
 * Listens for nats-server's questions, in turn with the gateway's other instances. What is malformed, expired, or too
 * many is met with silence: nats-server's own timeout then slows down whoever sends it.
 */
export function openCalloutListener(parts: CalloutListenerParts): CalloutListener {
  const { connection, clock, judge, onSilence, waitingMax = WAITING_MAX } = parts;
  const waiting: Msg[] = [];
  const answering = new Set<Promise<void>>();
  let isTurnDue = false;

  function take(error: Error | null, message: Msg): void {
    if (error) {
      onSilence(error.message);
      return;
    }
    if (waiting.length + answering.size >= waitingMax) {
      onSilence("too many questions at once");
      return;
    }
    waiting.push(message);
    if (!isTurnDue) setImmediate(takeTurn);
    isTurnDue = true;
  }

  function takeTurn(): void {
    for (const message of waiting.splice(0, PER_TURN)) begin(message);
    isTurnDue = waiting.length > 0;
    if (isTurnDue) setImmediate(takeTurn);
  }

  function begin(message: Msg): void {
    const request = readMessage(message, parts, clock());
    if (typeof request === "string") {
      onSilence(request);
      return;
    }
    const answer = judge(request)
      .then((text) => respond(message, request, text))
      .catch((error: unknown) => onSilence(String(error)))
      .finally(() => answering.delete(answer));
    answering.add(answer);
  }

  function respond(message: Msg, { server }: CalloutRequest, text: string): void {
    const plain = Buffer.from(text);
    const bytes = parts.xkey && server.xkey !== undefined ? parts.xkey.seal(plain, server.xkey) : plain;
    const bytesMax = connection.info?.max_payload ?? 0;
    if (bytes && bytes.length <= bytesMax) message.respond(bytes);
    else onSilence(`an answer of over ${bytesMax} bytes`);
  }

  const subscription = connection.subscribe(CALLOUT_SUBJECT, { queue: CALLOUT_QUEUE, callback: take });
  return {
    async close() {
      await subscription.drain().catch(() => {});
      while (waiting.length > 0 || answering.size > 0) {
        await Promise.all(answering);
        if (waiting.length > 0) takeTurn();
      }
    },
  };
}

function readMessage(
  { data, headers, reply }: Msg,
  { read, xkey }: CalloutListenerParts,
  now: number,
): CalloutRequest | string {
  if (!reply) return "it asks for no answer";
  if (data.length > CALLOUT_BYTES_MAX) return "it is over the size limit";
  const sender = headers?.get(CALLOUT_XKEY_HEADER) ?? "";
  const plain = xkey ? xkey.open(data, sender) : data;
  if (!plain) return "it is not sealed for this key";
  const request = read(Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength).toString("latin1"), now);
  if (typeof request === "string" || !xkey) return request;
  // What is sealed by one server must be signed by the same, or one could pass on what another was told.
  return request.server.xkey === sender ? request : "it was sealed by another than signed it";
}
