import { hash } from "node:crypto";
import type { Asked } from "./asked.ts";
import type { NativeLink } from "./link.ts";
import { emptyHead, type MessageHead, readHead, type Sid } from "./server-parser.ts";

/** What the next link has brought before the old one had brought its last. */
export interface Held {
  readonly key: Sid;
  readonly bytes: Buffer;
  readonly read: () => MessageHead;
}

/** What a handover may hold back; more means that the old link has hung. */
const HELD_BYTES_MAX = 16 * 1024 * 1024;

/**
 * The time in which two links are subscribed to the same. What the next one brings is held back until the old one has
 * brought its last, and what that has brought already is dropped from it, message by message (equal ones are counted).
 * In a queue group no message comes on both.
 *
 * Two messages that are the same to the last byte cannot be told apart: where one comes just before the next link is
 * subscribed, and its twin just after the old one is not, the twin is dropped. Sealed messages have no twins.
 */
export class Overlap {
  readonly old: NativeLink;
  readonly next: NativeLink;
  #settled = false;
  #held: Held[] = [];
  #heldBytes = 0;
  /** How often the old link has brought each message since the next one was asked for it. */
  readonly #brought = new Map<string, number>();

  constructor(old: NativeLink, next: NativeLink) {
    this.old = old;
    this.next = next;
  }

  /** Whether the same messages come on both links: not in a queue group, nor in an inbox that has another name there. */
  isDoubled({ subject }: Asked): boolean {
    return this.old.inbox.toServer(subject) === this.next.inbox.toServer(subject);
  }

  wayOf(
    link: NativeLink,
    sub: Asked & { readonly key: Sid },
    bytes: Buffer,
  ): "deliver" | "keep" | "drop" | "lost" {
    if (sub.queue !== undefined || !this.isDoubled(sub)) return "deliver";
    if (link === this.old) {
      if (this.#settled) return "drop";
      this.#remember(bytes);
      return "deliver";
    }
    if (this.#settled) return this.#takeBrought(bytes) ? "drop" : "deliver";
    this.#held.push({ key: sub.key, bytes, read: () => headOf(bytes) });
    this.#heldBytes += bytes.length;
    return this.#heldBytes > HELD_BYTES_MAX ? "lost" : "keep";
  }

  /** @returns what was held and the old link has not brought, in the order it came */
  settle(): readonly Held[] {
    this.#settled = true;
    const held = this.#held.filter(({ bytes }) => !this.#takeBrought(bytes));
    this.#held = [];
    return held;
  }

  #remember(bytes: Buffer): void {
    const key = fingerprintOf(bytes);
    this.#brought.set(key, (this.#brought.get(key) ?? 0) + 1);
  }

  #takeBrought(bytes: Buffer): boolean {
    if (this.#brought.size === 0) return false;
    const key = fingerprintOf(bytes);
    const times = this.#brought.get(key);
    if (times === undefined) return false;
    if (times > 1) this.#brought.set(key, times - 1);
    else this.#brought.delete(key);
    return true;
  }
}

/** The control line tells the subscription, both subjects and the sizes: of one message it is the same on both links. */
function fingerprintOf(bytes: Buffer): string {
  return hash("sha256", bytes, "base64url");
}

function headOf(bytes: Buffer): MessageHead {
  const head = emptyHead();
  readHead(head, bytes, 0, bytes.indexOf("\n") + 1);
  return head;
}
