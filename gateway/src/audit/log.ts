import { GatewayError } from "../errors.ts";
import type { AuditLog } from "./record.ts";
import { renderCompletion, renderRecord } from "./render.ts";
import type { Sink } from "./sink.ts";

export interface AuditLogOptions {
  /** At least one; every one of them must take a record before there may be an effect. */
  readonly sinks: readonly Sink[];
  /** Told once per turn and failing sink. Must not throw. */
  readonly onFault: (fault: AuditFault) => void;
}

export interface AuditFault {
  readonly sink: string;
  /** The error's own words: no record, no token. */
  readonly why: string;
  /** Records refused with it. */
  readonly records: number;
  /** Completion lines lost with it. */
  readonly completions: number;
}

/** What came up in one event-loop turn: written together, fulfilled or rejected together. */
interface Turn {
  readonly lines: string[];
  records: number;
  completions: number;
  durable: boolean;
  readonly done: PromiseWithResolvers<void>;
}

/**
 * The append-only log. All records of an event-loop turn become one write per sink, at the end of the turn
 * (`setImmediate`), in the order they came; they share one promise. Where one of them asked to be durable, the
 * whole turn waits for the fsync, later turns do not.
 *
 * A sink that fails rejects the turn's records, though other sinks may hold them: a record without an effect is a
 * nuisance, an effect without a record a hole.
 *
 * @throws GatewayError AUDIT_UNWRITABLE, from `record`, when a sink refuses or the log is closed
 */
export function createAuditLog({ sinks, onFault }: AuditLogOptions): AuditLog {
  if (sinks.length === 0) {
    throw new GatewayError(
      "AUDIT_UNWRITABLE",
      "Cannot keep an audit log: at least one sink is needed, found none",
    );
  }
  let current: Turn | undefined;
  let closed = false;
  const unfinished = new Set<Promise<void>>();

  function turn(): Turn {
    if (current) return current;
    const opened: Turn = {
      lines: [],
      records: 0,
      completions: 0,
      durable: false,
      done: Promise.withResolvers(),
    };
    current = opened;
    // A turn of completions alone has nobody who waits, and its failure is a fault, not an unhandled rejection.
    opened.done.promise.catch(() => {});
    setImmediate(flush);
    return opened;
  }

  function flush(): void {
    const ended = current;
    if (!ended) return;
    current = undefined;
    const waiting = sinks
      .map((sink) => appendTo(sink, ended, onFault))
      .filter((result) => result !== undefined);
    if (waiting.length === 0) {
      ended.done.resolve();
      return;
    }
    const settled = Promise.allSettled(waiting).then((results) => {
      unfinished.delete(settled);
      const failure = results.find((result) => result.status === "rejected");
      if (failure) ended.done.reject(failure.reason);
      else ended.done.resolve();
    });
    unfinished.add(settled);
  }

  return {
    record(entry, durable = false) {
      if (closed) return Promise.reject(unwritable("the log is closed"));
      const own = turn();
      own.lines.push(renderRecord(entry));
      own.records += 1;
      own.durable ||= durable;
      return own.done.promise;
    },
    complete(entry) {
      const lines = renderCompletion(entry);
      if (closed)
        return onFault({ sink: "log", why: "the log is closed", records: 0, completions: lines.length });
      const own = turn();
      own.lines.push(...lines);
      own.completions += lines.length;
    },
    async close() {
      closed = true;
      flush();
      while (unfinished.size > 0) await Promise.all(unfinished);
      for (const sink of sinks) await sink.close();
    },
  };
}

/** @returns undefined when it is done; else a promise that rejects, after `onFault`, when the sink refuses */
function appendTo(sink: Sink, turn: Turn, onFault: (fault: AuditFault) => void): Promise<void> | undefined {
  const failed = (error: unknown): never => {
    const why = error instanceof Error ? error.message : "unknown error";
    onFault({ sink: sink.name, why, records: turn.records, completions: turn.completions });
    throw unwritable(`sink "${sink.name}": ${why}`);
  };
  try {
    return sink.append(turn.lines, turn.durable)?.catch(failed);
  } catch (error) {
    return Promise.reject(error).catch(failed);
  }
}

function unwritable(why: string): GatewayError {
  return new GatewayError("AUDIT_UNWRITABLE", `Cannot write the audit record: ${why}`);
}
