/** Something the person at the laptop can mend. The message says what was tried and what to do. */
export class DevstackError extends Error {
  override readonly name = "DevstackError";
}
