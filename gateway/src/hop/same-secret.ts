import { hash, timingSafeEqual } from "node:crypto";

/**
 * Compares a presented secret with those expected, in a time that tells neither which one matched nor how far one
 * did: digests are of one length, and all are compared.
 */
export function isOneOf(presented: string, expected: readonly string[]): boolean {
  const found = hash("sha256", presented, "buffer");
  let matches = false;
  for (const each of expected) {
    if (timingSafeEqual(found, hash("sha256", each, "buffer"))) matches = true;
  }
  return matches;
}
