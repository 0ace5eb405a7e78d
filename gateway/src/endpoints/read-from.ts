import { allowed, type Outcome, refused } from "../refusal.ts";
import type { ReadFrom, StoredReading } from "../subscribe.ts";
import { EVENT_ID, parseEventId } from "./event-id.ts";
import type { HeaderDefinition } from "./operation.ts";
import { type Kind, matching } from "./parameter.ts";

/** Names of streams as the policy writes them. */
export const STREAM: Kind<string> = matching(
  "Reads what this stream keeps, instead of what is published from now on.",
  { grammar: /^[A-Za-z0-9_-]{1,64}$/, expected: "the name of a stream", example: "ORDERS" },
);

const GRAMMAR =
  /^(?:new|all|last|sequence:[1-9]\d{0,15}|time:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d))$/;

/** Where to begin in a stream. */
export const FROM: Kind<ReadFrom> = {
  definition: {
    description:
      "Where to begin in the stream: `new`, with what comes from now on; `all`, with the first it keeps; `last`, with the last of each subject parameter; `sequence:N`, with that one or the next there is; `time:…`, with the first since then (RFC 3339). `new` by default. An event id counts before it.",
    schema: { type: "string", pattern: GRAMMAR.source, default: "new" },
    example: "all",
    expected: "new, all, last, sequence:N or time:2026-01-31T12:00:00Z",
    read: readFrom,
  },
};

export const LAST_EVENT_ID: Kind<string> = {
  definition: {
    description:
      "The id of the last event that was read: goes on after it, and leaves out nothing. For pages, whose new EventSource cannot send the header of that name.",
    ...EVENT_ID,
    // Judged with the subjects and the stream, which say what it may be.
    read: (text) => text,
  },
};

export const LAST_EVENT_ID_HEADER: HeaderDefinition = {
  description:
    "As the parameter `last-event-id`, and counts before it: a browser sends it when it opens the same stream again.",
  schema: EVENT_ID.schema,
  example: EVENT_ID.example,
};

function readFrom(text: string): ReadFrom | undefined {
  if (!GRAMMAR.test(text)) return undefined;
  if (text === "new" || text === "all" || text === "last") return { from: text };
  const value = text.slice(text.indexOf(":") + 1);
  if (text.startsWith("sequence:")) {
    const sequence = Number(value);
    return Number.isSafeInteger(sequence) ? { from: "sequence", sequence } : undefined;
  }
  const time = Date.parse(value) / 1000;
  return Number.isNaN(time) ? undefined : { from: "time", time };
}

/** What a request says of the stream to read. */
export interface ReadingAsk {
  readonly subjects: readonly string[];
  readonly stream: string | undefined;
  readonly from: ReadFrom | undefined;
  /** Of the query. */
  readonly lastEventId: string | undefined;
  /** Of the header. */
  readonly header: string | undefined;
}

/** @returns undefined when no stream is to be read, or `request_invalid` */
export function readingOf(ask: ReadingAsk): Outcome<StoredReading | undefined> {
  const { subjects, stream, from } = ask;
  // EventSource sends no header before it has seen an id, and an empty one after an empty id.
  const fromHeader = ask.header === "" ? undefined : ask.header;
  const id = fromHeader ?? ask.lastEventId;
  const what = fromHeader === undefined ? "query parameter last-event-id" : "header Last-Event-ID";
  if (stream === undefined) {
    if (from !== undefined) return invalid("query parameter from", NEEDS_STREAM);
    return id === undefined ? allowed(undefined) : invalid(what, NEEDS_STREAM);
  }
  if (id === undefined) return allowed({ stream, from: subjects.map(() => from ?? { from: "new" }) });
  const parsed = parseEventId(id, subjects);
  if (!parsed) return invalid(what, `expected ${EVENT_ID.expected}, of a stream of these subjects`);
  if (parsed.stream !== stream) {
    return invalid(what, `is of the stream ${parsed.stream}, and ${stream} is asked for`);
  }
  return allowed({ stream, from: parsed.positions.map((sequence) => ({ from: "after", sequence })) });
}

const NEEDS_STREAM = "only what a stream keeps can be read from there; name it with stream=";

function invalid(what: string, why: string): ReturnType<typeof refused> {
  return refused({ reason: "request_invalid", what, why });
}
