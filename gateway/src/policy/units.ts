import type { EpochSeconds } from "../time.ts";

/** Reads `250ms 2s 10m 1h` as seconds; undefined for anything else. */
export function parseDurationSeconds(text: string): number | undefined {
  const match = /^(\d{1,9})(ms|s|m|h)$/.exec(text);
  if (!match) return undefined;
  const factor = { ms: 0.001, s: 1, m: 60, h: 3600 }[match[2] as "ms" | "s" | "m" | "h"];
  return Number(match[1]) * factor;
}

/** Writes seconds as a policy would: `10m`, `90s`. */
export function formatDuration(seconds: number): string {
  if (!Number.isInteger(seconds)) return `${Math.round(seconds * 1000)}ms`;
  if (seconds % 3600 === 0) return `${seconds / 3600}h`;
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}

/** Writes bytes as a policy would: `64KiB`, `100B`. */
export function formatSize(bytes: number): string {
  if (bytes % 1_048_576 === 0) return `${bytes / 1_048_576}MiB`;
  return bytes % 1024 === 0 ? `${bytes / 1024}KiB` : `${bytes}B`;
}

/** Reads `512B 64KiB 1MiB` as bytes; undefined for anything else. */
export function parseSizeBytes(text: string): number | undefined {
  const match = /^(\d{1,9})(B|KiB|MiB)$/.exec(text);
  if (!match) return undefined;
  const factor = { B: 1, KiB: 1024, MiB: 1024 * 1024 }[match[2] as "B" | "KiB" | "MiB"];
  return Number(match[1]) * factor;
}

/** Reads `50/s`; undefined for anything else. */
export function parseRatePerSecond(text: string): number | undefined {
  const match = /^(\d{1,9})\/s$/.exec(text);
  return match ? Number(match[1]) : undefined;
}

/**
 * Reads the moment at which something ends: a date is still good on that day (UTC) and ends with it, a date and
 * time (RFC 3339, with an offset) is the moment itself.
 *
 * @returns the first moment at which it no longer holds; undefined for anything else
 */
export function parseUntil(text: string): EpochSeconds | undefined {
  const date = /^\d{4}-\d{2}-\d{2}$/.test(text);
  const moment = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})$/.test(text);
  if (!date && !moment) return undefined;
  const milliseconds = Date.parse(text);
  if (Number.isNaN(milliseconds)) return undefined;
  // Date.parse takes the 31st of any month and rolls it over, which nobody means.
  if (!sameDay(text)) return undefined;
  return milliseconds / 1000 + (date ? 86_400 : 0);
}

function sameDay(text: string): boolean {
  const day = text.slice(0, 10);
  const read = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(read.getTime()) && read.toISOString().startsWith(day);
}
