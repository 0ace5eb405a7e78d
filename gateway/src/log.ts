import { type Logger, pino } from "pino";

export type { Logger } from "pino";

/**
 * The operator's log: what happened to the gateway itself, as JSON lines on standard error. What users did is in
 * the audit log, apart. Fields are named at each call, so that no token or payload can slip in with an object.
 */
export function createLog(level: "fatal" | "error" | "warn" | "info" | "debug" | "trace"): Logger {
  // Written at once: the last line before a crash is the one that is wanted.
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true }),
  );
}
