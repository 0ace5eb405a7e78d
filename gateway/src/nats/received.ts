import { type Msg, MsgImpl } from "@nats-io/transport-node";
import type { InboundMessage } from "./connection.ts";
import { parseHeaders } from "./headers.ts";

/** What came, with headers that anybody may have written. */
export function receivedOf(raw: Msg): { readonly status?: number; readonly message: InboundMessage } {
  const { status, headers } = raw instanceof MsgImpl ? rawHeadersOf(raw) : { status: undefined, headers: [] };
  const reply = raw.reply;
  const message = { subject: raw.subject, payload: raw.data, headers, ...(reply && { reply }) };
  return status === undefined ? { message } : { status, message };
}

/** Never `raw.headers`: nats-core's parser throws on a header name it does not like, and that ends its read loop. */
function rawHeadersOf(raw: MsgImpl): ReturnType<typeof parseHeaders> {
  const bytes = raw._msg.hdr;
  return bytes > 0 ? parseHeaders(raw._rdata.subarray(0, bytes)) : { headers: [] };
}
