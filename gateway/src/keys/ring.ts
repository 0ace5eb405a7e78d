import { createHash, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import type { EpochSeconds } from "../time.ts";
import type { SealPublicJwk } from "./directory.ts";

/** A key that seals, from its making to its end. It never leaves the instance that made it. */
export interface SealKey {
  readonly kid: string;
  /** EC P-256. */
  readonly privateKey: KeyObject;
  /** Its `nbf` and `exp` are fixed when it is made, so what verifiers hold never changes. */
  readonly publicJwk: SealPublicJwk;
  readonly createdAt: EpochSeconds;
  /** When it was first known to stand in the directory; absent = it may not seal. */
  readonly publishedAt?: EpochSeconds;
  /** Last use: the JWK's `exp`. */
  readonly retireAt: EpochSeconds;
  /** From then on no seal made with it is fresh, and the private half is dropped. */
  readonly expiresAt: EpochSeconds;
}

/** The seal keys of one instance, oldest first. A value: every change makes another. */
export interface SealKeyRing {
  readonly keys: readonly SealKey[];
}

/** Makes a key pair; a parameter, so that years of rotation need no cryptography. */
export type MintSealKey = () => { readonly privateKey: KeyObject; readonly jwk: PublicEcJwk };

export type PublicEcJwk = Pick<SealPublicJwk, "kty" | "crv" | "x" | "y">;

export interface RotationOptions {
  /** How long one key seals before the next takes over, seconds, more than 0. Default 30 days. */
  readonly useSeconds?: number;
}

export const EMPTY_RING: SealKeyRing = { keys: [] };

const DAY_SECONDS = 86_400;
/** Long enough for every verifier that refreshes its key set once a day to know a key before its first seal. */
export const PUBLISH_AHEAD_SECONDS: number = DAY_SECONDS;
/** A key may seal this much longer than planned, while its successor cannot be published. */
const GRACE_SECONDS = 7 * DAY_SECONDS;
/** An instance's clock may be set back this far without its only key becoming too young. */
const CLOCK_SET_BACK_SECONDS = 300;
/** A seal lives 60 s, and verifiers allow for clocks 5 s apart (docs of the seal package). */
const SEAL_LIFE_SECONDS = 65;
const DEFAULT_USE_SECONDS = 30 * DAY_SECONDS;

/** Makes an ECDSA P-256 key pair (ES256, RFC 7518 §3.4). */
export function mintSealKey(): ReturnType<MintSealKey> {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { privateKey, jwk: publicEcJwkOf(privateKey) };
}

/** @returns the public half of an EC P-256 key; throws for any other key */
export function publicEcJwkOf(privateKey: KeyObject): PublicEcJwk {
  const { kty, crv, x, y } = createPublicKey(privateKey).export({ format: "jwk" });
  if (kty !== "EC" || crv !== "P-256" || x === undefined || y === undefined) {
    throw new TypeError(`a seal key must be EC P-256, found ${kty} ${crv}`);
  }
  return { kty, crv, x, y };
}

/**
 * One step of rotation, to be taken at start and at least once a day: drops keys that are over, and makes the
 * next one a day before the last planned use of the newest. Taking it again at the same time changes nothing.
 *
 * @returns the same ring when nothing was due
 */
export function rotate(
  ring: SealKeyRing,
  now: EpochSeconds,
  mint: MintSealKey,
  { useSeconds = DEFAULT_USE_SECONDS }: RotationOptions = {},
): SealKeyRing {
  const kept = ring.keys.filter((key) => key.expiresAt > now);
  // A key from the future (the clock was wrong when it was made) must not keep one from being made now.
  const newest = kept.findLast(({ publicJwk }) => publicJwk.nbf <= now);
  const plannedEnd = newest === undefined ? now : newest.retireAt - GRACE_SECONDS;
  const due = plannedEnd - PUBLISH_AHEAD_SECONDS <= now;
  if (due) return { keys: [...kept, newSealKey(now, mint, useSeconds)] };
  return kept.length === ring.keys.length ? ring : { keys: kept };
}

/** The keys that the directory does not have yet, as far as this ring knows. */
export function unpublished(ring: SealKeyRing): readonly SealKey[] {
  return ring.keys.filter((key) => key.publishedAt === undefined);
}

/** Notes that a key stands in the directory. Noting it again changes nothing. */
export function published(ring: SealKeyRing, kid: string, now: EpochSeconds): SealKeyRing {
  return {
    keys: ring.keys.map((key) =>
      key.kid === kid && key.publishedAt === undefined ? { ...key, publishedAt: now } : key,
    ),
  };
}

/**
 * The key to seal with: the newest that has been published for a day. Where there is none (the first key ever, a
 * long outage) the one published longest, since waiting would seal nothing at all, and a verifier that meets it
 * asks for the kid it does not know.
 *
 * @returns undefined when none is published, or all are retired: nothing can be sealed
 */
export function current(ring: SealKeyRing, now: EpochSeconds): SealKey | undefined {
  const usable = ring.keys.filter(
    ({ publishedAt, publicJwk }) => publishedAt !== undefined && publicJwk.nbf <= now && now < publicJwk.exp,
  );
  return usable.findLast((key) => wellKnown(key, now)) ?? usable[0];
}

function wellKnown({ publishedAt }: SealKey, now: EpochSeconds): boolean {
  return publishedAt !== undefined && publishedAt + PUBLISH_AHEAD_SECONDS <= now;
}

/**
 * The `kid` of a key: its thumbprint.
 *
 * @source RFC 7638 §3.2: the required members of an EC key in lexicographic order, without white space
 */
export function thumbprintOf({ crv, kty, x, y }: PublicEcJwk): string {
  return createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");
}

function newSealKey(now: EpochSeconds, mint: MintSealKey, useSeconds: number): SealKey {
  const { privateKey, jwk } = mint();
  const kid = thumbprintOf(jwk);
  const createdAt = Math.floor(now);
  const retireAt = createdAt + PUBLISH_AHEAD_SECONDS + useSeconds + GRACE_SECONDS;
  const nbf = createdAt - CLOCK_SET_BACK_SECONDS;
  return {
    kid,
    privateKey,
    publicJwk: { ...jwk, kid, alg: "ES256", use: "sig", nbf, exp: retireAt },
    createdAt,
    retireAt,
    expiresAt: retireAt + SEAL_LIFE_SECONDS,
  };
}
