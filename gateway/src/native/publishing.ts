import { checkSubject } from "@countersign/seal";
import { setBounded } from "../bounded-map.ts";
import type { HeaderList } from "../nats/connection.ts";
import { parseClientHeaders } from "../nats/native/client-headers.ts";
import type { ClientPublish } from "../nats/native/client-parser.ts";
import type { InboxMap } from "../nats/native/inbox-map.ts";
import type { JetStreamJudge, JetStreamVerdict, OnReply } from "../nats/native/jetstream.ts";
import { judgeNatsHeaders, type PublishHeaders } from "../nats/native/publish-headers.ts";
import { publishViolation, replyViolation } from "../nats/native/server-words.ts";
import { decide } from "../policy/decide.ts";
import type { GrantLine } from "../policy/grant.ts";
import { sealScopeOf } from "../policy/scope.ts";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import type { Holder, NativeShared } from "./context.ts";
import type { Replies } from "./replies.ts";
import type { Outgoing, Sending } from "./sending.ts";

/** What the gateway says to a client in its turn, once it is recorded. */
export type Say =
  | { readonly words: string }
  /** On a reply subject of the client's own; `status`: of an answer without a payload. */
  | { readonly reply: string; readonly payload: Uint8Array; readonly status?: number };

export interface PublishingParts extends Pick<NativeShared, "isDurable" | "withinRate" | "clock"> {
  readonly holder: Holder;
  readonly sending: Sending;
  readonly replies: Replies;
  readonly inbox: () => InboxMap;
  readonly judge: () => JetStreamJudge;
  readonly refuse: (action: string, refusal: Refusal, say: Say) => void;
  /** Answers in place of NATS. */
  readonly answer: (action: string, say: Say | undefined) => void;
  /** Has the first answer on this reply subject of the client's judged before it passes. */
  readonly onReply: (reply: string, judge: OnReply) => void;
}

interface Decided {
  readonly line: GrantLine;
  readonly durable: boolean;
}

/** Subjects whose decision is remembered: most clients publish to a few. */
const DECISIONS_MAX = 1_024;
const NO_HEADERS: PublishHeaders = { headers: [] };
const FOREIGN_REPLY = "a reply subject outside the client's own inbox";

/** What becomes of each message a client publishes: who may send it where, with which headers. */
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

  /** @returns whether it was allowed */
  take(publish: ClientPublish): boolean {
    const { subject, reply } = publish;
    const ownReply = reply === undefined ? undefined : this.#parts.inbox().toServer(reply);
    if (reply !== undefined && (ownReply === undefined || checkSubject(reply, { wildcards: false }))) {
      const refusal = {
        reason: "subject_invalid",
        subject: reply.slice(0, 256),
        why: FOREIGN_REPLY,
      } as const;
      this.#parts.refuse(`publish ${subject.slice(0, 256)}`, refusal, { words: replyViolation(reply) });
      return false;
    }
    const headers = readHeaders(publish.headers);
    if (!headers.ok) return this.#refuse(publish, headers.refusal);
    return subject.startsWith("$JS.") || subject.startsWith("$KV.")
      ? this.#takeJetStream(publish, headers.value, ownReply)
      : this.#takeMessage(publish, headers.value, ownReply);
  }

  #takeMessage(publish: ClientPublish, given: HeaderList, reply: string | undefined): boolean {
    const { subject, payload } = publish;
    const judged = given.length === 0 ? allowed(NO_HEADERS) : judgeNatsHeaders(given, "subject");
    if (!judged.ok) return this.#refuse(publish, judged.refusal);
    const { headers, idempotencyKey: key } = judged.value;
    const owed = this.#parts.replies.take(subject);
    if (owed) {
      const { line, answers, link: to } = owed;
      const seal = answers && { scope: sealScopeOf(line), key, answers };
      return this.#send(publish, { line, durable: false, subject, reply, payload, headers, seal, to });
    }
    const decided = this.#decide(subject, reply !== undefined);
    if (!decided.ok) return this.#refuse(publish, decided.refusal);
    const seal = { scope: sealScopeOf(decided.value.line), key };
    return this.#send(publish, { ...decided.value, subject, reply, payload, headers, seal });
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
    if (!decision.ok) return decision;
    return allowed({ line: decision.value, durable: this.#parts.isDurable(subject) });
  }

  #takeJetStream(publish: ClientPublish, headers: HeaderList, ownReply: string | undefined): boolean {
    const { subject, reply, payload } = publish;
    const asked = { subject, payload, headers, ...(reply !== undefined && { reply }) };
    const verdict = this.#parts.judge().judge(asked);
    if (verdict.do === "forward") return this.#forward(publish, verdict, ownReply);
    if (verdict.do === "answer") {
      this.#parts.answer(verdict.action, reply === undefined ? undefined : { reply, ...verdict });
      return true;
    }
    const isTold = verdict.payload !== undefined && reply !== undefined;
    const say = isTold ? { reply, payload: verdict.payload } : { words: publishViolation(subject) };
    this.#parts.refuse(verdict.action, verdict.refusal, say);
    return false;
  }

  #forward(
    publish: ClientPublish,
    verdict: Extract<JetStreamVerdict, { readonly do: "forward" }>,
    ownReply: string | undefined,
  ): boolean {
    const { subject, payload, headers, line, seal, onReply } = verdict;
    if (publish.reply !== undefined && onReply) this.#parts.onReply(publish.reply, onReply);
    return this.#send(publish, {
      ...{ subject, payload, headers, line, reply: ownReply },
      durable: seal !== undefined && this.#parts.isDurable(subject),
      seal: seal && { scope: seal.scope, key: seal.idempotencyKey },
    });
  }

  /** A rate counts messages; what is asked of JetStream's interface is none. */
  #send(publish: ClientPublish, message: Outgoing): boolean {
    const { holder, withinRate, clock, sending } = this.#parts;
    const rate = message.seal ? withinRate(holder.identity, holder.grant, clock()) : allowed(undefined);
    if (!rate.ok) return this.#refuse(publish, rate.refusal);
    sending.send(message);
    return true;
  }

  #refuse({ subject, reply }: ClientPublish, refusal: Refusal): false {
    const verb = reply === undefined ? "publish" : "request";
    this.#parts.refuse(`${verb} ${subject.slice(0, 256)}`, refusal, { words: publishViolation(subject) });
    return false;
  }
}

const NONE: Outcome<HeaderList> = allowed([]);

/** `Seal-*` and `Txn-*` would contradict the seal. A trace is restarted here, and the client's own left out. */
function readHeaders(block: Buffer | undefined): Outcome<HeaderList> {
  if (!block) return NONE;
  const parsed = parseClientHeaders(block);
  if (!parsed.ok) return parsed;
  const ours = parsed.value.find(([name]) => /^(?:seal-|txn-|countersign-)/i.test(name));
  if (ours)
    return refused({ reason: "header_refused", header: ours[0], why: "the gateway sets this one itself" });
  return allowed(parsed.value.filter(([name]) => !/^trace(?:parent|state)$/i.test(name)));
}
