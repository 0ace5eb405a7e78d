import { hash } from "node:crypto";
import { checkSubject, payloadDigest, type SealDraft, uuidv7 } from "@countersign/seal";
import { identityFacts } from "../admit.ts";
import { setBounded } from "../bounded-map.ts";
import type { HeaderList } from "../nats/connection.ts";
import { type JudgedHeaders, judgeHeaders, parseClientHeaders } from "../nats/native/client-headers.ts";
import type { ClientPublish } from "../nats/native/client-parser.ts";
import type { InboxMap } from "../nats/native/inbox-map.ts";
import type { JetStreamJudge } from "../nats/native/jetstream.ts";
import { publishViolation, replyViolation } from "../nats/native/server-words.ts";
import { formatAction } from "../policy/action.ts";
import { decide } from "../policy/decide.ts";
import type { GrantLine } from "../policy/grant.ts";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import type { Sealed } from "../seal-turn.ts";
import { type EpochSeconds, isoTimeOf } from "../time.ts";
import { traceparentOf } from "../trace.ts";
import type { Holder, NativeShared } from "./context.ts";
import type { Outbox, Step, Writable } from "./outbox.ts";
import type { Replies } from "./replies.ts";
import type { Tallies, Tally } from "./tallies.ts";

export interface PublishingParts extends NativeShared {
  readonly holder: Holder;
  readonly outbox: Outbox;
  readonly tallies: Tallies;
  readonly replies: Replies;
  readonly inbox: () => InboxMap;
  readonly judge: () => JetStreamJudge;
  /** Records the refusal and, in its turn, tells the client in nats-server's words. */
  readonly refuse: (action: string, refusal: Refusal, words: string) => void;
  readonly onReply: (reply: string, rewrite: (payload: Uint8Array) => Uint8Array) => void;
  /** Answers the client on its own reply subject, in our place. */
  readonly answer: (reply: string, payload: Uint8Array) => void;
  /** What must hold for a message to leave does not: no record, no seal key. */
  readonly onFault: (error: unknown) => void;
}

/** One message as it was decided. */
interface Decided {
  readonly line: GrantLine;
  /** Whether its own record must be on disk before it leaves. */
  readonly durable: boolean;
}

interface Outgoing extends Decided {
  readonly subject: string;
  /** As NATS knows it. */
  readonly reply: string | undefined;
  readonly payload: Uint8Array;
  readonly headers: JudgedHeaders;
  readonly isSealed: boolean;
  /** The id of the request it answers, if it does and the request came sealed. */
  readonly answers?: Promise<string | undefined> | undefined;
  readonly to?: Writable;
}

/** Subjects whose decision is remembered: most clients publish to a few. */
const DECISIONS_MAX = 1_024;
const NO_HEADERS: JudgedHeaders = { carried: [], conditions: [], key: undefined };
const UNSEALED: Sealed = { headers: [] };
const UNSEALED_NOW = Promise.resolve(UNSEALED);

/** What becomes of each message a client publishes: decided, recorded, sealed, and sent in its turn. */
export class Publishing {
  readonly #parts: PublishingParts;
  readonly #decisions = new Map<string, Outcome<Decided>>();

  constructor(parts: PublishingParts) {
    this.#parts = parts;
  }

  /** Another policy is in force. */
  forgetDecisions(): void {
    this.#decisions.clear();
  }

  take(publish: ClientPublish): void {
    const { subject, reply } = publish;
    const ownReply = reply === undefined ? undefined : this.#parts.inbox().toServer(reply);
    if (reply !== undefined && (ownReply === undefined || checkSubject(reply, { wildcards: false }))) {
      const action = `publish ${subject.slice(0, 256)}`;
      const why = "a reply subject outside the client's own inbox";
      this.#parts.refuse(
        action,
        { reason: "subject_invalid", subject: reply.slice(0, 256), why },
        replyViolation(reply),
      );
      return;
    }
    const owed = this.#parts.replies.take(subject);
    if (owed) {
      const { line, answers, link: to } = owed;
      const isSealed = answers !== undefined;
      this.#send(publish, ownReply, { line, durable: false, isSealed, answers, to });
    } else if (subject.startsWith("$JS.") || subject.startsWith("$KV.")) {
      this.#takeJetStream(publish, ownReply);
    } else {
      const decided = this.#decide(subject, reply !== undefined);
      if (decided.ok) this.#send(publish, ownReply, { ...decided.value, isSealed: true });
      else this.#refuse(publish, decided.refusal);
    }
  }

  #decide(subject: string, hasReply: boolean): Outcome<Decided> {
    const key = hasReply ? `> ${subject}` : subject;
    const known = this.#decisions.get(key);
    if (known) return known;
    const decided = this.#judgeSubject(subject, hasReply);
    setBounded(this.#decisions, key, decided, DECISIONS_MAX);
    return decided;
  }

  #judgeSubject(subject: string, hasReply: boolean): Outcome<Decided> {
    const why = checkSubject(subject, { wildcards: false });
    if (why !== undefined) return refused({ reason: "subject_invalid", subject: subject.slice(0, 256), why });
    const decision = decide(this.#parts.holder.grant, { verb: hasReply ? "request" : "publish", subject });
    return decision.ok
      ? allowed({ line: decision.value, durable: this.#parts.isDurable(subject) })
      : decision;
  }

  #send(
    { subject, headers: block, payload }: ClientPublish,
    reply: string | undefined,
    how: Pick<Outgoing, "line" | "durable" | "isSealed" | "answers" | "to">,
  ): void {
    const headers = headersOf(block);
    if (!headers.ok) {
      this.#refuse({ subject, reply }, headers.refusal);
      return;
    }
    this.#leave({ subject, reply, payload, headers: headers.value, ...how });
  }

  #takeJetStream(publish: ClientPublish, ownReply: string | undefined): void {
    const { subject, reply, headers: block, payload } = publish;
    const headers = block ? parseClientHeaders(block) : allowed([]);
    if (!headers.ok) {
      this.#refuse(publish, headers.refusal);
      return;
    }
    const asked = { subject, payload, headers: headers.value, ...(reply !== undefined && { reply }) };
    const verdict = this.#parts.judge().judge(asked);
    if (verdict.do === "refuse") {
      this.#parts.refuse(verdict.action, verdict.refusal, publishViolation(subject));
    } else if (verdict.do === "answer") {
      this.#answer(reply, verdict);
    } else {
      if (reply !== undefined && verdict.onReply) this.#parts.onReply(reply, verdict.onReply);
      this.#leave({
        ...{ subject: verdict.subject, reply: ownReply, payload: verdict.payload, line: verdict.line },
        headers: splitHeaders(verdict.headers),
        durable: this.#parts.isDurable(verdict.subject),
        isSealed: verdict.seal,
      });
    }
  }

  #answer(
    reply: string | undefined,
    { payload, action }: { payload: Uint8Array; action: Parameters<typeof formatAction>[0] },
  ): void {
    const { outbox, audit, holder, clock, instance, answer, onFault } = this.#parts;
    const now = clock();
    const step = outbox.reserve();
    step.run = () => {
      if (reply !== undefined) answer(reply, payload);
    };
    const record = audit.record({
      ...{ kind: "decision", at: isoTimeOf(now), instance, ...holder.facts, txn: uuidv7(now * 1000) },
      ...{ action: formatAction(action), outcome: "allowed", ...identityFacts(holder.identity) },
      policy: holder.grant.policy,
    });
    record.then(() => outbox.ready(step), onFault);
  }

  #refuse({ subject, reply }: Pick<ClientPublish, "subject" | "reply">, refusal: Refusal): void {
    const verb = reply === undefined ? "publish" : "request";
    this.#parts.refuse(`${verb} ${subject.slice(0, 256)}`, refusal, publishViolation(subject));
  }

  /** The record, then the seal, then its turn. */
  #leave(message: Outgoing): void {
    const { holder, outbox, tallies, withinRate, clock, onFault } = this.#parts;
    const now = clock();
    const rate = message.isSealed ? withinRate(holder.identity, holder.grant, now) : allowed(undefined);
    if (!rate.ok) {
      this.#refuse(message, rate.refusal);
      return;
    }
    const step = outbox.reserve(message.payload);
    step.to = message.to;
    if (message.durable) {
      void this.#leaveDurably(step, message, now).catch(onFault);
      return;
    }
    const tally = tallies.take(message.line, message.payload.length);
    const sealed = this.#sealed(message, tally.txn, now);
    const { opening } = tally;
    sealed.catch(nothing);
    (opening ? opening.then(() => sealed) : sealed).then(
      (seal) => this.#ready(step, message, seal, tally),
      onFault,
    );
  }

  /** A record of its own, on disk before it leaves. */
  async #leaveDurably(step: Step, message: Outgoing, now: EpochSeconds): Promise<void> {
    const { audit, holder, instance, tallies } = this.#parts;
    const { subject, payload, line } = message;
    const txn = uuidv7(now * 1000);
    const draft = this.#draftOf(message, txn, now);
    const facts = { id: draft.id, subject, bytes: payload.length, digest: payloadDigest(payload) };
    const action = `${message.reply === undefined ? "publish" : "request"} ${subject}`;
    await audit.record(
      {
        ...{ kind: "decision", at: isoTimeOf(now), instance, ...holder.facts, txn, action },
        ...{ outcome: "allowed", ...identityFacts(holder.identity), rule: line.rule },
        ...{ policy: holder.grant.policy, message: facts },
      },
      true,
    );
    const seal = await (message.isSealed ? this.#parts.seal(draft) : UNSEALED);
    step.run = () => tallies.confirm({ txn, root: seal.root });
    this.#ready(step, message, seal, { txn });
  }

  #sealed(message: Outgoing, txn: string, now: EpochSeconds): Promise<Sealed> {
    const { seal } = this.#parts;
    const { isSealed, answers } = message;
    if (!isSealed) return UNSEALED_NOW;
    const draft = this.#draftOf(message, txn, now);
    if (!answers) return seal(draft);
    // A request whose seal does not hold is answered as one that has none.
    return answers.then((id) => (id === undefined ? UNSEALED : seal({ ...draft, repliesTo: id })));
  }

  #ready(
    step: Step,
    message: Outgoing,
    seal: Sealed,
    { txn, roots }: Pick<Tally, "txn"> & Partial<Pick<Tally, "roots">>,
  ): void {
    if (seal.root !== undefined) roots?.add(seal.root);
    const { carried, conditions } = message.headers;
    const headers = [...carried, ...conditions, ...seal.headers];
    if (seal !== UNSEALED)
      headers.push(["traceparent", traceparentOf(txn, uuidv7(this.#parts.clock() * 1000))]);
    step.head = headOf(message, headers);
    this.#parts.outbox.ready(step);
  }

  #draftOf({ subject, payload, line, headers }: Outgoing, txn: string, now: EpochSeconds): SealDraft {
    const { names, holder } = this.#parts;
    const { identity, facts } = holder;
    return {
      ...names,
      txn,
      user: identity.user,
      scope: `${line.verb}:${line.pattern}`,
      subject,
      digest: payloadDigest(payload),
      id: headers.key === undefined ? uuidv7(now * 1000) : idOfKey(identity.user, subject, headers.key),
      headers: headers.carried,
      requestId: facts.requestId,
      ...(identity.actor && { actor: identity.actor.user }),
      ...(identity.acr !== undefined && { acr: identity.acr }),
      ...(identity.proof.kind === "session" && { sessionHash: identity.proof.hash }),
    };
  }
}

function headersOf(block: Buffer | undefined): Outcome<JudgedHeaders> {
  if (!block) return allowed(NO_HEADERS);
  const parsed = parseClientHeaders(block);
  return parsed.ok ? judgeHeaders(parsed.value) : parsed;
}

/** Headers that were judged already: what a seal covers, and what nats-server reads. */
function splitHeaders(headers: HeaderList): JudgedHeaders {
  const isCarried = ([name]: HeaderList[number]): boolean => !/^nats-/i.test(name);
  return {
    carried: headers.filter(isCarried),
    conditions: headers.filter((header) => !isCarried(header)),
    key: undefined,
  };
}

function headOf({ subject, reply, payload }: Outgoing, headers: HeaderList): string {
  const target = reply === undefined ? subject : `${subject} ${reply}`;
  if (headers.length === 0) return `PUB ${target} ${payload.length}\r\n`;
  let block = "NATS/1.0\r\n";
  for (const [name, value] of headers) block += `${name}: ${value}\r\n`;
  block += "\r\n";
  return `HPUB ${target} ${block.length} ${block.length + payload.length}\r\n${block}`;
}

/** The same message by the same user under the same name has the same id, and nobody else's has it. */
function idOfKey(user: string, subject: string, key: string): string {
  return hash("sha256", JSON.stringify(["nats-msg-id", user, subject, key]), "base64url");
}

function nothing(): void {}
