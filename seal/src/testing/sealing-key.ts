import { generateKeyPairSync, type JsonWebKey } from "node:crypto";
import type { EpochSeconds } from "../claims.ts";
import type { SealingKey } from "../seal.ts";

export interface TestKey {
  readonly key: SealingKey;
  /** Its public half, as a key set has it. */
  readonly jwk: JsonWebKey;
}

/** A key that seals, new each time. */
export function createTestKey(
  kid: string,
  { nbf, exp }: { readonly nbf: EpochSeconds; readonly exp: EpochSeconds },
): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = { ...publicKey.export({ format: "jwk" }), kid, alg: "ES256", use: "sig", nbf, exp };
  return { key: { kid, privateKey }, jwk };
}
