/** One place records go to: standard output, a file, a stream. */
export interface Sink {
  /** For faults and metrics: `stdout`, `file logs/audit.jsonl`, `stream AUDIT`. */
  readonly name: string;
  /**
   * Takes all lines of one event-loop turn, in order, or none that counts: when it throws or rejects, whoever
   * asked for a record among them has no effect. Settles within five seconds, whatever the disk or network does.
   *
   * @param lines    JSON without a line break, ASCII, each at most `LINE_BYTES_MAX`
   * @param durable  settles only after fsync (file) or the PubAck (stream)
   * @returns nothing when it is done on return, which keeps the turn short
   */
  append(lines: readonly string[], durable: boolean): void | Promise<void>;
  /** Flushes and lets go. Nothing is appended afterwards. */
  close(): void | Promise<void>;
}
