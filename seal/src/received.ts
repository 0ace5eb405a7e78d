import type { EpochSeconds, HeaderList } from "./claims.ts";
import { isCovered } from "./digests.ts";
import { SealError } from "./seal-error.ts";

/** Headers as any client has them: pairs of a name and its value or values. */
export type ReceivedHeaders = Iterable<readonly [name: string, value: string | readonly string[]]>;

/** A message of nats.js: `Msg` of core NATS, `JsMsg` of a consumer, `StoredMsg` read from a stream. */
export interface NatsMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  /** `Msg`, `JsMsg`. */
  readonly headers?: ReceivedHeaders | undefined;
  /** `StoredMsg`. */
  readonly header?: ReceivedHeaders | undefined;
  /** When the stream took it, from the server's own metadata (`JsMsg`, `StoredMsg`). Absent: core NATS, now. */
  readonly time?: Date;
}

/** A message of any other client. */
export interface PlainMessage {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers: ReceivedHeaders;
  /** When the broker took it, from the metadata of the stream or its mirror, never from a header. Absent: now. */
  readonly brokerTime?: EpochSeconds;
}

export type ReceivedMessage = NatsMessage | PlainMessage;

/** A message in one shape, bounded; nothing of it verified. */
export interface Received {
  readonly subject: string;
  readonly payload: Uint8Array;
  /** Those a seal covers. */
  readonly headers: HeaderList;
  readonly seal: SealHeaderValues;
  /** Values of `Nats-Msg-Id`, in any case. */
  readonly ids: readonly string[];
  readonly brokerTime: EpochSeconds;
}

export type SealHeaderValues =
  | { readonly form: "token"; readonly token: string }
  | { readonly form: "tree"; readonly claims: string; readonly path: string; readonly root: string };

/** Names and values of one message. JetStream takes no more. */
const HEADER_BYTES_MAX = 65_536;
const HEADER_VALUES_MAX = 512;
/** The largest max_payload that nats-server allows. */
const PAYLOAD_BYTES_MAX = 67_108_864;

/** Headers of a seal and their bounds, in characters: claims of 4,096 bytes, a path of ten hashes. */
const SEAL_HEADERS: Readonly<Record<string, number>> = {
  "txn-token": 6_144,
  "seal-claims": 5_462,
  "seal-path": 512,
  "seal-root": 2_048,
};
const MESSAGE_ID = "nats-msg-id";

/**
 * Brings a message into one shape and finds its seal. Names are compared without case: a client that looks for
 * `Seal-Claims` alone would not see its twin `seal-claims`, and another reader would see that one first.
 *
 * @throws SealError `too_large`, `seal_missing`, `seal_ambiguous`, `seal_incomplete`, `encoding_invalid`
 */
export function receive(message: ReceivedMessage, now: EpochSeconds): Received {
  const { subject, payload, headers, brokerTime } = read(message, now);
  if (payload.byteLength > PAYLOAD_BYTES_MAX) throw new SealError("too_large", "The payload exceeds 64 MiB");
  const covered: (readonly [string, string])[] = [];
  const found = new Map<string, string[]>();
  for (const [name, value] of bounded(headers)) {
    const lower = name.toLowerCase();
    if (lower === MESSAGE_ID || Object.hasOwn(SEAL_HEADERS, lower)) {
      found.set(lower, [...(found.get(lower) ?? []), value]);
    } else if (isCovered(name)) {
      covered.push([name, value]);
    }
  }
  const ids = found.get(MESSAGE_ID) ?? [];
  return { subject, payload, headers: covered, seal: sealOf(found), ids, brokerTime };
}

/** Clients parse headers when they are first read, and may throw at what a publisher wrote there. */
function read(
  message: ReceivedMessage,
  now: EpochSeconds,
): Omit<PlainMessage, "brokerTime"> & { brokerTime: EpochSeconds } {
  try {
    if ("payload" in message) {
      // By name, since a client may read them only when they are asked for.
      const { subject, payload, headers, brokerTime = now } = message;
      return { subject, payload, headers, brokerTime };
    }
    const { subject, data, time } = message;
    const headers = message.headers ?? message.header ?? [];
    return { subject, payload: data, headers, brokerTime: time === undefined ? now : time.getTime() / 1000 };
  } catch (cause) {
    throw new SealError("encoding_invalid", "The message cannot be read", { cause });
  }
}

/** One pair for each value. */
function* bounded(headers: ReceivedHeaders): Generator<readonly [name: string, value: string]> {
  let bytes = 0;
  let values = 0;
  for (const [name, given] of headers) {
    for (const value of typeof given === "string" ? [given] : given) {
      bytes += name.length + value.length;
      values += 1;
      if (bytes > HEADER_BYTES_MAX || values > HEADER_VALUES_MAX) {
        throw new SealError(
          "too_large",
          `The headers exceed ${HEADER_BYTES_MAX} bytes or ${HEADER_VALUES_MAX} values`,
        );
      }
      yield [name, value];
    }
  }
}

function sealOf(found: ReadonlyMap<string, readonly string[]>): SealHeaderValues {
  const names = Object.keys(SEAL_HEADERS).filter((name) => found.has(name));
  if (names.length === 0) throw new SealError("seal_missing", "The message has no seal");
  const token = found.get("txn-token")?.[0];
  const isTwice = names.some((name) => found.get(name)?.length !== 1);
  if (isTwice || (token !== undefined && names.length > 1)) {
    throw new SealError("seal_ambiguous", "The message has more than one seal, or parts of two");
  }
  for (const name of names) {
    if ((found.get(name)?.[0]?.length ?? 0) > (SEAL_HEADERS[name] ?? 0)) {
      throw new SealError("too_large", `The header ${name} exceeds ${SEAL_HEADERS[name]} bytes`);
    }
  }
  if (token !== undefined) return { form: "token", token };
  const [claims, path, root] = ["seal-claims", "seal-path", "seal-root"].map((name) => found.get(name)?.[0]);
  if (claims === undefined || path === undefined || root === undefined) {
    throw new SealError("seal_incomplete", "The message has not all three headers of a seal");
  }
  return { form: "tree", claims, path, root };
}
