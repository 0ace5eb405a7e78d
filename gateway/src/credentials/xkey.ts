import { randomBytes } from "node:crypto";
import nacl from "tweetnacl";
import { setBounded } from "../bounded-map.ts";
import { openChecked, sealChecked } from "./nkey.ts";

/**
 * A NATS curve key (X…): what a nats-server seals its authorization requests for, and we our answers to it, so that
 * nobody who listens in the account reads the tokens of others.
 *
 * The box is XSalsa20 with Poly1305, which node:crypto does not have. Its expensive half, the key shared with one
 * server, is kept; what is left costs less than one signature.
 *
 * @source ADR-26 of nats-io/nats-architecture-and-design; NaCl `crypto_box`
 */
export interface Xkey {
  /** 56 characters, beginning with X. */
  readonly publicKey: string;
  /** @returns undefined for whatever `sender` (X…) did not seal for this key */
  open(sealed: Uint8Array, sender: string): Uint8Array | undefined;
  /** @returns undefined when `recipient` is not a public curve key */
  seal(plain: Uint8Array, recipient: string): Uint8Array | undefined;
  /** The private key as text, 58 characters beginning with SX. Only for a file with mode 0600. */
  exportSeed(): string;
}

const CURVE_PREFIX = 23 << 3;
const SEED_PREFIX = 18 << 3;
/** Stands before the nonce. */
const VERSION = Buffer.from("xkv1", "latin1");
const NONCE_BYTES = 24;
const HEAD_BYTES = VERSION.length + NONCE_BYTES;
/** Servers whose shared keys are kept. */
const SHARED_MAX = 1_024;

export function createXkey(): Xkey {
  return xkeyOf(randomBytes(32));
}

/** @returns undefined when it is not a seed of a curve key, or its checksum is wrong */
export function xkeyFromSeed(seed: string): Xkey | undefined {
  const body = seed.length === 58 ? openChecked(seed) : undefined;
  const [first, second] = body ?? [];
  if (body === undefined || first !== (SEED_PREFIX | (CURVE_PREFIX >>> 5))) return undefined;
  return second === (CURVE_PREFIX & 0x1f) << 3 ? xkeyOf(body.subarray(2)) : undefined;
}

export function isPublicXkey(text: string): boolean {
  return rawPublicKeyOf(text) !== undefined;
}

function rawPublicKeyOf(text: string): Uint8Array | undefined {
  const body = text.length === 56 ? openChecked(text) : undefined;
  return body?.[0] === CURVE_PREFIX ? body.subarray(1) : undefined;
}

function xkeyOf(seed: Buffer): Xkey {
  const shared = new Map<string, Uint8Array>();

  function sharedWith(other: string): Uint8Array | undefined {
    const known = shared.get(other);
    if (known) return known;
    const raw = rawPublicKeyOf(other);
    if (!raw) return undefined;
    const key = nacl.box.before(raw, seed);
    setBounded(shared, other, key, SHARED_MAX);
    return key;
  }

  return Object.freeze({
    publicKey: sealChecked(Buffer.concat([Buffer.of(CURVE_PREFIX), nacl.scalarMult.base(seed)])),
    open(sealed: Uint8Array, sender: string) {
      const key = sealed.length > HEAD_BYTES ? sharedWith(sender) : undefined;
      if (!key || !VERSION.equals(sealed.subarray(0, VERSION.length))) return undefined;
      const nonce = sealed.subarray(VERSION.length, HEAD_BYTES);
      return nacl.box.open.after(sealed.subarray(HEAD_BYTES), nonce, key) ?? undefined;
    },
    seal(plain: Uint8Array, recipient: string) {
      const key = sharedWith(recipient);
      if (!key) return undefined;
      const nonce = randomBytes(NONCE_BYTES);
      return Buffer.concat([VERSION, nonce, nacl.box.after(plain, nonce, key)]);
    },
    exportSeed: () =>
      sealChecked(
        Buffer.concat([Buffer.of(SEED_PREFIX | (CURVE_PREFIX >>> 5), (CURVE_PREFIX & 0x1f) << 3), seed]),
      ),
  });
}
