/** Something the person at the laptop can mend. The message says what was tried and what to do. */
export class DevstackError extends Error {
  override readonly name = "DevstackError";
}

/** Ends a script: in words for what can be mended, with the stack for a fault of ours. */
export function reportAndExit(error: unknown): never {
  console.error(error instanceof DevstackError ? error.message : error);
  process.exit(1);
}
