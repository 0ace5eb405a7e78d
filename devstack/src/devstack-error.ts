/** Something the person at the laptop can mend. The message says what was tried and what to do. */
export class DevstackError extends Error {
  override readonly name = "DevstackError";
}

/** Ends a script: in words for what can be mended, with the stack for a fault of ours. */
export function reportAndExit(error: unknown): never {
  console.error(isMendable(error) ? error.message : error);
  process.exit(1);
}

/** Ours, the gateway's (its keys), and a wrong command line as node:util's parseArgs puts it. */
function isMendable(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  const { code = "" } = error as NodeJS.ErrnoException;
  return ["DevstackError", "GatewayError"].includes(error.name) || code.startsWith("ERR_PARSE_ARGS");
}
