import { isJsonObject, type Json, type JsonObject, parseStrictJson } from "../../identity/strict-json.ts";
import { allowed, type Outcome, refused } from "../../refusal.ts";
import { isJsName } from "./js-request.ts";

/** What a client asks for with CONSUMER.CREATE: only what we understand, each value within its bounds. */
export interface ConsumerRequest {
  readonly name?: string;
  readonly isDurable: boolean;
  /** What it wants to read; empty = everything. */
  readonly filters: readonly string[];
  /** Where a push consumer is to deliver, in the client's own words; absent = pull. */
  readonly deliverSubject?: string;
  /** `""`: create it or update it. */
  readonly action: "" | "create" | "update";
  /** All else, to be sent on as it stands. */
  readonly settings: ConsumerSettings;
}

export type ConsumerSettings = Readonly<Record<string, string | number | boolean>>;

/** Far more than the settings of a consumer with several long filters. */
const REQUEST_BYTES_MAX = 8_192;
/** Filters of one request. Several are only taken where one of them includes the others. */
const FILTERS_MAX = 64;
const HOUR_NANOSECONDS = 3_600_000_000_000;
/** 24 hours: how long a declared consumer may stay when nobody reads. */
const DAY_NANOSECONDS = 24 * HOUR_NANOSECONDS;

/** What is wrong with a value, in words; undefined when nothing is. */
type Check = (value: Json) => string | undefined;

const isTrueOrFalse: Check = (value) => (typeof value === "boolean" ? undefined : "expected true or false");

function isOneOf(...words: readonly string[]): Check {
  return (value) => (words.includes(value as string) ? undefined : `expected ${words.join(", ")}`);
}

function isWithin(least: number, most: number): Check {
  return (value) =>
    Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most
      ? undefined
      : `expected a whole number from ${least} to ${most}`;
}

const isTime: Check = (value) =>
  typeof value === "string" &&
  value.length <= 40 &&
  /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)$/.test(value)
    ? undefined
    : "expected a time as in 2026-01-31T12:00:00Z";

/**
 * The settings a client may choose, by their names in JetStream's API. What is not here (`deliver_group`, `backoff`,
 * `sample_freq`, `pause_until`, priority groups …) has not been thought through, and is refused by name rather than
 * dropped, since a consumer that behaves otherwise than was asked for loses messages silently.
 */
const SETTINGS: ReadonlyMap<string, Check> = new Map(
  Object.entries({
    deliver_policy: isOneOf("all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject"),
    opt_start_seq: isWithin(0, Number.MAX_SAFE_INTEGER),
    opt_start_time: isTime,
    ack_policy: isOneOf("none", "all", "explicit"),
    ack_wait: isWithin(0, HOUR_NANOSECONDS),
    max_deliver: isWithin(-1, 1_000_000),
    max_ack_pending: isWithin(-1, 100_000),
    max_waiting: isWithin(0, 4_096),
    max_batch: isWithin(0, 100_000),
    max_bytes: isWithin(0, 1_073_741_824),
    max_expires: isWithin(0, HOUR_NANOSECONDS),
    replay_policy: isOneOf("instant", "original"),
    rate_limit_bps: isWithin(0, Number.MAX_SAFE_INTEGER),
    headers_only: isTrueOrFalse,
    flow_control: isTrueOrFalse,
    idle_heartbeat: isWithin(0, HOUR_NANOSECONDS),
    inactive_threshold: isWithin(0, DAY_NANOSECONDS),
    num_replicas: isWithin(0, 5),
    mem_storage: isTrueOrFalse,
  }),
);

/** Read by nobody but people, or only by nats-server when it answers: left out. */
const DESCRIPTIVE: ReadonlySet<string> = new Set(["description", "metadata"]);
const NAMED: ReadonlySet<string> = new Set([
  "name",
  "durable_name",
  "filter_subject",
  "filter_subjects",
  "deliver_subject",
]);

/**
 * Reads the payload of CONSUMER.CREATE. It is never passed on: what leaves is written anew from what was understood.
 *
 * @param subject  what the subject of the request says besides
 * @returns `request_invalid`, naming the field
 */
export function readConsumerRequest(
  payload: Uint8Array,
  subject: { readonly stream: string; readonly name?: string; readonly filter?: string },
): Outcome<ConsumerRequest> {
  if (payload.length > REQUEST_BYTES_MAX) {
    return invalid(`is ${payload.length} bytes long; at most ${REQUEST_BYTES_MAX} are read`);
  }
  const request = parseStrictJson(Buffer.from(payload).toString("utf8"));
  const config = request?.config;
  if (!request || !isJsonObject(config)) return invalid("is no JSON object with a config");
  const fault = faultOfRequest(request, subject.stream) ?? faultOfConfig(config);
  if (fault !== undefined) return invalid(fault);
  const names = namesIn(config, subject.name);
  const [name] = names;
  if (names.size > 1 || !isJsName(name ?? "any")) return invalid("has several names, or one that is none");
  const filters = filtersIn(config, subject.filter);
  if (!filters) return invalid(`filters by something else than its subject, or by more than ${FILTERS_MAX}`);
  const deliverSubject = textIn(config, "deliver_subject");
  return allowed({
    ...(name !== undefined && { name }),
    isDurable: textIn(config, "durable_name") !== undefined,
    filters,
    ...(deliverSubject !== undefined && { deliverSubject }),
    action: (request.action ?? "") as ConsumerRequest["action"],
    settings: settingsIn(config),
  });
}

function faultOfRequest(request: JsonObject, stream: string): string | undefined {
  for (const [name, value] of Object.entries(request)) {
    if (name === "config" || name === "pedantic") continue;
    if (name === "stream_name" && value === stream) continue;
    if (name === "action" && ["", "create", "update"].includes(value as string)) continue;
    return `has "${clip(name)}" of a value that is not expected here`;
  }
  return undefined;
}

function faultOfConfig(config: JsonObject): string | undefined {
  for (const [name, value] of Object.entries(config)) {
    if (value === null || DESCRIPTIVE.has(name)) continue;
    if (NAMED.has(name)) {
      const isList = name === "filter_subjects" && Array.isArray(value) && value.every(isText);
      if (isList || (name !== "filter_subjects" && isText(value))) continue;
      return `has "${name}", which is no text or list of texts`;
    }
    const check = SETTINGS.get(name);
    if (!check) return `has "${clip(name)}", which is not supported through the gateway`;
    const fault = check(value);
    if (fault !== undefined) return `has a "${name}" out of bounds: ${fault}`;
  }
  return undefined;
}

function namesIn(config: JsonObject, inSubject: string | undefined): Set<string> {
  const names = [inSubject, textIn(config, "name"), textIn(config, "durable_name")];
  return new Set(names.filter((name) => name !== undefined));
}

/** @returns undefined when the subject says otherwise than the payload */
function filtersIn(config: JsonObject, inSubject: string | undefined): readonly string[] | undefined {
  const single = textIn(config, "filter_subject");
  const several = (config.filter_subjects ?? []) as readonly string[];
  if (several.length > FILTERS_MAX) return undefined;
  const filters = [...new Set(single === undefined ? several : [single, ...several])];
  const agrees = inSubject === undefined || (filters.length === 1 && filters[0] === inSubject);
  return agrees ? filters : undefined;
}

function settingsIn(config: JsonObject): ConsumerSettings {
  const known = Object.entries(config).filter(([name, value]) => SETTINGS.has(name) && value !== null);
  return Object.fromEntries(known) as ConsumerSettings;
}

function isText(value: Json | undefined): value is string {
  return typeof value === "string";
}

/** A text that says something: Go writes an absent one as `""`. */
function textIn(config: JsonObject, name: string): string | undefined {
  const value = config[name];
  return isText(value) && value !== "" ? value : undefined;
}

function clip(name: string): string {
  return name.slice(0, 64).replace(/[^\x21-\x7e]/g, "?");
}

function invalid(why: string): Outcome<never> {
  return refused({ reason: "request_invalid", what: "consumer", why });
}
