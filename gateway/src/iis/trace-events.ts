import type { AuditCompletion, AuditRecord } from "../audit/record.ts";
import type { LogLine } from "./w3c-log.ts";

/** One thing that happened, from one of the sources, in the order of time. */
export type TraceEvent = IisEvent | DecisionEvent | CompletionEvent | MessageEvent;

/** A line of IIS, or of HTTP.sys below it. */
export interface IisEvent {
  readonly source: "iis" | "httperr";
  /** When the request ended, milliseconds since 1970; IIS logs whole seconds. */
  readonly atMs: number | undefined;
  readonly file: string;
  readonly line: number;
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly query: string | undefined;
  /** ARR's own id of the request, which IIS shows as a part of the query that the caller never sent. */
  readonly arrLogId: string | undefined;
  readonly status: number | undefined;
  readonly substatus: number | undefined;
  /** `sc-win32-status`, as written: it may exceed 32 bits. */
  readonly win32: string | undefined;
  /** Whom IIS says it was; undefined when it authenticated nobody. */
  readonly username: string | undefined;
  readonly client: string | undefined;
  readonly tookMs: number | undefined;
  /** The gateway's id of the request; undefined when it never got there. */
  readonly requestId: string | undefined;
  /** HTTP.sys's own reason. */
  readonly reason: string | undefined;
}

/** What the gateway decided. */
export interface DecisionEvent {
  readonly source: "decision";
  readonly atMs: number;
  readonly record: AuditRecord;
}

/** What came of it. */
export interface CompletionEvent {
  readonly source: "completion";
  readonly atMs: number;
  /** The one transaction of the trace, of those it completes. */
  readonly txn: string;
  readonly completion: Omit<AuditCompletion, "txns">;
}

/** A message as it lies in a stream. */
export interface MessageEvent {
  readonly source: "message";
  /** When the stream took it. */
  readonly atMs: number;
  readonly stream: string;
  readonly sequence: number;
  readonly subject: string;
  /** What its seal proves, or why it proves nothing. */
  readonly seal:
    | {
        readonly verified: true;
        readonly user: string;
        readonly actor?: string;
        readonly txn: string;
        readonly id: string;
        readonly requestId: string;
      }
    | { readonly verified: false; readonly code: string };
  /** Its `Nats-Msg-Id`, which anybody may have written where no seal is. */
  readonly id: string | undefined;
}

/** What does not fit together. */
export interface TraceFinding {
  readonly code: FindingCode;
  readonly requestId?: string;
  /** One sentence: what was found, and what that may mean. */
  readonly what: string;
}

export type FindingCode =
  | "user_differs"
  | "identity_unvouched"
  | "never_reached"
  | "no_record"
  | "not_through_iis"
  | "message_without_record"
  | "message_missing"
  | "message_altered"
  | "no_completion"
  | "refused_by_nats"
  | "no_request_id_column";

/** @returns the line as an event; blanks in its user name are as they were before IIS wrote them as `+` */
export function iisEventOf({ kind, atMs, file, number, field }: LogLine): IisEvent {
  const requestId = field("x-request-id");
  return {
    ...{ source: kind, atMs, file, line: number },
    method: field("cs-method"),
    path: field("cs-uri-stem") ?? field("cs-uri"),
    ...queryOf(field("cs-uri-query")),
    status: numberOf(field("sc-status")),
    substatus: numberOf(field("sc-substatus")),
    win32: field("sc-win32-status"),
    username: field("cs-username")?.replaceAll("+", " "),
    client: field("c-ip"),
    tookMs: numberOf(field("time-taken")),
    requestId: requestId !== undefined && REQUEST_ID.test(requestId) ? requestId : undefined,
    reason: field("s-reason"),
  };
}

function queryOf(text: string | undefined): Pick<IisEvent, "query" | "arrLogId"> {
  const [whole = "", arrLogId] = /(?:^|&)X-ARR-LOG-ID=([0-9a-f-]{36})(?=&|$)/i.exec(text ?? "") ?? [];
  const query = text?.replace(whole, "");
  return { query: query === "" ? undefined : query, arrLogId };
}

/** Ours are UUIDs; anything else in that column is somebody else's. */
const REQUEST_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
