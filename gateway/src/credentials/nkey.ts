import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign, verify } from "node:crypto";
import { decodeBase32, encodeBase32 } from "./base32.ts";

export type NkeyKind = "operator" | "account" | "user" | "server";

/**
 * A NATS key pair: Ed25519, written in base 32 with a prefix that tells its kind. The seed lives in a closure,
 * so neither `inspect` nor `JSON.stringify` nor a debugger's property list shows it.
 *
 * @source https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth
 */
export interface Nkey {
  readonly kind: NkeyKind;
  /** 56 characters, beginning with O, A, U or N. */
  readonly publicKey: string;
  /** @returns the 64 bytes of an Ed25519 signature (RFC 8032 §5.1.6); a string is signed as its UTF-8 bytes */
  sign(data: Uint8Array | string): Buffer;
  /** The private key as text, 58 characters beginning with S. Only for a file with mode 0600. */
  exportSeed(): string;
}

export interface PublicNkey {
  readonly kind: NkeyKind;
  readonly publicKey: string;
}

const SEED_PREFIX = 18 << 3;
const KIND_PREFIX: Readonly<Record<NkeyKind, number>> = {
  operator: 14 << 3,
  account: 0,
  user: 20 << 3,
  server: 13 << 3,
};
/** DER of a PKCS #8 PrivateKeyInfo for Ed25519 up to the 32 bytes of the seed (RFC 8410 §7). */
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");
/** DER of a SubjectPublicKeyInfo for Ed25519 up to the 32 bytes of the key (RFC 8410 §4). */
const SPKI_HEAD = Buffer.from("302a300506032b6570032100", "hex");

export function createNkey(kind: NkeyKind): Nkey {
  return nkeyOf(kind, randomBytes(32));
}

/**
 * @param seed  58 characters, as `exportSeed` and NATS's own tools write it
 * @returns undefined when it is not a seed of a key of one of these kinds, or its checksum is wrong
 */
export function nkeyFromSeed(seed: string): Nkey | undefined {
  const body = seed.length === 58 ? openChecked(seed) : undefined;
  const [first, second] = body ?? [];
  if (body === undefined || first === undefined || second === undefined) return undefined;
  if ((first & 0xf8) !== SEED_PREFIX || (second & 0x07) !== 0) return undefined;
  const kind = kindOfPrefix(((first & 0x07) << 5) | (second >>> 3));
  return kind && nkeyOf(kind, body.subarray(2));
}

/** @returns undefined when it is not a public key of one of these kinds, or its checksum is wrong */
export function parsePublicNkey(text: string): PublicNkey | undefined {
  const body = text.length === 56 ? openChecked(text) : undefined;
  const kind = body?.[0] === undefined ? undefined : kindOfPrefix(body[0]);
  return kind && { kind, publicKey: text };
}

/** @returns whether `signature` is `publicKey`'s over `data`; false also when `publicKey` is not a public nkey */
export function verifyNkey(publicKey: string, data: Uint8Array | string, signature: Uint8Array): boolean {
  const key = keyObjectOf(publicKey);
  return key !== undefined && verify(null, bytesOf(data), key, signature);
}

/** @returns the key as node:crypto takes it, for whoever verifies by it often; undefined when it is none */
export function keyObjectOf(publicKey: string): KeyObject | undefined {
  const body = parsePublicNkey(publicKey) && openChecked(publicKey);
  if (body === undefined) return undefined;
  return createPublicKey({
    key: Buffer.concat([SPKI_HEAD, body.subarray(1)]),
    format: "der",
    type: "spki",
  });
}

function nkeyOf(kind: NkeyKind, seed: Buffer): Nkey {
  const prefix = KIND_PREFIX[kind];
  const privateKey = createPrivateKey({
    key: Buffer.concat([PKCS8_HEAD, seed]),
    format: "der",
    type: "pkcs8",
  });
  return Object.freeze({
    kind,
    publicKey: sealChecked(Buffer.concat([Buffer.of(prefix), rawPublicKeyOf(privateKey)])),
    sign: (data: Uint8Array | string) => sign(null, bytesOf(data), privateKey),
    exportSeed: () =>
      sealChecked(Buffer.concat([Buffer.of(SEED_PREFIX | (prefix >>> 5), (prefix & 0x1f) << 3), seed])),
  });
}

function rawPublicKeyOf(privateKey: KeyObject): Buffer {
  return createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(SPKI_HEAD.length);
}

function kindOfPrefix(prefix: number): NkeyKind | undefined {
  const kinds = Object.keys(KIND_PREFIX) as NkeyKind[];
  return kinds.find((kind) => KIND_PREFIX[kind] === prefix);
}

/** Appends the checksum, low byte first, and writes it in base 32. */
export function sealChecked(body: Buffer): string {
  const sum = crc16(body);
  return encodeBase32(Buffer.concat([body, Buffer.of(sum & 0xff, sum >>> 8)]));
}

/** @returns undefined when it is not base 32, or its checksum is wrong */
export function openChecked(text: string): Buffer | undefined {
  const bytes = decodeBase32(text);
  if (bytes === undefined || bytes.length < 3) return undefined;
  const body = bytes.subarray(0, -2);
  return bytes.readUInt16LE(body.length) === crc16(body) ? body : undefined;
}

/** CRC-16/XMODEM: polynomial 0x1021, start 0, not reflected. */
function crc16(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte << 8;
    for (let bit = 0; bit < 8; bit++)
      sum = sum & 0x8000 ? ((sum << 1) ^ 0x1021) & 0xffff : (sum << 1) & 0xffff;
  }
  return sum;
}

function bytesOf(data: Uint8Array | string): Uint8Array {
  return typeof data === "string" ? Buffer.from(data) : data;
}
