import type { CompletionEvent, DecisionEvent, IisEvent, MessageEvent } from "./trace-events.ts";

/** What the sources brought for one trace. */
export interface TraceParts {
  readonly iis: readonly IisEvent[];
  readonly decisions: readonly DecisionEvent[];
  readonly completions: readonly CompletionEvent[];
  readonly messages: readonly MessageEvent[];
  /** What was looked at at all: nothing is missing where nobody looked. */
  readonly looked: Looked;
  readonly nowMs: number;
}

export interface Looked {
  /** From when to when lines of IIS were read that have the column `X-Request-Id`; undefined = none. */
  readonly iis: { readonly fromMs: number; readonly toMs: number } | undefined;
  /** Logs of sites without that column. */
  readonly withoutRequestId: readonly string[];
  readonly audit: boolean;
  readonly streams: boolean;
}
