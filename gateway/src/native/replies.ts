import { setBounded } from "../bounded-map.ts";
import { parseHeaders } from "../nats/headers.ts";
import type { Asked } from "../nats/native/asked.ts";
import type { NativeLink } from "../nats/native/link.ts";
import type { MessageHead } from "../nats/native/server-parser.ts";
import { decide } from "../policy/decide.ts";
import type { GrantLine } from "../policy/grant.ts";
import type { EpochSeconds } from "../time.ts";
import type { Holder, NativeShared } from "./context.ts";

/** One answer that the client owes, or may give: once, by the link the request came on. */
export interface Owed {
  readonly link: NativeLink;
  readonly line: GrantLine;
  /** The id of the request, as its seal says; undefined for a request that came unsealed or whose seal does not hold. */
  readonly answers: Promise<string | undefined> | undefined;
  readonly until: EpochSeconds;
}

/** As the permission says that nats-server holds (`permissionsOf`): once, within a minute. */
const REPLY_WITHIN_SECONDS = 60;
/** Requests that may be answered at once; the oldest makes room. */
const OWED_MAX = 8_192;

/** The reply subjects a client has been given, each good for one answer. */
export class Replies {
  readonly #holder: Holder;
  readonly #shared: Pick<NativeShared, "senderOf" | "clock">;
  readonly #owed = new Map<string, Owed>();

  constructor(holder: Holder, shared: Pick<NativeShared, "senderOf" | "clock">) {
    this.#holder = holder;
    this.#shared = shared;
  }

  /** @returns the line by which what comes on this subscription may be answered */
  lineOf({ subject, queue }: Pick<Asked, "subject" | "queue">): GrantLine | undefined {
    const action = { verb: "respond" as const, subject, ...(queue !== undefined && { queue }) };
    const line = decide(this.#holder.grant, action);
    return line.ok ? line.value : undefined;
  }

  /** A request has come; `bytes` is the whole of it where it has headers. */
  remember(link: NativeLink, sub: Asked, head: MessageHead, bytes: Buffer | undefined): void {
    const reply = head.bytes.toString("latin1", head.replyStart, head.replyEnd);
    // What JetStream delivers is acknowledged, not answered.
    if (reply.startsWith("$")) return;
    const line = this.lineOf(sub);
    if (!line) return;
    const answers = bytes && head.headerBytes > 0 ? this.#idOf(head, bytes, reply) : undefined;
    const until = this.#shared.clock() + REPLY_WITHIN_SECONDS;
    setBounded(this.#owed, reply, { link, line, answers, until }, OWED_MAX);
  }

  /** @returns the answer owed on this subject, which from now on is not owed any more */
  take(subject: string): Owed | undefined {
    const owed = this.#owed.get(subject);
    if (!owed) return undefined;
    this.#owed.delete(subject);
    return owed.until > this.#shared.clock() && owed.link.alive ? owed : undefined;
  }

  owes(link: NativeLink): boolean {
    const now = this.#shared.clock();
    for (const owed of this.#owed.values()) if (owed.link === link && owed.until > now) return true;
    return false;
  }

  #idOf(head: MessageHead, bytes: Buffer, reply: string): Promise<string | undefined> | undefined {
    const { headers } = parseHeaders(bytes.subarray(head.end, head.end + head.headerBytes));
    if (!headers.some(([name]) => /^(?:seal-claims|txn-token)$/i.test(name))) return undefined;
    const subject = bytes.toString("latin1", head.subjectStart, head.subjectEnd);
    const payload = bytes.subarray(head.end + head.headerBytes, head.end + head.totalBytes);
    const sender = this.#shared.senderOf({ subject, reply, headers, payload });
    return sender.then((verdict) => (verdict.verified ? verdict.id : undefined));
  }
}
