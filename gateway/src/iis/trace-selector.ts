import { checkSubject, subjectMatches } from "@countersign/seal";
import type { AuditRecord } from "../audit/record.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";

/** What a trace is of. */
export interface TraceSelector {
  readonly kind: "id" | "user" | "subject";
  readonly text: string;
}

export type SelectorKind = "request" | "message" | "user" | "subject";

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const USER = /^[a-z0-9]+-[A-Za-z0-9_=-]+$/;
/** Longer than any name we know. */
const TEXT_CHARACTERS_MAX = 512;

/**
 * Reads what a trace is asked of: an id of a request or a message, a user, or a subject, by its form.
 *
 * @param as  says which, where the form does not
 * @returns `request_invalid` with what would be right
 */
export function parseSelector(text: string, as?: SelectorKind): Outcome<TraceSelector> {
  if (text === "" || text.length > TEXT_CHARACTERS_MAX || !/^[\x20-\x7e]+$/.test(text)) {
    return invalid(`expected 1 to ${TEXT_CHARACTERS_MAX} printable characters, found ${text.length}`);
  }
  const kind = as === "request" || as === "message" ? "id" : (as ?? kindOf(text));
  if (kind === "id") return allowed({ kind, text: UUID.test(text) ? text.toLowerCase() : text });
  if (kind === "user") return allowed({ kind, text });
  const fault = checkSubject(text, { wildcards: true });
  if (fault === undefined) return allowed({ kind, text });
  return invalid(
    `"${text}" is no id of a request or a message, no user like entra-ann, and as a subject it ${fault}`,
  );
}

function kindOf(text: string): TraceSelector["kind"] {
  if (UUID.test(text)) return "id";
  // A name that IIS shows, `CORP\ann`, is a user's too.
  return USER.test(text) || text.includes("\\") || text.includes("@") ? "user" : "subject";
}

function invalid(why: string): ReturnType<typeof refused> {
  return refused({ reason: "request_invalid", what: "what to trace", why });
}

export function selects({ kind, text }: TraceSelector, record: AuditRecord): boolean {
  switch (kind) {
    case "id":
      return [record.requestId, record.txn, record.clientRequestId, record.message?.id].includes(text);
    case "user":
      return [record.user, record.actor].includes(text) || isSameName(record.name, text);
    case "subject":
      return subjectsOf(record).some((subject) => subject === text || subjectMatches(text, subject));
  }
}

/** Names of Windows are the same in either case. */
export function isSameName(one: string | undefined, other: string): boolean {
  return one !== undefined && one.toLowerCase() === other.toLowerCase();
}

/** Of the message, and of what was asked for: `subscribe orders.>` is about its pattern. */
function subjectsOf({ message, action }: AuditRecord): readonly string[] {
  const asked = action.split(" ").slice(1);
  return message === undefined ? asked : [message.subject, ...asked];
}

/**
 * Bytes that stand in every line of a record that this selects, so that the others need not be parsed; empty where there
 * are none.
 */
export function needleOf({ kind, text }: TraceSelector): string {
  if (kind === "id") return text;
  if (kind === "subject") return text.split(/[*>]/)[0] ?? "";
  // A name may be written in another case, and its backslash twice.
  return USER.test(text) ? text : "";
}
