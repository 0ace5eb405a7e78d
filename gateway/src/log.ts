import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { type DestinationStream, type Logger, pino } from "pino";
import { GatewayError, messageOf } from "./errors.ts";

export type { Logger } from "pino";

/** A year of what is worth a line; then the former half is kept beside it. */
const FILE_BYTES_MAX = 10 * 1_048_576;

/**
 * The operator's log: what happened to the gateway itself, as JSON lines on standard error, or in a file. What users
 * did is in the audit log, apart. Fields are named at each call, so that no token or payload can slip in with an object.
 *
 * @param file  for a process whose standard error nobody reads, as IIS starts it; mode 0600
 */
export function createLog(
  level: "fatal" | "error" | "warn" | "info" | "debug" | "trace",
  file?: string,
): Logger {
  // Written at once: the last line before a crash is the one that is wanted.
  const destination = file === undefined ? pino.destination({ dest: 2, sync: true }) : boundedFile(file);
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}

/**
 * Two files of 10 MiB: the full one becomes `<file>.1`. Once it is open, a disk that takes no line ends nothing.
 *
 * @throws GatewayError CONFIG_INVALID when it cannot be opened
 */
function boundedFile(file: string): DestinationStream {
  let descriptor: number | undefined = openFirst(file);

  function turn(): void {
    if (descriptor !== undefined) closeSync(descriptor);
    descriptor = undefined;
    try {
      renameSync(file, `${file}.1`);
    } catch {
      // Then it grows: a line that is lost may be the one that is wanted.
    }
  }

  return {
    write(line) {
      try {
        if (descriptor !== undefined && fstatSync(descriptor).size + line.length > FILE_BYTES_MAX) turn();
        descriptor ??= openSync(file, "a", 0o600);
        writeSync(descriptor, line);
      } catch {
        // There is nobody else to tell.
      }
    },
  };
}

function openFirst(file: string): number {
  try {
    mkdirSync(dirname(file), { recursive: true });
    return openSync(file, "a", 0o600);
  } catch (cause) {
    const message = `Cannot write the log to ${file}: ${messageOf(cause)}`;
    throw new GatewayError("CONFIG_INVALID", message, { cause });
  }
}
