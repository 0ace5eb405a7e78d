import { createPrivateKey } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { EMPTY_RING, publicEcJwkOf, type SealKey, type SealKeyRing, thumbprintOf } from "./ring.ts";
import { invalid, readSecretFile, removeLeftovers, replaceSecretFile } from "./secret-file.ts";

const FILE_NAME = "seal-keys.json";
/** Some 700 bytes a key, and two or three keys. */
const FILE_BYTES_MAX = 64 * 1024;
const WHAT = "the seal keys of this instance";
const REMEDY =
  "Restore it, or remove it: a new key is then made and published, and seals made so far stay verifiable.";

/**
 * Reads the ring from the instance's state directory.
 *
 * On POSIX the file has mode 0600 and is refused when others may read it. On Windows the private keys are NOT
 * encrypted (no DPAPI): what protects them is the access control list the state directory hands down, so give
 * that directory to the service's own account alone.
 *
 * Two processes may share the directory for a while (a recycling application pool): the later save wins, and a
 * key it drops was published before its first use, so nothing sealed with it is lost.
 *
 * @returns an empty ring when there is no file yet
 * @throws GatewayError KEYS_INVALID  readable by others, or not what `saveRing` writes
 */
export async function loadRing(stateDirectory: string): Promise<SealKeyRing> {
  const path = join(stateDirectory, FILE_NAME);
  await removeLeftovers(path);
  const text = await readSecretFile(path, WHAT, FILE_BYTES_MAX);
  if (text === undefined) return EMPTY_RING;
  try {
    return { keys: storedKeysOf(JSON.parse(text)).map(parseSealKey) };
  } catch {
    // The parser's own words could quote a private key, so they go nowhere.
    throw invalid(path, WHAT, "it is not what the gateway writes", REMEDY);
  }
}

/**
 * Writes the ring so that a crash at any moment leaves the old ring or the new one. Fulfils when it is on disk:
 * only then may a key be published, or a restart would forget one that verifiers know.
 */
export async function saveRing(stateDirectory: string, ring: SealKeyRing): Promise<void> {
  await mkdir(stateDirectory, { recursive: true, mode: 0o700 });
  const keys = ring.keys.map(({ privateKey, ...facts }) => ({
    ...facts,
    privateKey: privateKey.export({ format: "der", type: "pkcs8" }).toString("base64"),
  }));
  await replaceSecretFile(
    join(stateDirectory, FILE_NAME),
    `${JSON.stringify({ version: 1, keys }, null, 2)}\n`,
  );
}

function storedKeysOf(value: unknown): readonly unknown[] {
  const { version, keys } = objectOf(value);
  if (version !== 1 || !Array.isArray(keys)) throw new TypeError("another version");
  return keys;
}

function parseSealKey(value: unknown): SealKey {
  const { privateKey: encoded, publicJwk, createdAt, publishedAt, retireAt, expiresAt } = objectOf(value);
  if (typeof encoded !== "string") throw new TypeError("no private key");
  const privateKey = createPrivateKey({ key: Buffer.from(encoded, "base64"), format: "der", type: "pkcs8" });
  // The public half is computed, not believed: what is published must fit what signs.
  const jwk = publicEcJwkOf(privateKey);
  const kid = thumbprintOf(jwk);
  const { nbf } = objectOf(publicJwk);
  return {
    kid,
    privateKey,
    publicJwk: { ...jwk, kid, alg: "ES256", use: "sig", nbf: secondsOf(nbf), exp: secondsOf(retireAt) },
    createdAt: secondsOf(createdAt),
    ...(publishedAt !== undefined && { publishedAt: secondsOf(publishedAt) }),
    retireAt: secondsOf(retireAt),
    expiresAt: secondsOf(expiresAt),
  };
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) throw new TypeError("no object");
  return value as Readonly<Record<string, unknown>>;
}

function secondsOf(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new TypeError("no time");
  return value;
}
