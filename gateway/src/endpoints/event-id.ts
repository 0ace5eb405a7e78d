import { hash } from "node:crypto";
import type { Positions } from "../subscribe.ts";

/** Where a reader of a stream is. */
export interface EventId {
  readonly stream: string;
  /** Of each subject, in the order they are asked for; one for all of them where it is one number. */
  readonly positions: Positions;
}

const ID =
  /^([A-Za-z0-9_-]{1,64}):((?:0|[1-9]\d{0,15})(?:,(?:0|[1-9]\d{0,15})){0,15})(?:~([A-Za-z0-9_-]{8}))?$/;
/** A name, sixteen numbers, the mark. */
const CHARACTERS_MAX = 400;
/** Characters of the mark: that it fits by chance is less likely than that somebody wants it to, and that harms nobody. */
const MARK_CHARACTERS = 8;

/** For the description of the API. */
export const EVENT_ID: {
  readonly schema: Readonly<Record<string, unknown>>;
  readonly example: string;
  readonly expected: string;
} = {
  schema: { type: "string", maxLength: CHARACTERS_MAX, pattern: ID.source },
  example: "ORDERS:4711",
  expected: "the id of an event, such as ORDERS:4711",
};

/**
 * The `id` of an event: the stream, and the sequence up to which nothing is left to come. Several subjects are read
 * side by side, so that each may be elsewhere: then the id has a number for each, in the order of their names, and a mark
 * of which subjects they are, so that it is not taken for the place in others.
 */
export function formatEventId(stream: string, subjects: readonly string[], positions: Positions): string {
  const [first] = positions;
  if (positions.every((position) => position === first)) return `${stream}:${first}`;
  const sorted = orderOf(subjects).map((index) => positions[index]);
  return `${stream}:${sorted.join(",")}~${markOf(subjects)}`;
}

/** @returns undefined for what no event had as its id, or not under these subjects */
export function parseEventId(text: string, subjects: readonly string[]): EventId | undefined {
  if (text.length > CHARACTERS_MAX) return undefined;
  const [, stream, numbers, mark] = ID.exec(text) ?? [];
  if (stream === undefined || numbers === undefined) return undefined;
  const found = numbers.split(",").map(Number);
  if (!found.every(Number.isSafeInteger)) return undefined;
  const [first] = found;
  if (mark === undefined) {
    return found.length === 1 && first !== undefined
      ? { stream, positions: subjects.map(() => first) }
      : undefined;
  }
  if (found.length !== subjects.length || mark !== markOf(subjects)) return undefined;
  const positions = new Array<number>(subjects.length).fill(0);
  for (const [place, index] of orderOf(subjects).entries()) positions[index] = found[place] ?? 0;
  return { stream, positions };
}

/** Indexes of the subjects in the order of their names, which no query can change. */
function orderOf(subjects: readonly string[]): readonly number[] {
  return [...subjects.keys()].sort((a, b) => ((subjects[a] ?? "") < (subjects[b] ?? "") ? -1 : 1));
}

function markOf(subjects: readonly string[]): string {
  return hash("sha256", [...subjects].sort().join(" "), "base64url").slice(0, MARK_CHARACTERS);
}
