import type { EpochSeconds } from "../../time.ts";

/** What JetStream says of a message it delivers: it stands in the reply subject, which only the server writes. */
export interface Delivery {
  readonly stream: string;
  readonly consumer: string;
  /** Its place in the stream. */
  readonly sequence: number;
  /** Its place among what this consumer has delivered: 1, 2, 3, … */
  readonly consumerSequence: number;
  /** When the stream took it. */
  readonly brokerTime: EpochSeconds;
  /** Messages for this consumer that come after it, as of when it was delivered. */
  readonly pending: number;
}

/** Tokens of `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>`. */
const TOKENS = 9;
/** The newer form has a domain and an account's hash before the stream; a random token may follow. */
const TOKENS_WITH_DOMAIN_MIN = 11;
const DIGITS = /^\d{1,20}$/;

/**
 * Reads the reply subject of a message that a consumer delivered.
 *
 * @returns undefined for anything else
 * @source ADR-15 of nats-architecture-and-design
 */
export function parseDelivery(reply: string | undefined): Delivery | undefined {
  if (!reply?.startsWith("$JS.ACK.")) return undefined;
  const tokens = reply.split(".");
  const hasDomain = tokens.length >= TOKENS_WITH_DOMAIN_MIN;
  if (!hasDomain && tokens.length !== TOKENS) return undefined;
  const [stream = "", consumer = "", delivered = "", ...numbers] = tokens.slice(hasDomain ? 4 : 2);
  const [sequence = "", consumerSequence = "", nanoseconds = "", pending = ""] = numbers;
  const all = [delivered, sequence, consumerSequence, nanoseconds, pending];
  if (!all.every((text) => DIGITS.test(text))) return undefined;
  return {
    stream,
    consumer,
    sequence: Number(sequence),
    consumerSequence: Number(consumerSequence),
    brokerTime: Number(nanoseconds) / 1e9,
    pending: Number(pending),
  };
}
