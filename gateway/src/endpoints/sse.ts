import type { HeaderList } from "../nats/connection.ts";
import type { EndCode, StreamEvent } from "../subscribe.ts";
import { isoTimeOf } from "../time.ts";
import { valuesByName } from "./headers.ts";

/** Whether a client that is told this code should open a new stream, or first sign in, or stop. */
export const END_RECONNECTS: Readonly<Record<EndCode, boolean>> = {
  expired: true,
  logout: false,
  policy: true,
  shutdown: true,
  unavailable: true,
  slow_reader: true,
  closed: false,
};

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Headers that are ours and say in `sender`, `id` and `txn` what a reader should know of them. */
const OURS = /^(?:seal-|txn-token$|nats-|traceparent$|content-type$)/i;

/**
 * One event of the default type, so that `EventSource.onmessage` receives it; JSON keeps line feeds out. Its
 * `headers` are those of the message that are not ours, names as sent: a text each, and a list of texts, in their
 * order, for one that was sent more than once.
 *
 * @source https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export function eventText({ message, sender, at }: StreamEvent): string {
  const contentType = headerOf(message.headers, "content-type");
  const { verified } = sender;
  const body = {
    subject: message.subject,
    ...payloadOf(message.payload, contentType),
    ...(contentType !== undefined && { contentType }),
    headers: Object.fromEntries(valuesByName(message.headers.filter(([name]) => !OURS.test(name)))),
    sender: verified
      ? { verified, user: sender.user, issuer: sender.issuer, name: sender.name, actor: sender.actor }
      : { verified, code: sender.code },
    ...(verified && { id: sender.id, txn: sender.txn }),
    time: isoTimeOf(at),
  };
  return `data: ${JSON.stringify(body)}\n\n`;
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
