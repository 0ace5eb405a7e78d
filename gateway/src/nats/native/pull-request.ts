import { type Json, parseStrictJson } from "../../identity/strict-json.ts";
import { allowed, type Outcome, refused } from "../../refusal.ts";

/** Longer ones say nothing that we understand. */
const PAYLOAD_BYTES_MAX = 1_024;
const BATCH_MAX = 100_000;
const BYTES_MAX = 1_073_741_824;
const HOUR_NANOSECONDS = 3_600_000_000_000;
const NOTHING = new Uint8Array(0);

/** The settings of one pull, by their names in JetStream's API, and the largest value of each. */
const PULL_SETTINGS: ReadonlyMap<string, number> = new Map([
  ["batch", BATCH_MAX],
  ["max_bytes", BYTES_MAX],
  ["expires", HOUR_NANOSECONDS],
  ["idle_heartbeat", HOUR_NANOSECONDS],
]);

/**
 * Reads the payload of CONSUMER.MSG.NEXT: nothing, a number of messages, or JSON. Priority groups are refused, since
 * no consumer is made with them.
 *
 * @returns what is sent in its place, or `request_invalid`
 */
export function readPull(payload: Uint8Array): Outcome<Uint8Array> {
  const text = textOf(payload);
  if (text === undefined) return invalid(`is longer than ${PAYLOAD_BYTES_MAX} bytes`);
  if (text === "") return allowed(NOTHING);
  if (/^\d{1,6}$/.test(text)) return allowed(Buffer.from(text));
  const given = parseStrictJson(text);
  if (!given) return invalid("is neither a number nor a JSON object");
  for (const [name, value] of Object.entries(given)) {
    const max = PULL_SETTINGS.get(name);
    const fits = name === "no_wait" ? typeof value === "boolean" : max !== undefined && isUpTo(max, value);
    if (!fits) return invalid(`has "${clip(name)}" of a value that is not supported through the gateway`);
  }
  return allowed(Buffer.from(JSON.stringify(given)));
}

/**
 * Reads an acknowledgement: `+ACK` or nothing, `-NAK` with or without a delay, `+WPI`, `+TERM` with or without a
 * reason, `+NXT` with or without a pull.
 *
 * @returns what is sent in its place, or `request_invalid`
 * @source server/consumer.go, processAck
 */
export function readAck(payload: Uint8Array): Outcome<Uint8Array> {
  const text = textOf(payload);
  const match = text === undefined ? null : /^(|\+ACK|-NAK|\+WPI|\+TERM|\+NXT)(?: (.*))?$/s.exec(text);
  if (!match) return invalid("is no acknowledgement");
  const [, kind = "", argument] = match;
  if (argument === undefined) return allowed(payload);
  switch (kind) {
    case "-NAK":
      return withArgument(kind, readDelay(argument));
    case "+TERM":
      // It goes into an advisory, which somebody's terminal may show.
      return /^[\x20-\x7e]{1,256}$/.test(argument)
        ? withArgument(kind, allowed(Buffer.from(argument)))
        : invalid("gives a reason beyond 256 printable characters");
    case "+NXT":
      return withArgument(kind, readPull(Buffer.from(argument)));
    default:
      return invalid("is no acknowledgement");
  }
}

/** `{"delay": nanoseconds}`, or a duration as Go writes it. */
function readDelay(argument: string): Outcome<Uint8Array> {
  if (/^\d{1,6}(?:ns|us|ms|s|m)$/.test(argument)) return allowed(Buffer.from(argument));
  const given = parseStrictJson(argument);
  const fits = given && Object.keys(given).length === 1 && isUpTo(HOUR_NANOSECONDS, given.delay);
  return fits ? allowed(Buffer.from(JSON.stringify(given))) : invalid("gives no delay of up to an hour");
}

function withArgument(kind: string, argument: Outcome<Uint8Array>): Outcome<Uint8Array> {
  return argument.ok ? allowed(Buffer.concat([Buffer.from(`${kind} `), argument.value])) : argument;
}

function isUpTo(max: number, value: Json | undefined): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max;
}

function textOf(payload: Uint8Array): string | undefined {
  return payload.length > PAYLOAD_BYTES_MAX ? undefined : Buffer.from(payload).toString("utf8");
}

function clip(name: string): string {
  return name.slice(0, 64).replace(/[^\x21-\x7e]/g, "?");
}

function invalid(why: string): Outcome<never> {
  return refused({ reason: "request_invalid", what: "pull", why });
}
