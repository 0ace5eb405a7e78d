import { uuidv7 } from "@countersign/seal";
import { identityFacts } from "../admit.ts";
import { createCompletions, type Done } from "../completions.ts";
import type { GrantLine } from "../policy/grant.ts";
import { isoTimeOf } from "../time.ts";
import type { Holder, NativeShared } from "./context.ts";

/** What a connection publishes under one rule within one second: one transaction, recorded as one. */
export interface Tally {
  /** Stands in the seal of each of its messages. */
  readonly txn: string;
  /** Fulfils once its record is written; undefined when it is. */
  opening: Promise<void> | undefined;
  readonly line: GrantLine;
  messages: number;
  bytes: number;
  readonly roots: Set<string>;
  /** nats-server refused what we allowed. */
  refused: boolean;
}

export interface TalliesParts extends Pick<NativeShared, "audit" | "clock" | "instance"> {
  readonly holder: Holder;
  /** Calls once all that has been asked for so far has been written and nats-server has processed it, or never will. */
  readonly whenReceived: (then: (received: boolean) => void) => void;
}

const SECOND_MS = 1_000;
/** Nobody waits for these confirmations but the record: one PING for all of a moment. */
const CONFIRM_AFTER_MS = 10;

/**
 * The record of what one connection publishes. A line for each message would outgrow the messages, so that a rule and
 * a second share one: opened, and written, before the first of its messages leaves; completed with their number, bytes
 * and roots when the second is over and nats-server has confirmed the last. By its roots each sealed message of it can
 * be proved to be part of it. What is to be recorded durably has a record of its own.
 */
export class Tallies {
  readonly #parts: TalliesParts;
  readonly #complete: (done: Done) => void;
  #open = new Map<GrantLine, Tally>();
  #second = 0;
  #timer: NodeJS.Timeout | undefined;
  #confirming: Omit<Done, "outcome">[] = [];

  constructor(parts: TalliesParts) {
    this.#parts = parts;
    this.#complete = createCompletions(parts);
  }

  /** Counts one message into the tally of its rule. */
  take(line: GrantLine, bytes: number): Tally {
    const now = this.#parts.clock();
    const second = Math.floor(now);
    if (second !== this.#second) {
      this.close();
      this.#second = second;
    }
    const tally = this.#open.get(line) ?? this.#begin(line, now);
    tally.messages += 1;
    tally.bytes += bytes;
    return tally;
  }

  /** nats-server has refused a message under this line. */
  markRefused(line: GrantLine): void {
    const tally = this.#open.get(line);
    if (tally) tally.refused = true;
  }

  /** Completes the record of one message that has its own. */
  confirm(done: Omit<Done, "outcome">): void {
    if (this.#confirming.push(done) === 1) setTimeout(() => this.#confirmNow(), CONFIRM_AFTER_MS).unref();
  }

  #confirmNow(): void {
    const confirming = this.#confirming;
    this.#confirming = [];
    if (confirming.length === 0) return;
    this.#parts.whenReceived((received) => {
      for (const one of confirming) this.#complete({ ...one, outcome: received ? "received" : "unknown" });
    });
  }

  /** Completes what is open, once it is known how it fared: the second is over, or the connection. */
  close(): void {
    this.#confirmNow();
    const tallies = this.#takeOpen();
    if (tallies.length === 0) return;
    this.#parts.whenReceived((received) => {
      for (const tally of tallies) this.#finish(tally, received);
    });
  }

  /** Completes what is open now: what it waits for does not come. */
  abandon(): void {
    for (const tally of this.#takeOpen()) this.#finish(tally, false);
  }

  #takeOpen(): readonly Tally[] {
    clearTimeout(this.#timer);
    const tallies = [...this.#open.values()];
    this.#open = new Map();
    return tallies;
  }

  #begin(line: GrantLine, now: number): Tally {
    const { audit, instance, holder } = this.#parts;
    const { identity, grant, facts } = holder;
    const txn = uuidv7(now * 1000);
    const record = audit.record({
      kind: "decision",
      at: isoTimeOf(now),
      instance,
      ...facts,
      txn,
      action: actionOfLine(line),
      outcome: "allowed",
      ...identityFacts(identity),
      rule: line.rule,
      policy: grant.policy,
      many: true,
    });
    const tally: Tally = {
      ...{ txn, line, messages: 0, bytes: 0, roots: new Set<string>(), refused: false },
      opening: record.then(() => {
        tally.opening = undefined;
      }),
    };
    // Whoever waits for it hears of its failure; a message is always waiting.
    tally.opening?.catch(() => {});
    this.#open.set(line, tally);
    if (this.#open.size === 1) {
      this.#timer = setTimeout(() => this.close(), SECOND_MS - ((now * 1000) % SECOND_MS)).unref();
    }
    return tally;
  }

  #finish({ txn, messages, bytes, roots, refused }: Tally, received: boolean): void {
    const { audit, clock, instance } = this.#parts;
    const outcome = refused ? "refused" : received ? "received" : "unknown";
    audit.complete({
      ...{ kind: "completion", at: isoTimeOf(clock()), instance, txns: [txn], outcome, messages, bytes },
      ...(roots.size > 0 && { roots: [...roots] }),
    });
  }
}

/** As `formatAction` writes an action, with the line's own pattern: `publish orders.eu.*.create`. */
function actionOfLine({ verb, pattern, object }: GrantLine): string {
  const place = object?.stream ?? object?.bucket;
  return [verb, ...(typeof place === "string" ? [place] : []), pattern].join(" ");
}
