import { setBounded } from "../../bounded-map.ts";
import { includes } from "../../policy/pattern.ts";
import type { Asked } from "./asked.ts";
import type { ClientOutput } from "./client-output.ts";
import type { OnReply } from "./jetstream.ts";
import type { NativeLink } from "./link.ts";
import { Overlap } from "./overlap.ts";
import type { MessageHead, Sid, Way } from "./server-parser.ts";

export interface Sub extends Asked {
  readonly key: Sid;
  readonly inInbox: boolean;
  /** Whether what comes may be answered. */
  answers: boolean;
  /** Ends after so many; undefined = never. */
  max: number | undefined;
  delivered: number;
  /** The client has left it: what is on its way still passes, and it is forgotten with a PONG. */
  left: boolean;
}

export interface SubscriptionsParts {
  readonly output: ClientOutput;
  /**
   * A message with a reply subject comes on a subscription that may answer. `bytes` is the message as a whole where it
   * has headers, a seal perhaps among them.
   */
  readonly onRequest: (link: NativeLink, sub: Asked, head: MessageHead, bytes: Buffer | undefined) => void;
  /** The two links can no longer be told apart: the client has to begin anew. */
  readonly onLost: () => void;
}

/** Left and not forgotten, at most, before a PONG is asked for to forget them by. */
const LEFT_MAX = 256;

/** What the client is subscribed to, and the way of each message to it, over handovers too. */
export class Subscriptions {
  readonly #parts: SubscriptionsParts;
  readonly #subs = new Map<Sid, Sub>();
  #live: NativeLink;
  #overlap: Overlap | undefined;
  /** Judges of answers that are awaited, by reply subject as the client knows it. */
  readonly #awaited = new Map<string, OnReply>();
  #delivered = 0;
  #left = 0;

  constructor(live: NativeLink, parts: SubscriptionsParts) {
    this.#live = live;
    this.#parts = parts;
  }

  get live(): NativeLink {
    return this.#live;
  }

  /** Those the client has not left. */
  get asked(): readonly Sub[] {
    return [...this.#subs.values()].filter(({ left }) => !left);
  }

  get size(): number {
    return this.#subs.size - this.#left;
  }

  /** Messages delivered so far. */
  get delivered(): number {
    return this.#delivered;
  }

  /** As nats-server does, a sid that is in use stays what it is. */
  isTaken(sid: string): boolean {
    return this.#subs.get(keyOf(sid))?.left === false;
  }

  add(asked: Asked, answers: boolean): void {
    const key = keyOf(asked.sid);
    if (this.#subs.get(key)?.left) this.#left -= 1;
    const inInbox = this.#live.inbox.toServer(asked.subject) !== undefined;
    const sub: Sub = { ...asked, key, inInbox, answers, max: undefined, delivered: 0, left: false };
    this.#subs.set(key, sub);
    this.#live.write(subLine(sub, this.#live));
  }

  /** UNSUB: at once, or after `max` messages, counted from the first, over all links. */
  leave(sid: string, max: number | undefined): void {
    const sub = this.#subs.get(keyOf(sid));
    if (!sub || sub.left) return;
    if (max !== undefined && max > sub.delivered) sub.max = max;
    else this.#leave(sub);
  }

  /** Ends without the client's word: nothing of it passes any more. */
  end(sub: Asked): void {
    const key = keyOf(sub.sid);
    if (!this.#subs.delete(key)) return;
    this.#live.write(`UNSUB ${sub.sid}\r\n`);
  }

  /** Has the first answer that comes on this reply subject of the client's judged before it passes. */
  awaitAnswer(reply: string, judge: OnReply): void {
    setBounded(this.#awaited, reply, judge, AWAITED_MAX);
  }

  /** Whether the client is subscribed to this subject of its inbox. */
  isListening(subject: string): boolean {
    for (const sub of this.#subs.values())
      if (sub.inInbox && !sub.left && includes(sub.subject, subject)) return true;
    return false;
  }

  /** Brings an answer of our own, on the first subscription that its reply subject belongs to. */
  answer({ reply, payload, status }: OwnAnswer): void {
    const sub = this.asked.find(({ subject }) => includes(subject, reply));
    if (!sub) return;
    this.#count(sub);
    const block = status === undefined ? "" : `NATS/1.0 ${status}\r\n\r\n`;
    const total = block.length + payload.length;
    const line =
      status === undefined
        ? `MSG ${reply} ${sub.sid} ${total}\r\n`
        : `HMSG ${reply} ${sub.sid} ${block.length} ${total}\r\n`;
    this.#parts.output.write(Buffer.concat([Buffer.from(line + block, "latin1"), payload, CRLF]));
  }

  /** What has been left before the PING of this PONG is over. @returns to be called with the PONG */
  forgetLeft(): () => void {
    if (this.#left === 0) return nothing;
    const left = [...this.#subs.values()].filter((sub) => sub.left);
    return () => {
      for (const sub of left) {
        if (this.#subs.get(sub.key) !== sub) continue;
        this.#subs.delete(sub.key);
        this.#left -= 1;
      }
    };
  }

  message(link: NativeLink, head: MessageHead): Way | Buffer {
    const sub = this.#subs.get(head.sid);
    if (!sub) return "drop";
    if (link !== this.#live || (this.#overlap && sub.queue === undefined)) return "whole";
    if (sub.inInbox && this.#awaited.size > 0) return "whole";
    if (sub.answers && head.replyEnd > head.replyStart) {
      if (head.headerBytes > 0) return "whole";
      this.#parts.onRequest(link, sub, head, undefined);
    }
    this.#count(sub);
    return (sub.inInbox && this.#lineForInbox(link, head)) || "pass";
  }

  whole(link: NativeLink, head: MessageHead, bytes: Buffer): void {
    const sub = this.#subs.get(head.sid);
    if (!sub) return;
    const way = this.#overlap?.wayOf(link, sub, bytes) ?? "deliver";
    if (way === "lost") this.#parts.onLost();
    if (way === "deliver") this.#deliver(link, sub, head, bytes);
  }

  /** Handover, 1: subscribes on the new link beside the old. */
  join(next: NativeLink): void {
    this.#overlap = new Overlap(this.#live, next);
    for (const sub of this.asked) next.write(subLine(sub, next));
  }

  /** Handover, given up: the old link stays. */
  unjoin(): void {
    this.#overlap = undefined;
  }

  /** Handover, 2: asks the old link to stop; it delivers until its PONG. An inbox under another name stays open there. */
  leaveOld(): void {
    const overlap = this.#overlap;
    if (!overlap) return;
    for (const sub of this.#subs.values()) {
      if (overlap.isDoubled(sub)) overlap.old.write(`UNSUB ${sub.sid}\r\n`);
    }
  }

  /** Handover, 3: the old link has brought its last message. */
  settle(): void {
    const overlap = this.#overlap;
    if (!overlap) return;
    this.#live = overlap.next;
    for (const { key, bytes, read } of overlap.settle()) {
      const sub = this.#subs.get(key);
      if (sub) this.#deliver(this.#live, sub, read(), bytes);
    }
  }

  /** Handover, 4: all that came on both links has come; an equal message from now on is a new one. */
  forget(): void {
    this.#overlap = undefined;
  }

  #deliver(link: NativeLink, sub: Sub, head: MessageHead, bytes: Buffer): void {
    if (sub.answers && head.replyEnd > head.replyStart) this.#parts.onRequest(link, sub, head, bytes);
    const line = sub.inInbox ? this.#lineForInbox(link, head) : undefined;
    if (!line) {
      this.#count(sub);
      this.#parts.output.write(bytes);
      return;
    }
    if (this.#awaited.size > 0 && this.#judgeAnswer(link, sub, head, bytes)) return;
    this.#count(sub);
    this.#parts.output.write(Buffer.concat([line, bytes.subarray(head.end)]));
  }

  /** @returns whether the answer has been dealt with */
  #judgeAnswer(link: NativeLink, sub: Sub, head: MessageHead, bytes: Buffer): boolean {
    const onServer = head.bytes.toString("latin1", head.subjectStart, head.subjectEnd);
    const reply = link.inbox.toClient(onServer) ?? "";
    const judge = this.#awaited.get(reply);
    if (!judge) return false;
    this.#awaited.delete(reply);
    const payloadAt = head.end + head.headerBytes;
    const verdict = judge({
      payload: bytes.subarray(payloadAt, head.end + head.totalBytes),
      ...(head.headerBytes > 0 && { headerBlock: bytes.subarray(head.end, payloadAt) }),
    });
    if (verdict.do === "pass") return false;
    if (verdict.do === "deliver") {
      const line = Buffer.from(`MSG ${reply} ${sub.sid} ${verdict.payload.length}\r\n`, "latin1");
      this.#count(sub);
      this.#parts.output.write(Buffer.concat([line, verdict.payload, CRLF]));
      return true;
    }
    const { subject, payload, onReply } = verdict;
    this.awaitAnswer(reply, onReply);
    const line = Buffer.from(`PUB ${subject} ${onServer} ${payload.length}\r\n`, "latin1");
    link.write(Buffer.concat([line, payload, CRLF]));
    return true;
  }

  /** The control line under the client's own name of its inbox; undefined for a message of another subject. */
  #lineForInbox(link: NativeLink, head: MessageHead): Buffer | undefined {
    const { bytes, start, end, subjectStart, subjectEnd } = head;
    const subject = link.inbox.toClient(bytes.toString("latin1", subjectStart, subjectEnd));
    if (subject === undefined) return undefined;
    const verb = bytes.toString("latin1", start, subjectStart);
    return Buffer.from(verb + subject + bytes.toString("latin1", subjectEnd, end), "latin1");
  }

  #count(sub: Sub): void {
    sub.delivered += 1;
    this.#delivered += 1;
    if (sub.max === undefined || sub.delivered < sub.max) return;
    // Counted here and not by nats-server, which begins anew on each link.
    this.#subs.delete(sub.key);
    if (sub.left) this.#left -= 1;
    this.#live.write(`UNSUB ${sub.sid}\r\n`);
  }

  #leave(sub: Sub): void {
    sub.left = true;
    this.#left += 1;
    this.#live.write(`UNSUB ${sub.sid}\r\n`);
    if (this.#left > LEFT_MAX) this.#live.pingThen(this.forgetLeft());
  }
}

/** What the gateway answers itself, on a reply subject of the client's. */
interface OwnAnswer {
  readonly reply: string;
  readonly payload: Uint8Array;
  readonly status?: number;
}

/** Answers of JetStream's interface that are awaited at once. */
const AWAITED_MAX = 256;
const CRLF = Buffer.from("\r\n");

function keyOf(sid: string): Sid {
  return /^(?:0|[1-9]\d{0,8})$/.test(sid) ? Number(sid) : sid;
}

function subLine(sub: Asked, link: NativeLink): string {
  const subject = link.inbox.toServer(sub.subject) ?? sub.subject;
  return `SUB ${subject} ${sub.queue === undefined ? "" : `${sub.queue} `}${sub.sid}\r\n`;
}

function nothing(): void {}
