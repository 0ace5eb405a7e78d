import type { Refusal, RuleRef } from "../refusal.ts";
import type { AuditCompletion, AuditRecord } from "./record.ts";

/**
 * One line, as bytes of ASCII without its line break. Holds by construction: every string is cut to
 * `STRING_BYTES_MAX`, every list to `LIST_ITEMS_MAX`, and the number of members is fixed.
 */
export const LINE_BYTES_MAX = 65_536;
/** One string as it stands in the line, escapes counted. Four times the longest subject. */
const STRING_BYTES_MAX = 1_024;
/** Evidence lists (users, audiences). */
const LIST_ITEMS_MAX = 16;
/** Completed transactions in one line: 1,000 UUIDs are 39 kB, and their sequences 17 kB at most. More make more lines. */
const TXNS_PER_LINE_MAX = 1_000;
/** Roots in one line: 1,000 of 43 characters are 46 kB. */
const ROOTS_PER_LINE_MAX = 1_000;
const ROOT_BYTES_MAX = 49;
/** A transaction id is a UUID of 36 characters; anything longer is not ours. */
const TXN_BYTES_MAX = 56;

/** Ends a string that was cut: no field of ours contains it by itself. */
const CUT_MARK = "[cut]";

/** Visible ASCII that JSON takes as it is. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/**
 * What the record keeps of each refusal, in this order. Naming the members means that nothing else gets into a
 * line, whatever an object carries besides; the compiler refuses a list that forgets an arm or names no member.
 */
const EVIDENCE: { readonly [R in Refusal["reason"]]: readonly Evidence<R>[] } = {
  proof_missing: ["why"],
  proof_malformed: ["why"],
  proof_invalid: ["why"],
  proof_expired: ["expiredAt", "now"],
  proof_not_yet_valid: ["validFrom", "now"],
  proof_revoked: ["notBefore", "provedAt"],
  issuer_unknown: ["issuer"],
  audience_mismatch: ["expected", "found"],
  proof_ambiguous: ["users"],
  session_unknown: [],
  session_idle: ["idleSince", "now"],
  cross_site: ["origin", "fetchSite"],
  groups_overage: ["issuer", "claim"],
  login_failed: ["step", "why"],
  check_unavailable: ["check", "why"],
  hop_unproven: ["proof"],
  hop_unfit: ["why"],
  request_invalid: ["what", "why"],
  subject_invalid: ["subject", "why"],
  header_refused: ["header", "why"],
  media_type_unsupported: ["found", "expected"],
  not_found: ["path"],
  payload_too_large: ["bytes", "bytesMax"],
  not_granted: ["action", "nearest"],
  never: ["action", "rule"],
  rate_limited: ["perSecond", "retryAfterSeconds"],
  connections_exceeded: ["connectionsMax"],
  credential_too_large: ["bytes", "bytesMax"],
  connection_type_refused: ["type"],
  source_refused: ["remote"],
  limit_unenforceable: ["limit"],
  nats_unavailable: ["why"],
  no_responders: ["subject"],
  stream_unknown: ["stream"],
  timeout: ["timeoutMs"],
  connection_lost: [],
  no_stream: ["stream", "subject"],
  stream_mismatch: ["stream", "subject"],
  precondition_failed: ["why", "last"],
  stream_refused: ["stream", "code", "why"],
  outcome_unknown: ["timeoutMs"],
  key_reused: [],
  key_in_use: ["retryAfterSeconds"],
  key_undecided: [],
  record_unwritable: ["why"],
  capacity_exceeded: ["what", "max"],
  shutting_down: [],
  internal_error: [],
};

type Evidence<R extends Refusal["reason"]> = Exclude<keyof Extract<Refusal, { reason: R }>, "reason">;

/**
 * One decision as one line of JSON: ASCII only, always the same order of members, absent ones left out, so that
 * neither a line break, U+2028, a bidirectional mark nor a lone surrogate in a name can forge or hide a line.
 */
export function renderRecord(record: AuditRecord): string {
  // Templated by hand: JSON.stringify keeps the caller's order, bounds nothing and writes whatever is there.
  const { proof, rule, refusal, message, connection } = record;
  let line = `{"kind":"decision","at":${quote(record.at)},"txn":${quote(record.txn)},"requestId":${quote(record.requestId)}`;
  if (record.clientRequestId !== undefined) line += `,"clientRequestId":${quote(record.clientRequestId)}`;
  if (record.clientTraceparent !== undefined)
    line += `,"clientTraceparent":${quote(record.clientTraceparent)}`;
  line += `,"instance":${quote(record.instance)},"lane":${quote(record.lane)}`;
  if (record.remote !== undefined) line += `,"remote":${quote(record.remote)}`;
  if (record.hop !== undefined) line += `,"hop":${quote(record.hop)}`;
  if (connection !== undefined) {
    line += `,"connection":{"server":${quote(connection.server)},"cid":${number(connection.cid)},"type":${quote(connection.type)}}`;
  }
  line += `,"action":${quote(record.action)},"outcome":${quote(record.outcome)}`;
  if (record.user !== undefined) line += `,"user":${quote(record.user)}`;
  if (record.issuer !== undefined) line += `,"issuer":${quote(record.issuer)}`;
  if (record.name !== undefined) line += `,"name":${quote(record.name)}`;
  if (record.actor !== undefined) line += `,"actor":${quote(record.actor)}`;
  if (proof !== undefined) line += `,"proof":{"kind":${quote(proof.kind)},"hash":${quote(proof.hash)}}`;
  if (record.acr !== undefined) line += `,"acr":${quote(record.acr)}`;
  if (rule !== undefined) line += `,"rule":${renderRule(rule)}`;
  if (refusal !== undefined) line += `,"refusal":${renderRefusal(refusal)}`;
  if (record.policy !== undefined) line += `,"policy":${quote(record.policy)}`;
  if (message !== undefined) {
    line += `,"message":{"id":${quote(message.id)},"subject":${quote(message.subject)},"bytes":${number(message.bytes)},"digest":${quote(message.digest)}}`;
  }
  if (record.many) line += `,"many":true`;
  return `${line}}`;
}

/**
 * One completion as lines of JSON: more than one beyond `TXNS_PER_LINE_MAX` transactions or `ROOTS_PER_LINE_MAX` roots,
 * the first with the counts. Roots are those of one transaction; of several, none are written.
 */
export function renderCompletion(entry: AuditCompletion): readonly string[] {
  const lines: string[] = [];
  const roots = entry.txns.length === 1 ? (entry.roots ?? []) : [];
  const lineCount = Math.max(
    1,
    Math.ceil(entry.txns.length / TXNS_PER_LINE_MAX),
    Math.ceil(roots.length / ROOTS_PER_LINE_MAX),
  );
  for (let index = 0; index < lineCount; index += 1) {
    const txns = sliceOf(entry.txns, index, TXNS_PER_LINE_MAX).map((txn) => quote(txn, TXN_BYTES_MAX));
    const shown = roots.slice(index * ROOTS_PER_LINE_MAX, (index + 1) * ROOTS_PER_LINE_MAX);
    let line = `{"kind":"completion","at":${quote(entry.at)},"instance":${quote(entry.instance)},"txns":[${txns.join(",")}],"outcome":${quote(entry.outcome)}`;
    if (entry.why !== undefined) line += `,"why":${quote(entry.why)}`;
    if (entry.root !== undefined) line += `,"root":${quote(entry.root)}`;
    if (entry.by !== undefined) line += `,"by":${quote(entry.by)}`;
    if (entry.messages !== undefined && index === 0) line += `,"messages":${number(entry.messages)}`;
    if (entry.bytes !== undefined && index === 0) line += `,"bytes":${number(entry.bytes)}`;
    if (entry.stream !== undefined) line += `,"stream":${quote(entry.stream)}`;
    if (entry.sequences)
      line += `,"sequences":[${sliceOf(entry.sequences, index, TXNS_PER_LINE_MAX).map(number).join(",")}]`;
    if (entry.duplicate) line += `,"duplicate":true`;
    if (shown.length > 0) line += `,"roots":[${shown.map((root) => quote(root, ROOT_BYTES_MAX)).join(",")}]`;
    lines.push(`${line}}`);
  }
  return lines;
}

/** Its part of what is spread over lines; a single transaction is on each of them, since it says what they are about. */
function sliceOf<T>(txns: readonly T[], index: number, most: number): readonly T[] {
  return txns.length === 1 ? txns : txns.slice(index * most, (index + 1) * most);
}

function renderRefusal(refusal: Refusal): string {
  let json = `{"reason":${quote(refusal.reason)}`;
  const members: readonly string[] = EVIDENCE[refusal.reason];
  const values: Readonly<Record<string, unknown>> = { ...refusal };
  for (const member of members) {
    const value = values[member];
    if (value !== undefined) json += `,"${member}":${renderEvidence(value)}`;
  }
  return `${json}}`;
}

function renderEvidence(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (typeof value === "number") return number(value);
  if (Array.isArray(value)) return renderList(value);
  return isRule(value) ? renderRule(value) : "null";
}

function renderList(list: readonly unknown[]): string {
  const shown = list.slice(0, LIST_ITEMS_MAX).map((item) => quote(String(item)));
  if (list.length > LIST_ITEMS_MAX) shown.push(quote(`${CUT_MARK} ${list.length} in all`));
  return `[${shown.join(",")}]`;
}

function renderRule(rule: RuleRef): string {
  const role = rule.role === undefined ? "" : `"role":${quote(rule.role)},`;
  return `{${role}"text":${quote(rule.text)},"file":${quote(rule.file)},"line":${number(rule.line)}}`;
}

function isRule(value: unknown): value is RuleRef {
  return typeof value === "object" && value !== null && "text" in value && "file" in value && "line" in value;
}

function number(value: number): string {
  return Number.isFinite(value) ? String(value) : "null";
}

function quote(value: string, bytesMax: number = STRING_BYTES_MAX): string {
  if (value.length <= bytesMax && PLAIN.test(value)) return `"${value}"`;
  return quoteSlowly(value, bytesMax);
}

function quoteSlowly(value: string, bytesMax: number): string {
  // Cut before it is walked, so that a megabyte of name costs no more than a kilobyte.
  const well = value.slice(0, bytesMax + 1).toWellFormed();
  let escaped = "";
  for (let i = 0; i < well.length; i += 1) {
    const unit = well.charCodeAt(i);
    const isPlain = unit >= 0x20 && unit <= 0x7e && unit !== 0x22 && unit !== 0x5c;
    const next = isPlain ? well.charAt(i) : `\\u${unit.toString(16).padStart(4, "0")}`;
    if (escaped.length + next.length > bytesMax) return `"${wholePairs(escaped)}${CUT_MARK}"`;
    escaped += next;
  }
  return value.length > bytesMax ? `"${wholePairs(escaped)}${CUT_MARK}"` : `"${escaped}"`;
}

/** Drops a high surrogate that the cut parted from its low one. */
function wholePairs(escaped: string): string {
  return escaped.replace(/\\ud[89ab][0-9a-f]{2}$/, "");
}
