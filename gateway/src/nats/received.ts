import { type Msg, MsgImpl } from "@nats-io/transport-node";
import type { HeaderList, InboundMessage } from "./connection.ts";
import { parseHeaders } from "./headers.ts";

/** A message as it came; its headers are read when somebody asks for them. */
class Received implements InboundMessage {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly reply?: string;
  readonly headerBlock: Uint8Array;
  #headers: HeaderList | undefined;

  constructor(raw: Msg, headerBlock: Uint8Array) {
    this.subject = raw.subject;
    this.payload = raw.data;
    if (raw.reply) this.reply = raw.reply;
    this.headerBlock = headerBlock;
  }

  get headers(): HeaderList {
    this.#headers ??= parseHeaders(this.headerBlock).headers;
    return this.#headers;
  }
}

const NO_BLOCK = new Uint8Array(0);
/** Where the status stands, in a block that has one: `NATS/1.0 503`. */
const STATUS_AT = "NATS/1.0".length;
const BLANK = 0x20;

/** What came, with headers that anybody may have written. */
export function receivedOf(raw: Msg): { readonly status?: number; readonly message: InboundMessage } {
  const block = raw instanceof MsgImpl ? headerBlockOf(raw) : NO_BLOCK;
  const message = new Received(raw, block);
  const status = block[STATUS_AT] === BLANK ? parseHeaders(block).status : undefined;
  return status === undefined ? { message } : { status, message };
}

/** Never `raw.headers`: nats-core's parser throws on a header name it does not like, and that ends its read loop. */
function headerBlockOf(raw: MsgImpl): Uint8Array {
  const bytes = raw._msg.hdr;
  return bytes > 0 ? raw._rdata.subarray(0, bytes) : NO_BLOCK;
}
