import { checkSubject, uuidv7 } from "@countersign/seal";
import { identityFacts } from "../admit.ts";
import type { Asked } from "../nats/native/asked.ts";
import type { ClientOutput } from "../nats/native/client-output.ts";
import type { ClientParser, ClientPublish } from "../nats/native/client-parser.ts";
import type { ClientWire } from "../nats/native/client-wire.ts";
import type { ConnectOptions } from "../nats/native/connect-options.ts";
import type { InboxMap } from "../nats/native/inbox-map.ts";
import { clientPayloadBytesMax, infoLine, type ServerInfo } from "../nats/native/info.ts";
import type { JetStreamJudge } from "../nats/native/jetstream.ts";
import type { NativeLink } from "../nats/native/link.ts";
import { errLine, subscriptionViolation } from "../nats/native/server-words.ts";
import { type DialNativeLink, Splice } from "../nats/native/splice.ts";
import type { Subscriptions } from "../nats/native/subscriptions.ts";
import { deniedOf } from "../nats/server-error.ts";
import { formatAction } from "../policy/action.ts";
import { decide } from "../policy/decide.ts";
import type { Grant, GrantLine } from "../policy/grant.ts";
import { needsInbox } from "../policy/permissions.ts";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import { type EpochSeconds, isoTimeOf } from "../time.ts";
import type { Holder, NativeShared } from "./context.ts";
import { Outbox } from "./outbox.ts";
import { Publishing, type Say } from "./publishing.ts";
import { Replies } from "./replies.ts";
import { Sending } from "./sending.ts";
import { Tallies } from "./tallies.ts";

export interface SessionParts {
  readonly shared: NativeShared;
  readonly holder: Holder;
  readonly options: ConnectOptions;
  readonly first: NativeLink;
  readonly dialLink: DialNativeLink;
  readonly nextExpiry: () => Outcome<EpochSeconds>;
  readonly wire: ClientWire;
  readonly output: ClientOutput;
  readonly parser: ClientParser;
  /** It cannot go on. */
  readonly onOver: (why: "unavailable" | "slow_reader" | "closed") => void;
}

/** Subscriptions of one connection: far above honest use, far below what a server minds. */
const SUBSCRIPTIONS_MAX = 1_000;
/** Refusals in one second, each of them recorded, before a client that does not listen is cut off. */
const REFUSALS_PER_SECOND_MAX = 1_000;
/** Left unread by the client, or written and not taken by NATS: beyond, the other side is not read. */
const UNSENT_BYTES_MAX = 1024 * 1024;
/** How long what was taken may take to leave after the end. */
const FINISH_WITHIN_MS = 5_000;

/** One client that is connected: what it asks for is decided here, and done in its turn. */
export class Session {
  readonly #parts: SessionParts;
  readonly #splice: Splice;
  readonly #outbox: Outbox;
  readonly #tallies: Tallies;
  readonly #replies: Replies;
  readonly #publishing: Publishing;
  #judge: JetStreamJudge;
  #holds = 0;
  #arriving = 0;
  #refusals = { second: 0, count: 0 };
  #over = false;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    const { shared, holder, first, output } = parts;
    this.#outbox = new Outbox({ live: () => this.#splice.live, onRoom: () => this.#steer() });
    this.#replies = new Replies(holder, shared);
    this.#tallies = new Tallies({ ...shared, holder, whenReceived: (then) => this.#whenReceived(then) });
    this.#splice = new Splice(first, {
      ...parts,
      clock: shared.clock,
      isCongested: () => parts.wire.unsentBytes > UNSENT_BYTES_MAX,
      onRequest: (link, asked, head, bytes) => this.#replies.remember(link, asked, head, bytes),
      owes: (link) => this.#replies.owes(link),
      onInfo: (info) => this.#takeInfo(info),
      onError: (text, link) => this.#takeError(text, link),
      hold: () => this.#hold(1),
      release: () => this.#hold(-1),
      onDrain: () => this.#steer(),
      onLost: () => parts.onOver("unavailable"),
    });
    this.#judge = this.#createJudge();
    const onFault = (): void => parts.onOver("unavailable");
    this.#publishing = new Publishing({
      ...{ ...shared, holder, replies: this.#replies },
      sending: new Sending({ ...shared, holder, outbox: this.#outbox, tallies: this.#tallies, onFault }),
      inbox: () => this.#splice.live.inbox,
      judge: () => this.#judge,
      refuse: (action, refusal, say) => this.#refuse(action, refusal, say),
      answer: (action, say) => this.#say(say, this.#record(action, allowed(undefined))),
      onReply: (reply, judge) => this.#subscriptions.awaitAnswer(reply, judge),
    });
    this.#takeInfo(first.info);
    if (parts.options.verbose) output.write(OK);
  }

  get delivered(): number {
    return this.#subscriptions.delivered;
  }

  get #subscriptions(): Subscriptions {
    return this.#splice.subscriptions;
  }

  publish(publish: ClientPublish): void {
    const isAllowed = this.#publishing.take(publish);
    if (isAllowed && this.#parts.options.verbose) this.#inTurn(() => this.#parts.output.write(OK));
    this.#steer();
  }

  subscribe(subject: string, queue: string | undefined, sid: string): void {
    const asked: Asked = { sid, subject, ...(queue !== undefined && { queue }) };
    const decision = this.#judgeSubscription(asked);
    const action = formatAction({ verb: "subscribe", subject, ...(queue !== undefined && { queue }) }).slice(
      0,
      512,
    );
    if (!decision.ok) {
      const isFull = decision.refusal.reason === "capacity_exceeded";
      const words = isFull ? errLine("maximum subscriptions exceeded") : subscriptionViolation(asked);
      this.#refuse(action, decision.refusal, { words });
      this.#steer();
      return;
    }
    this.#arriving += 1;
    const { grant } = this.#parts.holder;
    const step = this.#outbox.reserve();
    step.run = () => {
      this.#arriving -= 1;
      // Another policy may have come in force while it was being recorded.
      if (grant === this.#parts.holder.grant || this.#judgeSubject(asked).ok) this.#begin(asked);
      else this.#parts.output.write(subscriptionViolation(asked));
    };
    this.#record(action, decision).then(
      () => this.#outbox.ready(step),
      () => this.#parts.onOver("unavailable"),
    );
    this.#steer();
  }

  #begin(asked: Asked): void {
    if (!this.#subscriptions.isTaken(asked.sid)) {
      this.#subscriptions.add(asked, this.#replies.lineOf(asked) !== undefined);
      if (asked.subject.startsWith("_INBOX.")) this.#judge.listens(asked.subject);
    }
    if (this.#parts.options.verbose) this.#parts.output.write(OK);
  }

  unsubscribe(sid: string, max: number | undefined): void {
    this.#inTurn(() => {
      this.#subscriptions.leave(sid, max);
      if (this.#parts.options.verbose) this.#parts.output.write(OK);
    });
    this.#steer();
  }

  /** Passed on, so that its PONG says that NATS has processed everything before it. */
  ping(): void {
    this.#inTurn(() => {
      const forget = this.#subscriptions.forgetLeft();
      this.#splice.live.pingThen((pong) => {
        forget();
        if (pong) this.#parts.output.write(PONG);
      });
    });
    this.#steer();
  }

  /** The client reads again. */
  drained(): void {
    this.#splice.resume();
    this.#steer();
  }

  /** Another policy is in force: what is no longer granted ends, the rest goes on under the new grant. */
  regrant(grant: Grant): void {
    const { holder, output } = this.#parts;
    const changed = holder.grant.hash !== grant.hash;
    holder.grant = grant;
    this.#publishing.forgetDecisions();
    this.#judge = this.#createJudge();
    for (const sub of this.#subscriptions.asked) {
      const decision = this.#judgeSubject(sub);
      sub.answers = this.#replies.lineOf(sub) !== undefined;
      if (decision.ok) continue;
      this.#subscriptions.end(sub);
      output.write(subscriptionViolation(sub));
      const { subject, queue } = sub;
      const action = formatAction({ verb: "subscribe", subject, ...(queue !== undefined && { queue }) });
      this.#record(action, decision).catch(() => this.#parts.onOver("unavailable"));
    }
    if (changed) this.renew();
  }

  /** Takes up the grant of now: another link, under a credential minted for it. */
  renew(): void {
    this.#splice.renewNow();
  }

  /** What was taken from the client still leaves, for a while; nothing more is taken. */
  finish(): Promise<void> {
    if (this.#over) return Promise.resolve();
    this.#over = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const done = (): void => {
      clearTimeout(timer);
      this.#splice.close();
      resolve();
    };
    const timer = setTimeout(() => {
      this.#tallies.abandon();
      done();
    }, FINISH_WITHIN_MS).unref();
    this.#inTurn(() => {
      this.#tallies.close();
      this.#whenReceived(done);
    });
    return promise;
  }

  #createJudge(): JetStreamJudge {
    const { shared, holder } = this.#parts;
    const live = (): InboxMap => this.#splice.live.inbox;
    return shared.createJudge({
      grant: holder.grant,
      // Asked anew each time: under another grant the inbox has another name.
      inbox: {
        toServer: (subject) => live().toServer(subject),
        toClient: (subject) => live().toClient(subject),
        get serverPrefix() {
          return live().serverPrefix;
        },
      },
      subscribed: (subject) => !this.#over && this.#subscriptions.isListening(subject),
    });
  }

  #judgeSubscription(asked: Asked): Outcome<GrantLine | undefined> {
    const count = this.#subscriptions.size + this.#arriving;
    if (count < SUBSCRIPTIONS_MAX) return this.#judgeSubject(asked);
    return refused({ reason: "capacity_exceeded", what: "subscriptions", max: SUBSCRIPTIONS_MAX });
  }

  #judgeSubject({ subject, queue }: Asked): Outcome<GrantLine | undefined> {
    const { grant } = this.#parts.holder;
    const why =
      checkSubject(subject, { wildcards: true }) ??
      (queue === undefined ? undefined : checkSubject(queue, { wildcards: false }));
    if (why !== undefined) return refused({ reason: "subject_invalid", subject: subject.slice(0, 256), why });
    const isInbox = this.#splice.live.inbox.toServer(subject) !== undefined;
    if (isInbox && needsInbox(grant)) return allowed(undefined);
    return decide(grant, { verb: "subscribe", subject, ...(queue !== undefined && { queue }) });
  }

  #refuse(action: string, refusal: Refusal, say: Say): void {
    this.#say(say, this.#record(action, refused(refusal)));
    const second = Math.floor(this.#parts.shared.clock());
    if (second !== this.#refusals.second) this.#refusals = { second, count: 0 };
    this.#refusals.count += 1;
    if (this.#refusals.count > REFUSALS_PER_SECOND_MAX) this.#parts.onOver("closed");
  }

  /** In its turn, and not before it is recorded. */
  #say(say: Say | undefined, recorded: Promise<void>): void {
    const step = this.#outbox.reserve();
    step.run = () => {
      if (!say) return;
      if ("words" in say) this.#parts.output.write(say.words);
      else this.#subscriptions.answer(say);
    };
    recorded.then(
      () => this.#outbox.ready(step),
      () => this.#parts.onOver("unavailable"),
    );
  }

  #record(action: string, outcome: Outcome<GrantLine | undefined>): Promise<void> {
    const { audit, clock, instance } = this.#parts.shared;
    const { identity, grant, facts } = this.#parts.holder;
    const now = clock();
    return audit.record({
      ...{ kind: "decision", at: isoTimeOf(now), instance, ...facts, txn: uuidv7(now * 1000), action },
      outcome: outcome.ok ? "allowed" : "refused",
      ...identityFacts(identity),
      ...(outcome.ok ? outcome.value && { rule: outcome.value.rule } : { refusal: outcome.refusal }),
      policy: grant.policy,
    });
  }

  #inTurn(run: () => void): void {
    this.#outbox.inTurn(run);
  }

  #whenReceived(then: (received: boolean) => void): void {
    this.#inTurn(() => this.#splice.live.pingThen(then));
  }

  #hold(by: 1 | -1): void {
    this.#holds += by;
    if (this.#holds > 0) this.#outbox.hold();
    else this.#outbox.release();
  }

  /** Takes from the client no more than can leave, and nothing while it does not read. */
  #steer(): void {
    const { parser, wire } = this.#parts;
    // What closes has to be read to its end.
    if (this.#over) return;
    const isFull = this.#outbox.isFull || this.#splice.live.congested || wire.unsentBytes > UNSENT_BYTES_MAX;
    if (isFull === parser.paused) return;
    if (isFull) {
      wire.pause();
      parser.pause();
    } else {
      wire.resume();
      // Not from within: what is resumed may steer again.
      setImmediate(() => parser.resume());
    }
  }

  #takeInfo(info: ServerInfo): void {
    const { parser, output, holder } = this.#parts;
    const grantMax = holder.grant.limits.payloadBytes;
    parser.payloadBytesMax = clientPayloadBytesMax(info.payloadBytesMax, grantMax);
    output.write(infoLine(info, grantMax));
  }

  /** nats-server refuses what we allowed: a fault to look into, and the client's to know. */
  #takeError(text: string, link: NativeLink): void {
    const denied = deniedOf(text);
    const subject = denied && (link.inbox.toClient(denied.subject) ?? denied.subject);
    if (denied?.operation === "publish" && subject !== undefined) {
      const decision = decide(this.#parts.holder.grant, { verb: "publish", subject });
      if (decision.ok) this.#tallies.markRefused(decision.value);
    }
    if (denied?.operation === "subscribe") {
      const sub = this.#subscriptions.asked.find((one) => one.subject === subject);
      if (sub) this.#subscriptions.end(sub);
    }
    const words = denied && subject !== undefined ? text.replace(denied.subject, subject) : text;
    this.#parts.output.write(errLine(words));
  }
}

const OK = "+OK\r\n";
const PONG = "PONG\r\n";
