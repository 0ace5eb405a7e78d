/** Seconds since 1970-01-01T00:00:00Z, as in a JWT's `exp` (RFC 7519 §2, NumericDate); whole or fractional. */
export type EpochSeconds = number;

/** Reads the time. Only the composition root holds the real one, so that tests can say what time it is. */
export type Clock = () => EpochSeconds;

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** @returns milliseconds of `250ms`, `2s`, `10m`, `1h`, `30d`; undefined for anything else */
export function parseDurationMs(text: string): number | undefined {
  const [, digits, unit = ""] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  const unitMs = UNITS_MS[unit];
  return digits === undefined || unitMs === undefined ? undefined : Number(digits) * unitMs;
}

/** The last second that was written, with everything before its milliseconds: most times of one moment share it. */
let lastSecond = { at: Number.NaN, text: "" };

/** `2026-11-23T08:30:00.000Z`: how times stand in records, answers and messages (RFC 3339, in UTC, milliseconds). */
export function isoTimeOf(at: EpochSeconds): string {
  const ms = Math.floor(at * 1000);
  const second = Math.floor(ms / 1000);
  if (second !== lastSecond.at) {
    lastSecond = { at: second, text: new Date(second * 1000).toISOString().slice(0, -4) };
  }
  return `${lastSecond.text}${String(ms - second * 1000).padStart(3, "0")}Z`;
}
