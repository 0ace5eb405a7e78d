import { hash } from "node:crypto";
import type { AuditCompletion, AuditRecord } from "../audit/record.ts";
import { type LineBytes, LineSplitter } from "./log-lines.ts";
import type { CompletionEvent, DecisionEvent } from "./trace-events.ts";
import { needleOf, selects, type TraceSelector } from "./trace-selector.ts";

/** From when to when, milliseconds since 1970; the ends are within. */
export interface TraceWindow {
  readonly sinceMs?: number;
  readonly untilMs?: number;
}

/** Decisions that one trace keeps: more are for another, narrower one. */
export const DECISIONS_MAX = 10_000;
/** Beyond this many, parsing a completion is cheaper than looking for each in its bytes. */
const LOOKED_FOR_MAX = 16;

const DECISION = Buffer.from('{"kind":"decision"');
const COMPLETION = Buffer.from('{"kind":"completion"');

/**
 * Picks the records of one trace out of audit logs, as their bytes come: decisions that are selected, and what came of
 * them. A completion stands after its decision in the same log.
 */
export class AuditCollector {
  readonly decisions: DecisionEvent[] = [];
  readonly completions: CompletionEvent[] = [];
  /** Lines that are no record: torn by a crash, or not ours. */
  malformed = 0;
  lines = 0;
  /** There are more than are kept. */
  truncated = false;
  readonly #selector: TraceSelector;
  readonly #window: TraceWindow;
  readonly #needle: string;
  readonly #txns = new Set<string>();
  /** What is kept already: a gateway writes each record to several logs alike. */
  readonly #kept = new Set<string>();
  #splitter = new LineSplitter();

  constructor(selector: TraceSelector, window: TraceWindow) {
    this.#selector = selector;
    this.#window = window;
    this.#needle = needleOf(selector);
  }

  read(chunk: Buffer): void {
    this.#splitter.split(chunk, this.#take);
  }

  /** The log ends; another may follow. */
  end(): void {
    this.#splitter.end(this.#take);
    this.#splitter = new LineSplitter();
  }

  readonly #take = ({ bytes, start, end }: LineBytes): void => {
    if (start === end) return;
    this.lines += 1;
    const line = bytes.subarray(start, end);
    if (beginsWith(line, DECISION)) {
      if (line.includes(this.#needle)) this.#decision(line);
    } else if (beginsWith(line, COMPLETION)) {
      if (this.#mayComplete(line)) this.#completion(line);
    } else this.malformed += 1;
  };

  #mayComplete(line: Buffer): boolean {
    if (this.#txns.size > LOOKED_FOR_MAX) return true;
    for (const txn of this.#txns) if (line.includes(txn)) return true;
    return false;
  }

  #decision(line: Buffer): void {
    const record = this.#parse<AuditRecord>(line);
    if (record === undefined || !selects(this.#selector, record)) return;
    const atMs = Date.parse(record.at);
    const { sinceMs = Number.NEGATIVE_INFINITY, untilMs = Number.POSITIVE_INFINITY } = this.#window;
    if (!(atMs >= sinceMs && atMs <= untilMs)) return;
    if (this.decisions.length >= DECISIONS_MAX) {
      this.truncated = true;
      return;
    }
    if (this.#isKept(line)) return;
    this.#txns.add(record.txn);
    this.decisions.push({ source: "decision", atMs, record });
  }

  #completion(line: Buffer): void {
    const entry = this.#parse<AuditCompletion>(line);
    if (entry === undefined) return;
    const { txns, ...completion } = entry;
    const ours = txns.filter((txn) => this.#txns.has(txn));
    if (ours.length === 0 || this.#isKept(line)) return;
    const atMs = Date.parse(completion.at);
    for (const txn of ours) {
      this.completions.push({ source: "completion", atMs, txn, completion });
    }
  }

  #isKept(line: Buffer): boolean {
    const before = this.#kept.size;
    this.#kept.add(hash("sha256", line, "base64"));
    return this.#kept.size === before;
  }

  /** A line begins as one of ours does; a crash may have torn its end off. */
  #parse<Entry extends AuditRecord | AuditCompletion>(line: Buffer): Entry | undefined {
    try {
      return JSON.parse(line.toString("utf8")) as Entry;
    } catch {
      this.malformed += 1;
      return undefined;
    }
  }
}

function beginsWith(line: Buffer, beginning: Buffer): boolean {
  return (
    line.length >= beginning.length && line.compare(beginning, 0, beginning.length, 0, beginning.length) === 0
  );
}
