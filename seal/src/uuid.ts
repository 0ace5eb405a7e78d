import { randomFillSync } from "node:crypto";

const POOL_BYTES = 4_096;
/** rand_a, used as a counter within a millisecond (RFC 9562 §6.2, method 1). */
const COUNTER_MAX = 0xfff;
/** The counter starts in its lower half, which leaves at least 2,048 ids before it overflows. */
const COUNTER_SEED_MASK = 0x7ff;
const BYTES_PER_UUID = 10;

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

// One generator per process, like the random source itself: two of them would not be monotonic together.
const pool = Buffer.alloc(POOL_BYTES);
let poolUsed = POOL_BYTES;
let lastMs = -1;
let aheadMs = 0;
let counter = 0;
let prefix = "";

/**
 * A UUID of version 7 (RFC 9562 §5.7), lower case, 36 characters. Ids made for the same millisecond in a row are
 * in ascending order; 62 random bits in each keep one from being guessed from its neighbour.
 *
 * @param nowMs  milliseconds since 1970-01-01T00:00:00Z; a fraction is cut off
 */
export function uuidv7(nowMs: number): string {
  const ms = Math.floor(nowMs);
  if (poolUsed + BYTES_PER_UUID > POOL_BYTES) {
    randomFillSync(pool);
    poolUsed = 0;
  }
  const random = poolUsed;
  poolUsed += BYTES_PER_UUID;
  if (ms !== lastMs) startMillisecond(ms, pool.readUInt16BE(random + 8) & COUNTER_SEED_MASK);
  else if (counter < COUNTER_MAX) counter++;
  else runAhead();
  return (
    `${prefix}7${HEX[counter >> 8]?.slice(1)}${HEX[counter & 0xff]}-` +
    `${HEX[(byteAt(random) & 0x3f) | 0x80]}${hexAt(random + 1)}-` +
    `${hexAt(random + 2)}${hexAt(random + 3)}${hexAt(random + 4)}${hexAt(random + 5)}${hexAt(random + 6)}${hexAt(random + 7)}`
  );
}

function startMillisecond(ms: number, seed: number): void {
  lastMs = ms;
  aheadMs = 0;
  counter = seed;
  prefix = prefixOf(ms);
}

/** The counter is used up: borrow the next millisecond, as RFC 9562 §6.2 allows, rather than wait for it. */
function runAhead(): void {
  aheadMs++;
  counter = 0;
  prefix = prefixOf(lastMs + aheadMs);
}

function prefixOf(ms: number): string {
  const hex = ms.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-`;
}

function byteAt(offset: number): number {
  return pool[offset] ?? 0;
}

function hexAt(offset: number): string {
  return HEX[byteAt(offset)] ?? "00";
}
