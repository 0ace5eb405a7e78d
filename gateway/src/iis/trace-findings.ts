import type { AuditRecord } from "../audit/record.ts";
import type { CompletionEvent, DecisionEvent, IisEvent, MessageEvent, TraceFinding } from "./trace-events.ts";
import type { TraceParts } from "./trace-parts.ts";
import { isSameName } from "./trace-selector.ts";

/** Lanes whose requests come over HTTP, and so through whatever stands in front. */
const HTTP_LANES: ReadonlySet<string> = new Set(["http", "sse", "auth", "nats"]);
/** A line is written when its request has ended; one that still runs has none yet. */
const LOGGED_WITHIN_MS = 2_000;
/** A record is completed within the turn, but for streams and requests that wait. */
const COMPLETED_WITHIN_MS = 120_000;
/** From the first 401 of a sign-in by NTLM or Negotiate to the request it was for: two round trips, and IIS's whole seconds. */
const SIGNED_IN_WITHIN_MS = 10_000;

/** What does not fit together in a trace: never a guess about what nobody looked at. */
export function findingsOf(parts: TraceParts): readonly TraceFinding[] {
  const byRequest = Map.groupBy(parts.decisions, ({ record }) => record.requestId);
  const lines = Map.groupBy(parts.iis, ({ requestId }) => requestId);
  const done = Map.groupBy(parts.completions, ({ txn }) => txn);
  return [
    ...parts.looked.withoutRequestId.map(withoutColumn),
    ...parts.iis
      .filter((line) => !isOfSignIn(line, parts.iis))
      .flatMap((line) => findingsOfLine(line, byRequest, parts)),
    ...parts.decisions.flatMap((decision) => findingsOfDecision(decision, lines, done, parts)),
    ...parts.messages.flatMap((message) => findingsOfMessage(message, parts)),
  ];
}

function withoutColumn(file: string): TraceFinding {
  const what = `${file} has no column X-Request-Id, so that its lines cannot be joined; \`countersign iis init\` writes the command that adds it`;
  return { code: "no_request_id_column", what };
}

/** NTLM and Negotiate ask once or twice with 401 before the request itself comes through: that is how they work. */
function isOfSignIn({ status, atMs = 0, client, path }: IisEvent, lines: readonly IisEvent[]): boolean {
  if (status !== 401) return false;
  return lines.some(
    (line) =>
      line.username !== undefined &&
      line.requestId !== undefined &&
      line.client === client &&
      line.path === path &&
      (line.atMs ?? 0) >= atMs &&
      (line.atMs ?? 0) <= atMs + SIGNED_IN_WITHIN_MS,
  );
}

type Decisions = ReadonlyMap<string, readonly DecisionEvent[]>;

function findingsOfLine(
  line: IisEvent,
  decisions: Decisions,
  { looked }: TraceParts,
): readonly TraceFinding[] {
  const { requestId } = line;
  if (line.source === "httperr") {
    const why = line.reason === undefined ? "" : ` (${line.reason})`;
    return [
      { code: "never_reached", what: `${at(line)}: HTTP.sys refused the request before IIS saw it${why}` },
    ];
  }
  if (requestId === undefined) {
    if (looked.withoutRequestId.includes(line.file)) return [];
    // A file, a redirect to https: IIS was asked for it and answered.
    if ((line.status ?? 0) < 400 && !isDecided(line)) return [];
    const what = `${at(line)}: ${line.method} ${line.path} ended with ${statusOf(line)} and never reached the gateway${meaningOf(line)}`;
    return [{ code: "never_reached", what }];
  }
  const [decision] = decisions.get(requestId) ?? [];
  if (decision) return findingsOfIdentity(line, decision.record);
  // Keys, health, pages and preflights are answered to anybody, and decided for nobody.
  if (!looked.audit || !isDecided(line)) return [];
  const what = `${at(line)}: the gateway answered this request, and no audit log that was read has a record of it`;
  return [{ code: "no_record", requestId, what }];
}

/** Endpoints that decide, whatever the base path is. */
function isDecided({ path = "", method }: IisEvent): boolean {
  return method !== "OPTIONS" && /\/(?:v1\/|auth\/(?:callback|logout|backchannel-logout))/.test(path);
}

function findingsOfIdentity(line: IisEvent, record: AuditRecord): readonly TraceFinding[] {
  const { requestId, user, name, proof } = record;
  const { username } = line;
  if (username === undefined) {
    if (proof?.kind !== "windows") return [];
    const what = `${at(line)}: IIS authenticated nobody, and the gateway decided for ${user} by an identity of IIS's: it did not come from this site's module`;
    return [{ code: "identity_unvouched", requestId, what }];
  }
  if (user === undefined || isSameName(name, username)) return [];
  const what = `${at(line)}: IIS says ${username}, the gateway decided for ${user}${name === undefined ? "" : ` (${name})`}`;
  return [{ code: "user_differs", requestId, what }];
}

function findingsOfDecision(
  { record, atMs }: DecisionEvent,
  lines: ReadonlyMap<string | undefined, readonly IisEvent[]>,
  done: ReadonlyMap<string, readonly CompletionEvent[]>,
  { looked, messages, nowMs }: TraceParts,
): readonly TraceFinding[] {
  const { requestId, txn, outcome, message, lane } = record;
  const findings: TraceFinding[] = [];
  const covered =
    looked.iis !== undefined && atMs >= looked.iis.fromMs && atMs <= looked.iis.toMs - LOGGED_WITHIN_MS;
  if (covered && HTTP_LANES.has(lane) && !lines.has(requestId)) {
    const what = `no line of IIS has the request ${requestId} from ${record.remote ?? "an unknown address"}: it is still open, or it reached the gateway past IIS`;
    findings.push({ code: "not_through_iis", requestId, what });
  }
  if (outcome === "refused" || message === undefined) return findings;
  const completions = done.get(txn) ?? [];
  const refused = completions.find(({ completion }) => completion.outcome === "refused");
  if (refused) {
    const what = `nats-server refused message ${message.id}, which the gateway had allowed: its grant and its permissions differ`;
    findings.push({ code: "refused_by_nats", requestId, what });
  }
  if (completions.length === 0 && nowMs - atMs > COMPLETED_WITHIN_MS) {
    const what = `nothing says what came of message ${message.id}: the gateway ended before it knew`;
    findings.push({ code: "no_completion", requestId, what });
  }
  if (looked.streams && wasStored(completions) && !messages.some((found) => isOf(found, message.id))) {
    const what = `message ${message.id} was stored and is no longer in its stream: it was deleted, or its time is over`;
    findings.push({ code: "message_missing", requestId, what });
  }
  return findings;
}

function wasStored(completions: readonly CompletionEvent[]): boolean {
  return completions.some(({ completion }) => (completion.outcome as string) === "stored");
}

function isOf({ seal, id }: MessageEvent, wanted: string): boolean {
  return (seal.verified ? seal.id : id) === wanted;
}

function findingsOfMessage(found: MessageEvent, { decisions, looked }: TraceParts): readonly TraceFinding[] {
  const where = `${found.stream}:${found.sequence} on ${found.subject}`;
  const { seal } = found;
  if (!seal.verified) {
    const claimed = decisions.find(({ record }) => record.message?.id === found.id)?.record;
    if (!claimed) {
      const what = `${where} has no seal that proves who sent it (${seal.code}): it did not come through the gateway, or was changed`;
      return [{ code: "message_without_record", what }];
    }
    const what = `${where} has the id of message ${found.id}, and its seal does not verify: ${seal.code}`;
    return [{ code: "message_altered", requestId: claimed.requestId, what }];
  }
  if (!looked.audit || decisions.some(({ record }) => record.txn === seal.txn)) return [];
  const what = `${where} is sealed for ${seal.user} through request ${seal.requestId}, and no audit log that was read has a record of it`;
  return [{ code: "message_without_record", requestId: seal.requestId, what }];
}

function at({ file, line }: IisEvent): string {
  return `${file}:${line}`;
}

function statusOf({ status, substatus, win32 }: IisEvent): string {
  const sub = substatus === undefined || substatus === 0 ? "" : `.${substatus}`;
  return `${status ?? "no status"}${sub}${win32 === undefined || win32 === "0" ? "" : ` (win32 ${win32})`}`;
}

/** @source  IIS's HTTP status and sub-status codes; the ones that a gateway behind it meets */
const MEANINGS: Readonly<Record<string, string>> = {
  "400": "HTTP.sys found the request ill-formed",
  "401": "IIS asked for Windows authentication and got none that it took",
  "401.1": "the sign-in failed",
  "401.2": "the site's authentication settings refuse it",
  "403.16": "the client certificate is not trusted",
  "404.5": "request filtering refuses a sequence in the URL",
  "404.6": "request filtering refuses the method",
  "404.7": "request filtering refuses the file extension: a subject in the path?",
  "404.8": "request filtering hides a segment of the path: a subject in the path?",
  "404.11": "request filtering refuses a double escape: a subject in the path?",
  "404.13": "the body is longer than maxAllowedContentLength",
  "404.14": "the URL is longer than maxUrl",
  "404.15": "the query is longer than maxQueryString",
  "413.1": "the body is longer than IIS lets through",
  "500.19": "web.config cannot be read: a locked section?",
  "500.50": "a rewrite rule sets a variable that allowedServerVariables does not name",
  "500.52": "a rewrite rule sets a variable that allowedServerVariables does not name",
  "502.3": "IIS could not reach the gateway, or waited for it in vain",
  "502.5": "the gateway did not start",
  "503": "the application pool is stopped, or its queue is full",
};

function meaningOf({ status, substatus = 0 }: IisEvent): string {
  const meaning = MEANINGS[`${status}.${substatus}`] ?? MEANINGS[String(status)];
  return meaning === undefined ? "" : `: ${meaning}`;
}
