import { type KeyObject, sign, verify } from "node:crypto";

const PART_BYTES = 32;
const SIGNATURE_BYTES = 2 * PART_BYTES;
const SEQUENCE = 0x30;
const INTEGER = 0x02;

/**
 * Signs with ES256 (RFC 7518 §3.4: ECDSA, P-256, SHA-256).
 *
 * node:crypto would give this form itself (`dsaEncoding: "ieee-p1363"`), at more than twice the time of signing in
 * DER and converting (measured: 72 against 29 µs, and 115 against 74 µs to verify).
 *
 * @param input  ASCII
 * @returns r and s, 32 bytes each
 */
export function signEs256(input: string, privateKey: KeyObject): Buffer {
  const der = sign("sha256", Buffer.from(input, "latin1"), privateKey);
  const signature = Buffer.alloc(SIGNATURE_BYTES);
  // SEQUENCE, its length, INTEGER, its length: at most 72 bytes, so that every length is one byte.
  const rLength = der[3] ?? 0;
  const rEnd = 4 + rLength;
  copyInteger(der.subarray(4, rEnd), signature, PART_BYTES);
  copyInteger(der.subarray(rEnd + 2), signature, SIGNATURE_BYTES);
  return signature;
}

/**
 * @param input  ASCII
 * @returns false for a wrong signature and for one that is not 64 bytes
 */
export function verifyEs256(input: string, signature: Uint8Array, publicKey: KeyObject): boolean {
  if (signature.byteLength !== SIGNATURE_BYTES) return false;
  return verify("sha256", Buffer.from(input, "latin1"), publicKey, derOf(signature));
}

/** An INTEGER is signed and minimal: it may have a zero in front, or fewer than 32 bytes. */
function copyInteger(integer: Buffer, target: Buffer, end: number): void {
  const digits = integer.subarray(Math.max(0, integer.length - PART_BYTES));
  digits.copy(target, end - digits.length);
}

function derOf(signature: Uint8Array): Buffer {
  const r = derInteger(signature.subarray(0, PART_BYTES));
  const s = derInteger(signature.subarray(PART_BYTES));
  return Buffer.from([SEQUENCE, r.length + s.length, ...r, ...s]);
}

function derInteger(part: Uint8Array): number[] {
  let start = 0;
  while (start < PART_BYTES - 1 && part[start] === 0) start++;
  const digits = [...part.subarray(start)];
  if ((digits[0] ?? 0) >= 0x80) digits.unshift(0);
  return [INTEGER, digits.length, ...digits];
}
