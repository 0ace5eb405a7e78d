import type { HeaderList, InboundMessage } from "../nats/connection.ts";
import type { Arrival, EndCode, Sender, StreamEvent } from "../subscribe.ts";
import { isoTimeOf } from "../time.ts";
import { valuesByName } from "./headers.ts";

/** Whether a client that is told this code should open a new stream, or first sign in, or stop. */
const END_RECONNECTS: Readonly<Record<EndCode, boolean>> = {
  expired: true,
  logout: false,
  policy: true,
  shutdown: true,
  unavailable: true,
  slow_reader: true,
  // Whoever reads decides what to do about what is missing; opening anew with the same id would only say so again.
  messages_gone: false,
  stream_reset: false,
  closed: false,
};

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Headers that are ours and say in `sender`, `id` and `txn` what a reader should know of them. */
const OURS = /^(?:seal-|txn-token$|nats-|traceparent$|content-type$|kv-operation$)/i;

/**
 * One event of the default type, so that `EventSource.onmessage` receives it; JSON keeps line feeds out. Its
 * `headers` are those of the message that are not ours, names as sent: a text each, and a list of texts, in their
 * order, for one that was sent more than once.
 *
 * @param eventId  of a stored message: the place to go on after
 * @source https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export function eventText({ arrival, sender }: StreamEvent, eventId?: string): string {
  let data = written.get(arrival);
  if (data === undefined) {
    data = `data: ${JSON.stringify(messageBody(arrival, sender))}\n\n`;
    written.set(arrival, data);
  }
  return eventId === undefined ? data : `id: ${eventId}\n${data}`;
}

/** What is the same for every reader is written once. */
const written = new WeakMap<Arrival, string>();

/** A message as JSON shows it, with what its seal proves. */
export function messageBody({ message, at }: Arrival, sender: Sender): object {
  const contentType = headerOf(message.headers, "content-type");
  const { verified } = sender;
  return {
    subject: message.subject,
    ...keyOf(message),
    ...payloadOf(message.payload, contentType),
    ...(contentType !== undefined && { contentType }),
    headers: Object.fromEntries(valuesByName(message.headers.filter(([name]) => !OURS.test(name)))),
    sender: verified
      ? { verified, user: sender.user, issuer: sender.issuer, name: sender.name, actor: sender.actor }
      : { verified, code: sender.code },
    ...(verified && { id: sender.id, txn: sender.txn }),
    time: isoTimeOf(at),
  };
}

/** Where reading of a stream begins: an event of its own, since a page sees the id only of an event. */
export function beginText(eventId: string): string {
  return `event: begin\nid: ${eventId}\ndata: {}\n\n`;
}

/** A new place to go on after: an id without data, which a browser keeps and shows to nobody. */
export function positionText(eventId: string): string {
  return `id: ${eventId}\n\n`;
}

/** The last event: why the stream ends, and whether to open another. */
export function endText(code: EndCode): string {
  return `event: end\ndata: ${JSON.stringify({ code, reconnect: END_RECONNECTS[code] })}\n\n`;
}

/** Of a bucket's message: which key, at which revision, and whether it was written or taken away. */
function keyOf({ subject, headers, sequence }: InboundMessage): object {
  const [, key] = /^\$KV\.[^.]+\.(.+)$/.exec(subject) ?? [];
  if (key === undefined) return {};
  const mark = headerOf(headers, "kv-operation")?.toUpperCase();
  const operation = mark === "DEL" ? "delete" : mark === "PURGE" ? "purge" : "put";
  return { key, ...(sequence !== undefined && { revision: sequence }), operation };
}

/** Text and JSON as `data`, a string; everything else, and what is not UTF-8, as `dataBase64`. */
function payloadOf(
  payload: Uint8Array,
  contentType: string | undefined,
): { data?: string; dataBase64?: string } {
  if (contentType === undefined || /^(?:text\/|application\/(?:[a-z0-9.-]+\+)?json\b)/i.test(contentType)) {
    try {
      return { data: UTF8.decode(payload) };
    } catch {
      // Not UTF-8 whatever its type says.
    }
  }
  return { dataBase64: Buffer.from(payload).toString("base64") };
}

function headerOf(headers: HeaderList, wanted: string): string | undefined {
  return headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
}
