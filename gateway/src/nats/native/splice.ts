import type { Outcome } from "../../refusal.ts";
import type { Clock, EpochSeconds } from "../../time.ts";
import type { ServerWish } from "../identity-connection.ts";
import { OTHER_SERVER_SETTLE_MS, pause, renewInMs } from "../renew-when.ts";
import type { Asked } from "./asked.ts";
import type { ClientOutput } from "./client-output.ts";
import type { ServerInfo } from "./info.ts";
import type { LinkHandler, NativeLink } from "./link.ts";
import type { MessageHead, Way } from "./server-parser.ts";
import { Subscriptions } from "./subscriptions.ts";

/** Mints a credential and dials under it. */
export type DialNativeLink = (wish: ServerWish) => Promise<Outcome<NativeLink>>;

export interface SpliceParts {
  readonly dialLink: DialNativeLink;
  /** When a credential minted now would expire. */
  readonly nextExpiry: () => Outcome<EpochSeconds>;
  readonly clock: Clock;
  readonly output: ClientOutput;
  /** Whether the client leaves too much unread for more to be taken from NATS now. */
  readonly isCongested: () => boolean;
  readonly onRequest: (link: NativeLink, asked: Asked, head: MessageHead, bytes: Buffer | undefined) => void;
  /** Whether requests that came on this link are still to be answered, which only it may do. */
  readonly owes: (link: NativeLink) => boolean;
  readonly onInfo: (info: ServerInfo) => void;
  readonly onError: (text: string, link: NativeLink) => void;
  /** Stops what the client publishes and asks for, and lets it go on. */
  readonly hold: () => void;
  readonly release: () => void;
  /** Writing to NATS may go on. */
  readonly onDrain: () => void;
  /** The link in use is gone, or can no longer be told apart from the next. */
  readonly onLost: () => void;
}

/** How long a replaced link waits for what only it may bring or answer. */
const RETIRE_WITHIN_MS = 30_000;
const RETIRE_LOOK_MS = 250;

/** Why a link that works is replaced: its credential ends, its server leaves, its grant has changed. */
type RenewReason = "due" | "leaving" | "regranted";

/** The chain of links behind one client, each handed over to the next before its credential ends: make before break. */
export class Splice implements LinkHandler {
  readonly subscriptions: Subscriptions;
  readonly #parts: SpliceParts;
  readonly #stop = new AbortController();
  readonly #retired = new Set<NativeLink>();
  #next: NativeLink | undefined;
  #nudge = Promise.withResolvers<RenewReason>();
  /** Holds what the client asks for until a changed grant has been taken up, or could not be. */
  #regranting = false;
  #over = false;

  constructor(first: NativeLink, parts: SpliceParts) {
    this.#parts = parts;
    const { output, onRequest, onLost } = parts;
    this.subscriptions = new Subscriptions(first, { output, onRequest, onLost });
    first.start(this);
    void this.#maintain();
  }

  get live(): NativeLink {
    return this.subscriptions.live;
  }

  /** Takes up a changed grant: a link under a credential minted now replaces this one. */
  renewNow(): void {
    if (!this.#regranting) this.#parts.hold();
    this.#regranting = true;
    this.#nudge.resolve("regranted");
  }

  resume(): void {
    for (const link of this.#links()) link.resume();
  }

  /** What was written still leaves. */
  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stop.abort();
    for (const link of this.#links()) link.close();
  }

  message(link: NativeLink, head: MessageHead): Way | Buffer {
    return this.subscriptions.message(link, head);
  }

  whole(link: NativeLink, head: MessageHead, bytes: Buffer): void {
    this.subscriptions.whole(link, head, bytes);
  }

  out(_link: NativeLink, bytes: Buffer): void {
    // Only the link in use lets messages pass in pieces: see `Subscriptions.message`.
    this.#parts.output.pass(bytes);
  }

  flush(link: NativeLink, inMessage: boolean): void {
    if (link === this.live) this.#parts.output.flush(inMessage);
    if (this.#parts.isCongested()) link.pause();
  }

  /** Answered here: what it asks is whether we are there. The client's own silence is for its PINGs to notice. */
  ping(link: NativeLink): void {
    link.write("PONG\r\n");
  }

  info(link: NativeLink, info: ServerInfo): void {
    if (link !== this.live) return;
    if (info.lameDuck) this.#nudge.resolve("leaving");
    else this.#parts.onInfo(info);
  }

  error(link: NativeLink, text: string): void {
    // What the next one does not take, the client would wait for in vain.
    if (link === this.live || link === this.#next) this.#parts.onError(text, link);
  }

  drained(link: NativeLink): void {
    if (link === this.live) this.#parts.onDrain();
  }

  closed(link: NativeLink): void {
    this.#retired.delete(link);
    if (link === this.live && !this.#over) this.#parts.onLost();
  }

  #links(): readonly NativeLink[] {
    return [this.live, ...this.#retired, ...(this.#next ? [this.#next] : [])];
  }

  async #maintain(): Promise<void> {
    let failures = 0;
    while (!this.#over) {
      const reason = await this.#nextReason(failures);
      if (this.#over) return;
      failures = (await this.#renew(reason)) ? 0 : failures + 1;
      if (this.#regranting) this.#parts.release();
      this.#regranting = false;
    }
  }

  async #nextReason(failures: number): Promise<RenewReason> {
    const waiting = new AbortController();
    const signal = AbortSignal.any([waiting.signal, this.#stop.signal]);
    const left = this.live.expiresAt - this.#parts.clock();
    try {
      return await Promise.race([
        // A server that leaves is left once; when that fails, its closing ends the connection.
        this.#nudge.promise,
        pause(renewInMs(left, failures), signal).then(() => "due" as const),
      ]);
    } finally {
      waiting.abort();
    }
  }

  /** @returns false when the old link stays */
  async #renew(reason: RenewReason): Promise<boolean> {
    const old = this.live;
    if (reason === "due" && !this.#wouldGain(old)) return true;
    if (reason !== "due") this.#nudge = Promise.withResolvers();
    const wish = reason === "leaving" ? { last: old.server } : { first: old.server };
    const dialled = await this.#parts.dialLink(wish);
    if (!dialled.ok) return false;
    const next = dialled.value;
    if (this.#over || !old.alive) {
      next.destroy();
      return false;
    }
    this.#parts.hold();
    try {
      return await this.#handOver(old, next);
    } finally {
      this.#parts.release();
    }
  }

  #wouldGain(old: NativeLink): boolean {
    const expiry = this.#parts.nextExpiry();
    return expiry.ok && expiry.value >= old.expiresAt + 1;
  }

  /** The client's commands are held meanwhile, so that nothing overtakes and nothing of its own comes back twice. */
  async #handOver(old: NativeLink, next: NativeLink): Promise<boolean> {
    const { subscriptions } = this;
    const settleMs = next.serverId === old.serverId ? 0 : OTHER_SERVER_SETTLE_MS;
    this.#next = next;
    next.start(this);
    // What was published before is on its way: a client without echo must not get it from the next link.
    const isOldThere = await old.ping();
    if (isOldThere) subscriptions.join(next);
    if (!isOldThere || !(await next.ping())) {
      subscriptions.unjoin();
      this.#next = undefined;
      next.destroy();
      return false;
    }
    if (settleMs > 0) await pause(settleMs, this.#stop.signal);
    subscriptions.leaveOld();
    await old.ping();
    this.#next = undefined;
    subscriptions.settle();
    if (!this.#over) void this.#retire(old);
    await next.ping();
    if (settleMs > 0) await pause(settleMs, this.#stop.signal);
    subscriptions.forget();
    if (!this.#over) this.#parts.onInfo(next.info);
    return true;
  }

  /** Answers to requests may only leave by the link they came on, and those to an inbox of another name come there. */
  async #retire(old: NativeLink): Promise<void> {
    this.#retired.add(old);
    const isRenamed = old.inbox.serverPrefix !== this.live.inbox.serverPrefix;
    for (let waitedMs = 0; waitedMs < RETIRE_WITHIN_MS; waitedMs += RETIRE_LOOK_MS) {
      if (!old.alive || this.#over || !(isRenamed || this.#parts.owes(old))) break;
      await pause(RETIRE_LOOK_MS, this.#stop.signal);
    }
    old.close();
  }
}
