import { isAbsolute, resolve } from "node:path";
import { z } from "zod";
import { parseDurationMs } from "../time.ts";

/** What a schema needs to know besides the text. */
export interface SchemaContext {
  /** Absolute folder of the configuration file: relative paths start here. */
  readonly base: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads every secret and certificate once, so that a missing one is a mistake at start and not at noon. */
  readonly probe: boolean;
}

/** Says why a text is wrong; for `return wrong("…")`. */
type Wrong = (why: string) => undefined;

/**
 * A string that means something else: checked and converted, with our own words for what is wrong with it.
 *
 * @param kind  what the reference page calls it
 */
export function text<T>(
  expected: string,
  parse: (text: string, wrong: Wrong) => T | undefined,
  kind = "text",
): z.ZodType<T, string> {
  return z
    .string({
      error: ({ input }) => (input === undefined ? undefined : `expected ${expected}; found ${shown(input)}`),
    })
    .transform((given, context): T => {
      let why: string | undefined;
      const value = parse(given, (reason) => {
        why = reason;
        return undefined;
      });
      if (value !== undefined) return value;
      context.addIssue(why ?? `expected ${expected}; found ${shown(given)}`);
      return z.NEVER;
    })
    .meta({ kind });
}

/** A string of a grammar. */
export function matching(expected: string, grammar: RegExp): z.ZodType<string, string> {
  return text(expected, (given) => (grammar.test(given) ? given : undefined));
}

export interface Range {
  /** Lowest and highest, as one writes them. */
  readonly from: string;
  readonly to: string;
}

/** @returns milliseconds */
export function durationMs({ from, to }: Range): z.ZodType<number, string> {
  return text(
    `a duration like 250ms, 2s, 10m or 1h, from ${from} to ${to}`,
    (given) => within(parseDurationMs(given), parseDurationMs(from), parseDurationMs(to)),
    "duration",
  );
}

/** @returns seconds */
export function durationSeconds(range: Range): z.ZodType<number, string> {
  return durationMs(range).transform((ms) => ms / 1_000);
}

const UNITS_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1_024,
  MiB: 1_048_576,
  GiB: 1_073_741_824,
};

/** @returns bytes of `512B`, `64KiB`, `1MiB`, `2GiB`; undefined for anything else */
export function parseSize(given: string): number | undefined {
  const [, digits, unit = ""] = /^(\d{1,9})(B|KiB|MiB|GiB)$/.exec(given) ?? [];
  const unitBytes = UNITS_BYTES[unit];
  return digits === undefined || unitBytes === undefined ? undefined : Number(digits) * unitBytes;
}

/** @returns bytes */
export function sizeBytes({ from, to }: Range): z.ZodType<number, string> {
  return text(
    `a size like 512B, 64KiB or 1MiB, from ${from} to ${to}`,
    (given) => within(parseSize(given), parseSize(from), parseSize(to)),
    "size",
  );
}

function within(value: number | undefined, from = 0, to = Number.POSITIVE_INFINITY): number | undefined {
  return value !== undefined && value >= from && value <= to ? value : undefined;
}

export function count({
  from,
  to,
}: {
  readonly from: number;
  readonly to: number;
}): z.ZodType<number, number> {
  const error = ({ input }: { readonly input?: unknown }) =>
    input === undefined ? undefined : `expected a whole number from ${from} to ${to}; found ${shown(input)}`;
  return z.int({ error }).min(from, { error }).max(to, { error });
}

/** Of options that weaken a defence: only a plain `true` switches one on. */
export function dangerous(): z.ZodType<boolean, boolean | undefined> {
  return z.boolean({ error: ({ input }) => `expected true or false; found ${shown(input)}` }).default(false);
}

/** @returns absolute; relative ones start at the folder of the configuration file */
export function path({ base }: SchemaContext): z.ZodType<string, string> {
  return text(
    "a path",
    (given, wrong) => {
      if (given.includes("-----BEGIN")) {
        return wrong("expected the path of a file; found its content (not shown)");
      }
      if (given === "" || given.length > 1_024 || /\p{Cc}/u.test(given)) return undefined;
      return isAbsolute(given) ? given : resolve(base, given);
    },
    "path",
  );
}

export interface Address {
  /** Without brackets. */
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
}

/** `host:port`, IPv6 in brackets. */
export function address(): z.ZodType<Address, string> {
  return text(
    "an address like 127.0.0.1:8480 or '[::1]:8480'",
    (given) => {
      const [, bracketed, plain, port = ""] =
        /^(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9.-]{1,253})):(\d{1,5})$/.exec(given) ?? [];
      const host = bracketed ?? plain;
      return host === undefined || Number(port) > 65_535 ? undefined : { host, port: Number(port) };
    },
    "`host:port`",
  );
}

/** This machine itself, by name or number (RFC 6761 §6.3, RFC 5735 §3, RFC 4291 §2.5.3). */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}

/** A found value for a message: cut, on one line, and never with the user name or password of a URL. */
export function shown(value: unknown): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  const json = JSON.stringify(value) ?? "nothing";
  const safe = json.replace(/\/\/[^/@]*@/g, "//(not shown)@");
  return safe.length <= 80 ? safe : `${safe.slice(0, 80)}…`;
}
