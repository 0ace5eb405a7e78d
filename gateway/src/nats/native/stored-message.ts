import type { HeaderList } from "../connection.ts";
import { encodeHeaders, parseHeaders } from "../headers.ts";
import type { JetStreamAnswer, JetStreamReply } from "./jetstream.ts";
import { JS_ERRORS, jsAnswer, jsError } from "./js-answer.ts";

/** The headers in which a direct get says what in STREAM.MSG.GET's answer is JSON. */
const ABOUT = /^Nats-(?:Stream|Subject|Sequence|Time-Stamp|Last-Sequence|Num-Pending)$/;

/**
 * Turns the answer of a direct get into that of STREAM.MSG.GET, which reads every key of a bucket and so is asked
 * in the former's place. Unlike it, any replica may answer, a moment behind.
 *
 * @source ADR-31
 */
export function storedMessage({ payload, headerBlock }: JetStreamAnswer): JetStreamReply {
  const { status, headers } = headerBlock ? parseHeaders(headerBlock) : { status: undefined, headers: [] };
  if (status === 404) {
    return { do: "deliver", payload: jsError("stream_msg_get", JS_ERRORS.messageNotFound) };
  }
  // No bucket, one without direct gets, or a message we cannot read: the client is told as nats-server tells it.
  const subject = about(headers, "Nats-Subject");
  const own = encodeHeaders(headers.filter(([name]) => !ABOUT.test(name)));
  if (status !== undefined || subject === undefined || !own.ok) return { do: "pass" };
  const hasHeaders = headers.some(([name]) => !ABOUT.test(name));
  const message = {
    subject,
    seq: Number(about(headers, "Nats-Sequence")),
    ...(hasHeaders && { hdrs: Buffer.from(own.value).toString("base64") }),
    ...(payload.length > 0 && { data: Buffer.from(payload).toString("base64") }),
    time: about(headers, "Nats-Time-Stamp"),
  };
  return { do: "deliver", payload: jsAnswer("stream_msg_get", { message }) };
}

/** The last one: nats-server puts its own behind those of the message. */
function about(headers: HeaderList, name: string): string | undefined {
  return headers.findLast(([one]) => one === name)?.[1];
}
