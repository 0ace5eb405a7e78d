import type { RuleRef } from "../refusal.ts";
import { isoTimeOf } from "../time.ts";
import type { CompletionEvent, DecisionEvent, IisEvent, MessageEvent, TraceEvent } from "./trace-events.ts";
import type { Trace } from "./trace-join.ts";

/** A trace for people: a line an event, then what does not fit. Names come from logs: nothing in them moves a terminal. */
export function traceText({ events, findings }: Trace): string {
  const lines = events.map((event) => `${timeOf(event.atMs)}  ${textOf(event)}`);
  const found = findings.map(({ code, what }) => `finding  ${code}: ${what}`);
  return [...lines, ...(found.length > 0 ? ["", ...found] : [])]
    .map((line) => `${harmless(line)}\n`)
    .join("");
}

function timeOf(atMs: number | undefined): string {
  return atMs === undefined
    ? "at no known time       "
    : isoTimeOf(atMs / 1000)
        .replace("T", " ")
        .slice(0, -1);
}

function textOf(event: TraceEvent): string {
  switch (event.source) {
    case "iis":
    case "httperr":
      return lineText(event);
    case "decision":
      return decisionText(event);
    case "completion":
      return completionText(event);
    case "message":
      return messageText(event);
  }
}

function lineText(line: IisEvent): string {
  const { source, method, path, query, status, substatus, username, client, tookMs, requestId, reason } =
    line;
  const target = `${path ?? "-"}${query === undefined ? "" : `?${query}`}`;
  const sub = substatus === undefined || substatus === 0 ? "" : `.${substatus}`;
  return joined([
    `${source.padEnd(9)} ${method ?? "-"} ${cut(target)}  ${status ?? "-"}${sub}`,
    reason,
    username === undefined ? "anonymous" : `as ${username}`,
    client && `from ${client}`,
    tookMs !== undefined && `${tookMs} ms`,
    requestId && `request ${requestId}`,
    `${line.file}:${line.line}`,
  ]);
}

function decisionText({ record }: DecisionEvent): string {
  const { outcome, action, user, name, actor, rule, refusal, policy, lane, instance, requestId, message } =
    record;
  return joined([
    `decision  ${outcome}  ${action}`,
    user === undefined ? "by nobody known" : `by ${user}${name === undefined ? "" : ` (${name})`}`,
    actor && `${actor} acting`,
    rule && ruleText(rule),
    refusal && `because ${refusal.reason}`,
    policy && `policy ${policy.slice(0, 12)}`,
    message && `message ${message.id}, ${message.bytes} bytes`,
    `${lane} on ${instance}`,
    `request ${requestId}`,
  ]);
}

function ruleText({ role, text, file, line }: RuleRef): string {
  return `rule "${role === undefined ? "" : `${role}: `}${text}" (${file}:${line})`;
}

function completionText({ completion }: CompletionEvent): string {
  const { outcome, why, root, by, messages } = completion;
  return joined([
    `outcome   ${outcome}${by === undefined ? "" : ` by ${by}`}`,
    why,
    messages !== undefined && `${messages} messages`,
    root && `tree ${root.slice(0, 12)}`,
  ]);
}

function messageText({ stream, sequence, subject, seal }: MessageEvent): string {
  return joined([
    `message   ${stream}:${sequence}  ${subject}`,
    seal.verified
      ? `seal verified: ${seal.user}${seal.actor === undefined ? "" : `, ${seal.actor} acting`}`
      : `seal not verified: ${seal.code}`,
    seal.verified && `request ${seal.requestId}`,
  ]);
}

function joined(parts: readonly (string | false | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== false && part !== "").join("  ");
}

function cut(text: string): string {
  return text.length <= TARGET_CHARACTERS_MAX ? text : `${text.slice(0, TARGET_CHARACTERS_MAX)}…`;
}

const TARGET_CHARACTERS_MAX = 200;

function harmless(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not pass.
  return line.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "?");
}
