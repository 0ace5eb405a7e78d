import { createHash } from "node:crypto";
import { basename } from "node:path";
import { didYouMean } from "../near.ts";
import { findingsOf } from "./findings.ts";
import { LIMITS } from "./limits.ts";
import { clip, type PolicyLine } from "./line.ts";
import { readIdentities } from "./parse-identities.ts";
import { readLines } from "./parse-lines.ts";
import { readRoles } from "./parse-roles.ts";
import { readSubjects } from "./parse-subjects.ts";
import { readTests } from "./parse-tests.ts";
import type { Mistake, NamedIdentity, Policy, PolicyFile, PolicyTest, Role, SubjectRule } from "./policy.ts";
import { type Entry, Source } from "./source.ts";

export type PolicyOutcome =
  | { readonly ok: true; readonly policy: Policy; readonly warnings: readonly Mistake[] }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] };

/** What the files of one policy add up to while they are read. */
export interface Draft {
  readonly subjects: SubjectRule[];
  readonly roles: Role[];
  readonly never: PolicyLine[];
  readonly identities: NamedIdentity[];
  readonly tests: PolicyTest[];
}

const SECTIONS = ["version", "subjects", "roles", "never", "identities", "tests"] as const;

/**
 * Reads a policy of one or several files, which add up: a role, an identity or a subject stands in one of them.
 *
 * @param files  1–100, each at most 1 MiB, with names that differ
 * @returns the policy and its warnings, or every mistake (the first 100) in the order of the files, each with
 *          its place, what was found and what would be right
 */
export function parsePolicy(files: readonly PolicyFile[]): PolicyOutcome {
  const mistakes: Mistake[] = [];
  const draft: Draft = { subjects: [], roles: [], never: [], identities: [], tests: [] };
  const ordered = inOrder(files);
  const unreadable = excessOf(ordered);
  if (unreadable) return { ok: false, mistakes: [unreadable] };
  const sources = ordered.map((file) => new Source(file, mistakes));
  for (const source of sources) readFile(source, draft);
  checkNames(draft, mistakes);
  const identities = withActors(draft.identities, mistakes);
  if (mistakes.length > 0) return { ok: false, mistakes: firstOf(mistakes) };
  const policy: Policy = { version: versionOf(files), ...draft, identities };
  const findings = findingsOf(policy);
  if (findings.mistakes.length > 0) return { ok: false, mistakes: firstOf(findings.mistakes) };
  return { ok: true, policy, warnings: firstOf(findings.warnings) };
}

/**
 * Names a policy by its bytes: of one file its SHA-256, as `sha256sum policy.yaml` prints it; of several the
 * SHA-256 of the lines `<sha256>  <name>`, sorted by name, as `sha256sum *.yaml | sha256sum` prints it under
 * LC_ALL=C. Where the files lie does not count.
 *
 * @returns 64 lower-case hex digits
 */
export function versionOf(files: readonly PolicyFile[]): string {
  const ordered = inOrder(files);
  const [only] = ordered;
  if (only && ordered.length === 1) return sha256(only.text);
  return sha256(ordered.map((file) => `${sha256(file.text)}  ${basename(file.path)}\n`).join(""));
}

/** Issuers that a policy names and the configuration lacks: nothing can ever be given through them. */
export function checkIssuers(policy: Policy, issuerNames: Iterable<string>): Mistake[] {
  const known = new Set(issuerNames);
  return policy.roles.flatMap((role) =>
    role.givenTo
      .filter((given) => !known.has(given.issuer))
      .map(({ issuer, rule }) => ({
        file: rule.file,
        line: rule.line,
        column: 1,
        message: `role "${role.name}" is given through the issuer "${issuer}"${didYouMean(issuer, known)}, which the configuration does not have: nobody gets it`,
      })),
  );
}

function readFile(source: Source, draft: Draft): void {
  const root = source.root();
  if (root === null) {
    source.missing('is empty; a policy begins with "version: 1"');
    return;
  }
  const entries = source.entries(root, root, "the policy");
  if (!entries.some((entry) => entry.key === "version")) {
    source.mistake(root, `lacks "version: 1"`);
  }
  for (const entry of entries) readSection(source, entry, draft);
}

function readSection(source: Source, entry: Entry, draft: Draft): void {
  const { key, value, place } = entry;
  switch (key) {
    case "version":
      if (source.textOf(value ?? place) !== "1")
        source.mistake(value ?? place, `version is not 1, the only one there is`);
      return;
    case "subjects":
      draft.subjects.push(...readSubjects(source, entry));
      return;
    case "roles":
      draft.roles.push(...readRoles(source, entry));
      return;
    case "never":
      draft.never.push(...readLines(source, value, place, "never"));
      return;
    case "identities":
      draft.identities.push(...readIdentities(source, entry));
      return;
    case "tests":
      draft.tests.push(...readTests(source, entry));
      return;
    default:
      source.unknownKey(entry, "a policy", SECTIONS);
  }
}

function checkNames(draft: Draft, mistakes: Mistake[]): void {
  const roles = new Map(draft.roles.map((role) => [role.name, role]));
  const identities = new Set(draft.identities.map(({ name }) => name));
  repeated(draft.roles, (role) => `role "${role.name}"`, mistakes);
  repeated(draft.identities, (identity) => `identity "${identity.name}"`, mistakes);
  repeated(
    draft.subjects.map(({ pattern, rule }) => ({ pattern, ...rule })),
    ({ pattern }) => `subject "${pattern}"`,
    mistakes,
  );
  for (const { name, actsFor, file, line } of draft.roles) {
    for (const other of actsFor) {
      if (!roles.has(other)) {
        mistakes.push({
          file,
          line,
          column: 1,
          message: `role "${name}" acts for the role "${clip(other)}"${didYouMean(other, roles.keys())}, which is not there`,
        });
      }
    }
  }
  for (const { as, file, line } of draft.tests) {
    if (!identities.has(as)) {
      mistakes.push({
        file,
        line,
        column: 1,
        message: `a test is run as "${clip(as)}"${didYouMean(as, identities)}, which is not among the identities`,
      });
    }
  }
}

/** Identities name their actor as another identity; what counts is its user. */
function withActors(identities: readonly NamedIdentity[], mistakes: Mistake[]): NamedIdentity[] {
  const byName = new Map(identities.map((named) => [named.name, named.identity]));
  return identities.map((named) => {
    const { actor } = named.identity;
    if (!actor) return named;
    const found = byName.get(actor.user);
    if (!found) {
      const { file, line } = named;
      const message = `identity "${named.name}" has the actor "${clip(actor.user)}"${didYouMean(actor.user, byName.keys())}, which is not among the identities`;
      mistakes.push({ file, line, column: 1, message });
      return named;
    }
    return { ...named, identity: { ...named.identity, actor: { user: found.user } } };
  });
}

function repeated<T extends { readonly file: string; readonly line: number }>(
  things: readonly T[],
  nameOf: (thing: T) => string,
  mistakes: Mistake[],
): void {
  const first = new Map<string, T>();
  for (const thing of things) {
    const name = nameOf(thing);
    const earlier = first.get(name);
    if (!earlier) {
      first.set(name, thing);
    } else if (earlier.file !== thing.file) {
      // Within one file the map itself refuses it.
      const message = `${name} stands already at ${earlier.file}:${earlier.line}; put both together`;
      mistakes.push({ file: thing.file, line: thing.line, column: 1, message });
    }
  }
}

function excessOf(files: readonly PolicyFile[]): Mistake | undefined {
  const [first] = files;
  if (!first) return { file: "policy", line: 1, column: 1, message: "has no files" };
  const at = (file: PolicyFile, message: string): Mistake => ({
    file: file.path,
    line: 1,
    column: 1,
    message,
  });
  if (files.length > LIMITS.filesMax)
    return at(first, `is one of ${files.length} files; a policy has at most ${LIMITS.filesMax}`);
  const names = new Set(files.map((file) => basename(file.path)));
  if (names.size < files.length) return at(first, "has the name of another file of the policy");
  const large = files.find((file) => Buffer.byteLength(file.text) > LIMITS.fileBytesMax);
  return large && at(large, `is larger than ${LIMITS.fileBytesMax} bytes; divide it into several files`);
}

function firstOf(mistakes: readonly Mistake[]): readonly Mistake[] {
  const last = mistakes[LIMITS.mistakesMax];
  if (!last) return mistakes;
  const more = mistakes.length - LIMITS.mistakesMax;
  return [...mistakes.slice(0, LIMITS.mistakesMax), { ...last, message: `and ${more} more` }];
}

function inOrder(files: readonly PolicyFile[]): readonly PolicyFile[] {
  const bytes = (file: PolicyFile): Buffer => Buffer.from(basename(file.path));
  return [...files].sort((a, b) => Buffer.compare(bytes(a), bytes(b)));
}

function sha256(text: string): string {
  return createHash("sha256").update(text, "utf8").digest("hex");
}
