/**
 * Decodes base64url (RFC 4648 §5) and accepts exactly one text for each value: no padding, no other alphabet, no
 * set bits behind the last byte. `Buffer.from` alone tolerates all of these, and then one seal would have many
 * spellings.
 *
 * @returns undefined when it is anything else
 */
export function decodeBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : undefined;
}

/** Whether it is the base64url of 32 bytes, as a SHA-256 is written: 43 characters, the last one with two spare bits. */
export function isBase64urlOf32Bytes(text: string): boolean {
  return /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/.test(text);
}
