/** Longest subject, in bytes. Far below nats-server's control line, which ends the connection when exceeded. */
export const SUBJECT_BYTES_MAX = 256;
/** Most tokens in a subject. */
export const SUBJECT_TOKENS_MAX = 16;

const STAR = "*";
const TAIL = ">";

/**
 * Checks a subject before anything else touches it: 1–256 bytes, 1–16 tokens between dots, none of them empty,
 * every character printable ASCII (0x21–0x7E). nats-server would take other Unicode too; we do not, until
 * somebody needs it, because look-alikes (U+FF0E for the dot) and normal forms would then be two subjects that
 * read as one. Values outside ASCII enter through `escapeToken`.
 *
 * @param options.wildcards  whether `*` may stand as a token and `>` as the last one; otherwise neither
 *                           character may stand anywhere
 * @returns why not, in words that may be shown to the caller; undefined when it is well-formed
 */
export function checkSubject(subject: string, options: { readonly wildcards: boolean }): string | undefined {
  if (subject.length === 0) return "is empty";
  // Every character below is one byte, so that the length in UTF-16 units is the length in bytes.
  if (subject.length > SUBJECT_BYTES_MAX) return `is longer than ${SUBJECT_BYTES_MAX} bytes`;
  if (!/^[\x21-\x7e]+$/.test(subject)) return "has a character outside printable ASCII, or a space";
  const tokens = subject.split(".");
  if (tokens.length > SUBJECT_TOKENS_MAX) return `has more than ${SUBJECT_TOKENS_MAX} tokens`;
  return firstFault(tokens, options.wildcards);
}

function firstFault(tokens: readonly string[], wildcards: boolean): string | undefined {
  for (const [position, token] of tokens.entries()) {
    if (token === "") return "has an empty token";
    if (!/[*>]/.test(token)) continue;
    if (!wildcards) return "has a wildcard";
    if (token.length > 1) return "has a wildcard inside a token";
    if (token === TAIL && position < tokens.length - 1) return "has a > before the end";
  }
  return undefined;
}

/**
 * Whether a subject belongs to NATS itself, so that only verbs of ours that need it may reach it: the first token
 * begins with `$` (`$SYS`, `$JS`, `$KV`), is or begins with `_INBOX`, or is nats-server's own `_R_` or `_GR_`
 * (replies of service imports and gateways). A pattern that opens with a wildcard reaches all of these.
 *
 * @param subject  well-formed by `checkSubject`
 */
export function isReservedSubject(subject: string): boolean {
  return /^(?:\$|_INBOX|_R_(?:\.|$)|_GR_(?:\.|$)|[*>](?:\.|$))/.test(subject);
}

/**
 * Whether a literal subject lies within a pattern: `*` stands for one token, a final `>` for one or more. Linear
 * in the length of both, without backtracking or allocation.
 *
 * @param pattern  well-formed by `checkSubject` with wildcards
 * @param subject  well-formed by `checkSubject` without
 */
export function subjectMatches(pattern: string, subject: string): boolean {
  let p = 0;
  let s = 0;
  while (p < pattern.length && s < subject.length) {
    const pEnd = tokenEnd(pattern, p);
    const sEnd = tokenEnd(subject, s);
    if (pEnd - p === 1 && pattern[p] === TAIL && pEnd === pattern.length) return true;
    const any = pEnd - p === 1 && pattern[p] === STAR;
    if (!any && !sameToken(pattern, p, pEnd, subject, s, sEnd)) return false;
    p = pEnd + 1;
    s = sEnd + 1;
  }
  return p > pattern.length && s > subject.length;
}

function tokenEnd(text: string, from: number): number {
  const dot = text.indexOf(".", from);
  return dot < 0 ? text.length : dot;
}

function sameToken(a: string, aFrom: number, aEnd: number, b: string, bFrom: number, bEnd: number): boolean {
  if (aEnd - aFrom !== bEnd - bFrom) return false;
  for (let offset = 0; offset < aEnd - aFrom; offset++) {
    if (a.charCodeAt(aFrom + offset) !== b.charCodeAt(bFrom + offset)) return false;
  }
  return true;
}
