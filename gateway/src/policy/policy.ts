import type { Identity } from "../identity/identity.ts";
import type { RuleRef } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { Action } from "./action.ts";
import type { PolicyLine } from "./line.ts";

/** One file of a policy. `path` is what mistakes and rules are reported under. */
export interface PolicyFile {
  readonly path: string;
  readonly text: string;
}

/** Which identities may do which actions, by role. */
export interface Policy {
  /** SHA-256, lower-case hex; see `versionOf`. */
  readonly version: string;
  readonly subjects: readonly SubjectRule[];
  /** In the order of the files and within them. */
  readonly roles: readonly Role[];
  /** Wins over every role. */
  readonly never: readonly PolicyLine[];
  readonly identities: readonly NamedIdentity[];
  readonly tests: readonly PolicyTest[];
}

/** What is true of a subject, whoever uses it. */
export interface SubjectRule {
  readonly pattern: string;
  readonly seal?: "tree" | "token";
  readonly audit?: "durable";
  readonly rule: RuleRef;
}

export interface Role {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  /** Alternatives. */
  readonly givenTo: readonly Given[];
  /** Roles of the users it may act for; a role with some is given only to one who acts for a user. */
  readonly actsFor: readonly string[];
  readonly may: readonly PolicyLine[];
  readonly never: readonly PolicyLine[];
  readonly limits: RoleLimits;
}

/** One line of `given-to`: all of it must hold. */
export interface Given {
  readonly issuer: string;
  /** The id as the issuer writes it; of a user, never of a service. */
  readonly user?: string;
  /** The application a user signed in through. */
  readonly client?: string;
  /** The client id of a token without a user (for issuers without client ids: its id). */
  readonly service?: string;
  readonly acr?: string;
  /** The line holds before this moment. */
  readonly until?: EpochSeconds;
  /** `groups` and any other attribute, with values that must all be among the identity's. */
  readonly attributes: readonly { readonly name: string; readonly values: readonly string[] }[];
  readonly rule: RuleRef;
}

export interface RoleLimits {
  readonly credentialSeconds?: number;
  readonly payloadBytes?: number;
  readonly ratePerSecond?: number;
  readonly connections?: number;
}

/** A name for tests and for `--as`. */
export interface NamedIdentity {
  readonly name: string;
  readonly identity: Omit<Identity, "proof" | "provedAt" | "expiresAt">;
  readonly file: string;
  readonly line: number;
}

export interface PolicyTest {
  /** A name of `identities`. */
  readonly as: string;
  readonly allowed: readonly TestedAction[];
  readonly refused: readonly TestedAction[];
  readonly file: string;
  readonly line: number;
}

export interface TestedAction {
  readonly action: Action;
  readonly line: number;
  readonly column: number;
}

/** Something wrong in a policy: what was found and what would be right. */
export interface Mistake {
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** 1-based. */
  readonly column: number;
  readonly message: string;
}

/** `file:line:column: message`, the form that editors and terminals make a link of. */
export function formatMistake(mistake: Mistake): string {
  return `${mistake.file}:${mistake.line}:${mistake.column}: ${mistake.message}`;
}
