import type { TraceEvent, TraceFinding } from "./trace-events.ts";
import { findingsOf } from "./trace-findings.ts";
import type { TraceParts } from "./trace-parts.ts";

export interface Trace {
  /** In the order of time; what says no time stands first. */
  readonly events: readonly TraceEvent[];
  readonly findings: readonly TraceFinding[];
}

/** Joins what belongs together, by request id and transaction, and says what does not fit. */
export function joinTrace(parts: TraceParts): Trace {
  const { iis, decisions, completions, messages } = parts;
  const events: TraceEvent[] = [...iis, ...decisions, ...completions, ...messages];
  return {
    events: events.toSorted((a, b) => beganMs(a) - beganMs(b) || RANK[a.source] - RANK[b.source]),
    findings: findingsOf(parts),
  };
}

/** IIS logs a request when it ends, in whole seconds: it began before what the gateway did for it. */
function beganMs(event: TraceEvent): number {
  if (event.atMs === undefined) return Number.NEGATIVE_INFINITY;
  return event.source === "iis" ? event.atMs - (event.tookMs ?? 0) : event.atMs;
}

/** Of one moment: the order in which a request passes. */
const RANK: Readonly<Record<TraceEvent["source"], number>> = {
  httperr: 0,
  iis: 1,
  decision: 2,
  message: 3,
  completion: 4,
};
