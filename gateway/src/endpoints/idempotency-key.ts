import type { HeaderDefinition } from "./operation.ts";

const KEY_CHARACTERS_MAX = 256;
/** A String of Structured Field Values (RFC 9651 §3.3.3), without parameters. */
const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/;
/** What many clients send instead. Neither a comma nor a semicolon, which would be a list or parameters. */
const BARE = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/;
const TEXT = /^[\x20-\x7e]{1,256}$/;

export const IDEMPOTENCY_KEY: HeaderDefinition = {
  description:
    "Only with `stream`: makes a retry the same message, for an hour. 1–256 characters of printable ASCII, in quotes or bare. Keys of others are none of yours.",
  schema: { type: "string", minLength: 1, maxLength: 514 },
  example: '"order-4711"',
};

/** What is right, for a refusal. */
export const KEY_RULE = "expected 1 to 256 characters of printable ASCII, bare or in quotes";

/**
 * Reads the header `Idempotency-Key`.
 *
 * @returns the key, the same whether it stood in quotes or not; undefined when it is not well-formed
 * @source draft-ietf-httpapi-idempotency-key-header-07 §2.1
 */
export function parseIdempotencyKey(text: string): string | undefined {
  const quoted = QUOTED.exec(text)?.[1]?.replace(/\\(.)/g, "$1");
  const key = quoted ?? (BARE.test(text) ? text : "");
  return isIdempotencyKey(key) ? key : undefined;
}

/** Whether it may be a key as it stands, without quotes around it. */
export function isIdempotencyKey(key: unknown): key is string {
  return typeof key === "string" && key.length <= KEY_CHARACTERS_MAX && TEXT.test(key);
}
