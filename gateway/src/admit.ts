import type { AuditLog, AuditRecord, ConnectionFacts, MessageFacts } from "./audit/record.ts";
import { messageOf } from "./errors.ts";
import type { Identify } from "./identity/identify.ts";
import type { Identity, Presented } from "./identity/identity.ts";
import { type Action, formatAction } from "./policy/action.ts";
import { decide } from "./policy/decide.ts";
import type { Grant, GrantLine } from "./policy/grant.ts";
import { allowed, type Outcome, type Refusal, refused } from "./refusal.ts";
import { type Clock, type EpochSeconds, isoTimeOf } from "./time.ts";

/** What one entrance read from one request, before anything is believed. */
export interface Ask {
  /** Refused when not even well-formed: that too is a decision, and recorded. */
  readonly presented: Outcome<Presented>;
  /** Refused when its subject is not well-formed. A Question has no effect on NATS and needs only an Identity. */
  readonly action: Outcome<Action> | ActionUnder | Question;
  /** What the action is done to, where the policy does not decide by it: the record names it before the effect. */
  readonly object?: string;
  /** For a message, so that the record names it before it leaves. */
  readonly message?: MessageFacts;
  /** The message's id, where it depends on who sends it. */
  readonly messageIdOf?: (identity: Identity) => string;
  /** What else this entrance holds against a Grant that allows the action. */
  readonly unless?: (grant: Grant) => Refusal | undefined;
  readonly facts: RequestFacts;
}

/** An action that only who asks, and under which Grant, makes definite: the filter of a consumer of one's own. */
export interface ActionUnder {
  /** In words, for the record of somebody who is nobody: `read-stream ORDERS consumers [billing]`. */
  readonly asked: string;
  readonly under: (identity: Identity, grant: Grant) => Outcome<Action>;
}

/** What somebody asks about themselves, as it is recorded: `whoami`, `explain publish orders.eu.1.create`. */
export interface Question {
  readonly question: string;
}

/** What joins the records of one request with the logs in front of us and the messages behind us. */
export interface RequestFacts {
  /** UUIDv7, one per user action: the seal's `txn`. */
  readonly txn: string;
  readonly requestId: string;
  readonly clientRequestId?: string;
  readonly clientTraceparent?: string;
  readonly lane: AuditRecord["lane"];
  /** The caller's address: as the socket says, or what stands in front. */
  readonly remote?: string;
  /** Address of what stands in front, where `remote` is its word; `socket` for one of this machine. */
  readonly hop?: string;
  readonly connection?: ConnectionFacts;
}

/** The one way in: an Identity, its Grant, and the rule that allows the Action. */
export interface Admission {
  readonly identity: Identity;
  readonly grant: Grant;
  /** The line that allows it; absent for a Question, which needs none. */
  readonly line?: GrantLine;
  /** What it allows; absent for a Question. */
  readonly action?: Action;
  readonly facts: RequestFacts;
  readonly at: EpochSeconds;
}

export type Admit = (ask: Ask) => Promise<Outcome<Admission>>;

/**
 * Identity, then decision, then record; the effect comes after and elsewhere. Whatever fails on the way is a
 * refusal: an identity provider that is down, a record that cannot be written.
 */
export function createAdmit({
  identify,
  grantOf,
  withinRate,
  isDurable,
  audit,
  clock,
  instance,
}: {
  readonly identify: Identify;
  /** Cached per identity and policy version; throws when the grant is too large to compile. */
  readonly grantOf: (identity: Identity, now: EpochSeconds) => Grant;
  readonly withinRate: (identity: Identity, grant: Grant, now: EpochSeconds) => Outcome<void>;
  /** Whether the policy wants the record of this subject on disk before the answer. */
  readonly isDurable: (subject: string) => boolean;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly instance: string;
}): Admit {
  function judge(ask: Ask, identity: Identity, now: EpochSeconds): Verdict {
    let grant: Grant;
    try {
      grant = grantOf(identity, now);
    } catch (error) {
      return { identity, outcome: unavailable("grant", error) };
    }
    const action = "under" in ask.action ? ask.action.under(identity, grant) : ask.action;
    const outcome = "question" in action ? allowed(undefined) : judgeAction(ask, action, grant);
    // A refused action takes nothing from the rate, so that a mistyped subject does not use up the right ones.
    const rate = outcome.ok && ask.message ? withinRate(identity, grant, now) : allowed(undefined);
    return { identity, grant, action, outcome: rate.ok ? outcome : rate };
  }

  return async function admit(ask) {
    const now = clock();
    let verdict: Verdict;
    try {
      // `identify` answers at once for a proof it has verified before; awaiting that would cost a turn of the queue.
      const answer = ask.presented.ok ? identify(ask.presented.value, now) : ask.presented;
      const identity = answer instanceof Promise ? await answer : answer;
      verdict = identity.ok ? judge(ask, identity.value, now) : { outcome: identity };
    } catch (error) {
      verdict = { outcome: unavailable("identity", error) };
    }
    try {
      const durable = ask.message !== undefined && isDurable(ask.message.subject);
      await audit.record(recordOf(ask, verdict, now, instance), durable);
    } catch (error) {
      return refused({ reason: "record_unwritable", why: messageOf(error) });
    }
    const { identity, grant, outcome, action = ask.action } = verdict;
    if (!outcome.ok) return outcome;
    if (!identity || !grant) return refused({ reason: "proof_missing" });
    const line = outcome.value;
    const allowedAction = "ok" in action && action.ok ? { action: action.value } : {};
    return allowed({ identity, grant, facts: ask.facts, at: now, ...(line && { line }), ...allowedAction });
  };
}

/**
 * Records what was refused before anything could be asked of it: who it was is not known, and not looked at.
 *
 * @returns `record_unwritable` when it could not be written
 */
export function createRecordRefused({
  audit,
  clock,
  instance,
}: {
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly instance: string;
}): (facts: RequestFacts, action: string, refusal: Refusal) => Promise<Outcome<void>> {
  return async function recordRefused(facts, action, refusal) {
    const at = isoTimeOf(clock());
    try {
      await audit.record({ kind: "decision", at, instance, ...facts, action, outcome: "refused", refusal });
    } catch (error) {
      return refused({ reason: "record_unwritable", why: messageOf(error) });
    }
    return allowed(undefined);
  };
}

interface Verdict {
  readonly identity?: Identity;
  readonly grant?: Grant;
  /** Absent while nobody is known who could have asked. */
  readonly action?: Outcome<Action> | Question;
  readonly outcome: Outcome<GrantLine | undefined>;
}

function unavailable(check: string, error: unknown): ReturnType<typeof refused> {
  return refused({ reason: "check_unavailable", check, why: messageOf(error) });
}

function judgeAction(ask: Ask, action: Outcome<Action>, grant: Grant): Outcome<GrantLine> {
  if (!action.ok) return action;
  const decision = decide(grant, action.value);
  const bytes = ask.message?.bytes ?? 0;
  const bytesMax = grant.limits.payloadBytes;
  if (!decision.ok) return decision;
  if (bytes > bytesMax) return refused({ reason: "payload_too_large", bytes, bytesMax });
  const objection = ask.unless?.(grant);
  return objection ? refused(objection) : decision;
}

function recordOf(ask: Ask, verdict: Verdict, now: EpochSeconds, instance: string): AuditRecord {
  const { identity, grant, outcome } = verdict;
  return {
    kind: "decision",
    at: isoTimeOf(now),
    instance,
    ...ask.facts,
    action: actionText(verdict.action ?? ask.action, ask.object),
    outcome: outcome.ok ? "allowed" : "refused",
    ...(identity && identityFacts(identity)),
    ...(outcome.ok ? outcome.value && { rule: outcome.value.rule } : { refusal: outcome.refusal }),
    ...(grant && { policy: grant.policy }),
    ...(ask.message && { message: namedBy(ask, ask.message, identity) }),
  };
}

function namedBy({ messageIdOf }: Ask, message: MessageFacts, identity: Identity | undefined): MessageFacts {
  return messageIdOf && identity ? { ...message, id: messageIdOf(identity) } : message;
}

/** The part of an Identity that a record keeps. */
export function identityFacts(
  identity: Omit<Identity, "proof" | "expiresAt"> & Partial<Pick<Identity, "proof">>,
): Pick<AuditRecord, "user" | "issuer" | "name" | "actor" | "proof" | "acr"> {
  return {
    user: identity.user,
    issuer: identity.issuer,
    ...(identity.proof && { proof: identity.proof }),
    ...(identity.name !== undefined && { name: identity.name }),
    ...(identity.actor && { actor: identity.actor.user }),
    ...(identity.acr !== undefined && { acr: identity.acr }),
  };
}

function actionText(action: Ask["action"], object: string | undefined): string {
  if ("question" in action) return action.question;
  if ("under" in action) return action.asked;
  if (!action.ok) return describe(action.refusal);
  return object === undefined ? formatAction(action.value) : `${formatAction(action.value)} ${object}`;
}

/** An action that could not be parsed is recorded as what was found, cut to a bounded length. */
function describe(refusal: Refusal): string {
  return refusal.reason === "subject_invalid" ? `(invalid) ${refusal.subject.slice(0, 256)}` : "(invalid)";
}
