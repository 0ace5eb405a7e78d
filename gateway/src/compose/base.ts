import type { Config } from "../config/config.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Clock } from "../time.ts";
import type { ReadinessList, Running } from "./running.ts";

/** What every part of the composition needs. */
export interface Base {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly running: Running;
  readonly readiness: ReadinessList;
  readonly metrics: Metrics;
  /** Ends the wait for a NATS that does not come. */
  readonly giveUp?: AbortSignal;
}
