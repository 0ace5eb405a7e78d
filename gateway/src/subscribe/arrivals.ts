import { setBounded } from "../bounded-map.ts";
import type { InboundMessage } from "../nats/connection.ts";
import type { Clock, EpochSeconds } from "../time.ts";
import type { Arrival, Sender } from "./event.ts";

/** As published, one message comes to all readers within a moment; the same bytes later are another message. */
const SAME_SECONDS = 1;
/** Readers of a stream are not all at the same place. */
const REMEMBERED_MAX = 1_024;
/** Larger ones are few, and would fill the memory. */
const REMEMBERED_BYTES_MAX = 16_384;
/** Every so many bytes are looked at to find a message again; whether it is that one, all of them say. */
const STRIDE = 16;

/**
 * Tells whether a message that comes has come before, to another reader: then it has been judged, and written out.
 * Under a thousand readers of one subject that would be most of the work.
 */
export function createArrivals(
  senderOf: (message: InboundMessage) => Promise<Sender>,
  clock: Clock,
): (message: InboundMessage) => Arrival {
  const known = new Map<number, Arrival>();

  function arrive(message: InboundMessage, now: EpochSeconds): Arrival {
    return { message, at: message.brokerTime ?? now, sender: senderOf(message) };
  }

  return function arrivalOf(message) {
    const now = clock();
    const { headerBlock, payload } = message;
    if (!headerBlock || payload.length > REMEMBERED_BYTES_MAX) return arrive(message, now);
    const key = sampleOf(payload, sampleOf(headerBlock, Math.floor(message.brokerTime ?? 0)));
    const before = known.get(key);
    if (before && isSame(before, message, now)) return before;
    const arrival = arrive(message, now);
    setBounded(known, key, arrival, REMEMBERED_MAX);
    // What could not be verified may be a moment later, when its key is there.
    void arrival.sender.then(({ verified }) => {
      if (!verified && known.get(key) === arrival) known.delete(key);
    });
    return arrival;
  };
}

function isSame({ message, at }: Arrival, other: InboundMessage, now: EpochSeconds): boolean {
  return (
    message.subject === other.subject &&
    message.reply === other.reply &&
    message.brokerTime === other.brokerTime &&
    (message.brokerTime !== undefined || now < at + SAME_SECONDS) &&
    areEqual(message.payload, other.payload) &&
    areEqual(message.headerBlock, other.headerBlock)
  );
}

function areEqual(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one !== undefined && other !== undefined && Buffer.compare(one, other) === 0;
}

/** @source FNV-1a, over a part of the bytes */
function sampleOf(bytes: Uint8Array, seed: number): number {
  let sample = (seed ^ bytes.length) >>> 0;
  for (let at = bytes.length - 1; at >= 0; at -= STRIDE) {
    sample = Math.imul(sample ^ (bytes[at] ?? 0), 0x01000193) >>> 0;
  }
  return sample;
}
