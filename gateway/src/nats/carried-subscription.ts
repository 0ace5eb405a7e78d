import type { InboundMessage, SubscribeOptions } from "./connection.ts";
import { fingerprintOf } from "./fingerprint.ts";
import type { Leave, SubscribingLink } from "./link.ts";

/** What a handover may hold back of one subscription; more means that the old connection has hung. */
const HELD_BYTES_MAX = 16 * 1024 * 1024;
const HELD_MESSAGES_MAX = 50_000;

/**
 * One subscription carried from link to link. Over a handover it is subscribed on both: what the new link
 * brings is held back until the old one has brought its last, and what the old one brought already is dropped
 * from it, message by message (equal ones are counted). A caller's queue group is simply joined twice, since
 * there no message comes on both.
 */
export class CarriedSubscription {
  readonly #options: SubscribeOptions;
  readonly #onFault: (error: unknown) => void;
  readonly #onOver: () => void;
  #live: SubscribingLink | undefined;
  #leaveLive: Leave = nothing;
  #next: SubscribingLink | undefined;
  #leaveNext: Leave = nothing;
  #held: InboundMessage[] = [];
  #heldBytes = 0;
  /** How often the old link has brought each message since the new one was asked for it. */
  readonly #broughtByOld = new Map<string, number>();
  #over = false;

  /** @param onOver  called when it has ended, however it ended */
  constructor(options: SubscribeOptions, onOver: () => void, onFault: (error: unknown) => void) {
    this.#options = options;
    this.#onOver = onOver;
    this.#onFault = onFault;
  }

  get over(): boolean {
    return this.#over;
  }

  /** Takes its messages from this link alone: the first one, or one that replaces a lost one. */
  attach(link: SubscribingLink): void {
    const gap = this.#live !== undefined;
    this.#forgetHandover();
    this.#live = link;
    this.#leaveLive = this.#subscribeOn(link);
    if (gap) this.#guarded(() => this.#options.onGap?.());
  }

  /** Handover, 1: subscribes on the new link beside the old. */
  join(next: SubscribingLink): void {
    if (this.#over) return;
    this.#next = next;
    this.#leaveNext = this.#subscribeOn(next);
  }

  /** Handover, given up: the old link stays. */
  unjoin(): void {
    this.#leaveNext();
    this.#forgetHandover();
  }

  /** Handover, 2: asks the old link to stop; it keeps delivering until its PONG. */
  leave(): void {
    this.#leaveLive();
  }

  /** Handover, 3: the old link has brought its last message. */
  settle(): void {
    if (this.#over || !this.#next) return;
    this.#live = this.#next;
    this.#leaveLive = this.#leaveNext;
    this.#next = undefined;
    this.#leaveNext = nothing;
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const message of held) if (!this.#takeBrought(message)) this.#deliver(message);
  }

  /** Handover, 4: all that came on both links has come; an equal message from now on is a new one. */
  forget(): void {
    this.#broughtByOld.clear();
  }

  /** The caller's word: silent. */
  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#leaveLive();
    this.#leaveNext();
    this.#live = undefined;
    this.#forgetHandover();
    this.#onOver();
  }

  endBecause(why: "refused" | "closed" | "revoked"): void {
    if (this.#over) return;
    this.end();
    this.#guarded(() => this.#options.onEnd(why));
  }

  #subscribeOn(link: SubscribingLink): Leave {
    const { subject, queue } = this.#options;
    return link.subscribe(subject, queue, {
      take: (message) => this.#take(link, message),
      refused: () => this.endBecause("refused"),
    });
  }

  #take(link: SubscribingLink, message: InboundMessage): void {
    if (this.#over) return;
    const shared = this.#options.queue !== undefined;
    if (link === this.#live) {
      if (this.#next && !shared) this.#remember(message);
      else if (this.#broughtByOld.size > 0 && this.#takeBrought(message)) return;
      this.#deliver(message);
    } else if (link === this.#next) {
      if (shared) this.#deliver(message);
      else this.#hold(message);
    }
  }

  #hold(message: InboundMessage): void {
    this.#held.push(message);
    this.#heldBytes += message.payload.length;
    // Ended rather than delivered with a gap or out of order: its reader knows how to begin again.
    if (this.#held.length > HELD_MESSAGES_MAX || this.#heldBytes > HELD_BYTES_MAX) this.endBecause("closed");
  }

  #remember(message: InboundMessage): void {
    const key = fingerprintOf(message);
    this.#broughtByOld.set(key, (this.#broughtByOld.get(key) ?? 0) + 1);
  }

  #takeBrought(message: InboundMessage): boolean {
    const key = fingerprintOf(message);
    const times = this.#broughtByOld.get(key);
    if (times === undefined) return false;
    if (times > 1) this.#broughtByOld.set(key, times - 1);
    else this.#broughtByOld.delete(key);
    return true;
  }

  #deliver(message: InboundMessage): void {
    if (!this.#over) this.#guarded(() => this.#options.onMessage(message));
  }

  /** An exception would end nats-core's read loop, and with it every subscription of this connection. */
  #guarded(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#onFault(error);
      this.endBecause("closed");
    }
  }

  #forgetHandover(): void {
    this.#next = undefined;
    this.#leaveNext = nothing;
    this.#held = [];
    this.#heldBytes = 0;
    this.#broughtByOld.clear();
  }
}

function nothing(): void {}
