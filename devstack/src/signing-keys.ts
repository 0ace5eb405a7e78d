import { createPrivateKey, generateKeyPairSync, type JsonWebKey, randomBytes, sign } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/** A private ES256 key (RFC 7517, RFC 7518 §3.4) with its name. */
export interface SigningJwk extends JsonWebKey {
  readonly kid: string;
  readonly alg: "ES256";
  readonly use: "sig";
}

export function createSigningJwk(): SigningJwk {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const kid = randomBytes(8).toString("hex");
  return { ...privateKey.export({ format: "jwk" }), kid, alg: "ES256", use: "sig" };
}

/**
 * Signs whatever it is given (RFC 7515 §3.1): tests need tokens that no provider would issue.
 *
 * @param header  put over `{ alg: "ES256", kid }`
 */
export function signJwt(key: SigningJwk, claims: object, header: object = {}): string {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const input = `${encode({ alg: key.alg, kid: key.kid, ...header })}.${encode(claims)}`;
  const privateKey = createPrivateKey({ key, format: "jwk" });
  const signature = sign("sha256", Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return `${input}.${signature.toString("base64url")}`;
}

/** Reads what `create` once made from a JSON file, readable by its owner only; writes it first when there is none. */
export async function loadOrCreateJson<T extends object>(path: string, create: () => T): Promise<T> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text !== undefined) return JSON.parse(text) as T;
  const value = create();
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(path, JSON.stringify(value), { mode: 0o600 });
  return value;
}
