import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import {
  createVerifier,
  type PlainMessage,
  payloadDigest,
  type SealDraft,
  type SealedHeaders,
  sealToken,
  sealTree,
  staticKeySet,
  uuidv7,
} from "@countersign/seal";

const BATCHES = [1, 4, 16, 64, 256] as const;
const PAYLOAD = randomBytes(256);
const ISSUER = "https://apps.example.com/bus";
const AUDIENCE = "example.com";
/** A verifier holds 1,024 roots: going round more of them, it never meets one it holds. */
const TREES_BEYOND_CACHE = 2_048;
/** Between looks at the clock. */
const ROUNDS = 64;

/**
 * Seals and verifies messages of 256 bytes on one core, and signs bare ES256 in the same run, for comparison.
 *
 * @param options.seconds  for all parts together
 * @returns per second, and the two ratios that must not fall: sealing against signing, a held root against a new one
 */
export async function run({ seconds }: { readonly seconds: number }): Promise<Record<string, number>> {
  const partMs = (seconds * 1000) / (BATCHES.length + 4);
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = { kid: "bench", privateKey };
  const now = Math.floor(Date.now() / 1000);
  const jwk = {
    ...publicKey.export({ format: "jwk" }),
    kid: key.kid,
    alg: "ES256",
    use: "sig",
    nbf: now,
    exp: now,
  };
  const verify = createVerifier({
    issuer: ISSUER,
    audience: AUDIENCE,
    keys: staticKeySet({ keys: [jwk] }),
    clock: () => now,
  });

  const figures: Record<string, number> = {};
  const signPerSecond = await perSecond(partMs, 1, () => void sign("sha256", PAYLOAD, privateKey));
  figures["bare ES256 signatures/s"] = signPerSecond;
  for (const size of BATCHES) {
    figures[`seals/s, trees of ${size}`] = await perSecond(partMs, size, () => {
      sealTree(key, Array.from({ length: size }, draft), now);
    });
  }
  figures["seals/s, tokens"] = await perSecond(partMs, 1, () => void sealToken(key, draft(), now));

  figures["verifications/s, root held"] = await verificationsPerSecond(
    sealedMessages(64, (drafts) => sealTree(key, drafts, now).seals),
  );
  figures["verifications/s, root new"] = await verificationsPerSecond(
    sealedMessages(TREES_BEYOND_CACHE, (drafts) => drafts.flatMap((one) => sealTree(key, [one], now).seals)),
  );
  figures["ratio: seals in trees of 64 to bare signatures"] =
    (figures["seals/s, trees of 64"] ?? 0) / signPerSecond;
  figures["ratio: verifications with root held to new"] =
    (figures["verifications/s, root held"] ?? 0) / (figures["verifications/s, root new"] ?? 0);
  return figures;

  function verificationsPerSecond(messages: readonly PlainMessage[]): Promise<number> {
    let next = 0;
    return perSecond(partMs, 1, async () => {
      await verify(messages[next++ % messages.length] ?? failed());
    });
  }
}

function draft(): SealDraft {
  const id = uuidv7(Date.now());
  return {
    issuer: ISSUER,
    audience: AUDIENCE,
    workload: "countersign/web-eu1",
    txn: id,
    user: "entra-1b7e4c00-0000-0000-0000-00000000a11c",
    scope: "publish:orders.eu.*.create",
    subject: "orders.eu.4711.create",
    digest: payloadDigest(PAYLOAD),
    id,
    headers: [["Content-Type", "application/json"]],
    requestId: id,
  };
}

function sealedMessages(
  count: number,
  seal: (drafts: readonly SealDraft[]) => readonly SealedHeaders[],
): PlainMessage[] {
  const drafts = Array.from({ length: count }, draft);
  return seal(drafts).map((headers, index) => ({
    subject: drafts[index]?.subject ?? "",
    payload: PAYLOAD,
    headers: [...(drafts[index]?.headers ?? []), ...headers],
  }));
}

/** The first fifth warms up and is not counted. */
async function perSecond(
  partMs: number,
  itemsPerRound: number,
  round: () => void | Promise<void>,
): Promise<number> {
  await repeat(partMs / 5, round);
  const { rounds, ms } = await repeat((partMs * 4) / 5, round);
  return (rounds * itemsPerRound * 1000) / ms;
}

async function repeat(
  forMs: number,
  round: () => void | Promise<void>,
): Promise<{ rounds: number; ms: number }> {
  const start = performance.now();
  let rounds = 0;
  do {
    for (let index = 0; index < ROUNDS; index++) await round();
    rounds += ROUNDS;
  } while (performance.now() - start < forMs);
  return { rounds, ms: performance.now() - start };
}

function failed(): never {
  throw new Error("no message to verify");
}
