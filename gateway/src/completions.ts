import type { AuditCompletion, AuditLog } from "./audit/record.ts";
import { type Clock, isoTimeOf } from "./time.ts";
import { createTurn } from "./turn.ts";

/** How one message fared. */
export interface Done {
  readonly txn: string;
  readonly outcome: AuditCompletion["outcome"];
  readonly why?: string | undefined;
  /** Of the tree that sealed it. */
  readonly root?: string | undefined;
  /** Who replied, where a seal proves it. */
  readonly by?: string | undefined;
  /** Where a stream has it. */
  readonly stored?: StoredAt | undefined;
}

export interface StoredAt {
  readonly stream: string;
  readonly sequence: number;
  /** It was there before. */
  readonly duplicate: boolean;
}

/** Keeps a completion's line under 64 KiB: a txn is 36 characters. */
const TXNS_PER_COMPLETION_MAX = 1_000;

/** Makes what completes records: what fared alike in one turn by one line. */
export function createCompletions({
  audit,
  clock,
  instance,
}: {
  readonly audit: Pick<AuditLog, "complete">;
  readonly clock: Clock;
  readonly instance: string;
}): (done: Done) => void {
  function completeTogether(done: readonly Done[]): void {
    const alike = Map.groupBy(done, ({ outcome, why, root, by, stored }) =>
      [outcome, why, root, by, stored?.stream, stored?.duplicate].join(" "),
    );
    const at = isoTimeOf(clock());
    for (const group of alike.values()) {
      const [first] = group;
      if (!first) continue;
      const { outcome, why, root, by, stored } = first;
      audit.complete({
        kind: "completion",
        at,
        instance,
        txns: group.map(({ txn }) => txn),
        outcome,
        ...(why !== undefined && { why }),
        ...(root !== undefined && { root }),
        ...(by !== undefined && { by }),
        ...(stored && {
          stream: stored.stream,
          sequences: group.map((one) => one.stored?.sequence ?? 0),
          ...(stored.duplicate && { duplicate: true }),
        }),
      });
    }
  }

  return createTurn<Done>(completeTogether, { batchMax: TXNS_PER_COMPLETION_MAX });
}
