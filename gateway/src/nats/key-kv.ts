import type { PublicKeyDirectory, SealPublicJwk } from "../keys/directory.ts";
import type { Control } from "./control.ts";
import { readKey, writeKey } from "./kv-write.ts";

const KID = /^[A-Za-z0-9_-]{43}$/;
const COORDINATE = /^[A-Za-z0-9_-]{43}$/;
/** Thirty instances, a key a month each, for a century. */
const KEYS_MAX = 36_000;
/** Reads at once while listing: the first listing of a long history must not take minutes, nor flood NATS. */
const READS_AT_ONCE = 16;

/** The public seal keys of all instances in CONTROL. A key never changes, so what was read once is kept. */
export function createKeyKv(control: Control): PublicKeyDirectory {
  const known = new Map<string, SealPublicJwk>();

  async function read(kid: string): Promise<SealPublicJwk | undefined> {
    const { value } = await readKey(control, "keys", kid);
    const jwk = value === undefined ? undefined : parseStored(value, kid);
    if (jwk) known.set(kid, jwk);
    return jwk;
  }

  return {
    async publish(jwk, instance) {
      if (!KID.test(jwk.kid)) throw new Error("a seal key's kid is an RFC 7638 thumbprint");
      const value = JSON.stringify({ jwk, instance });
      const revision = await writeKey(control, { bucket: "keys", key: jwk.kid, value, replaces: 0 });
      const stored = await read(jwk.kid);
      if (revision === undefined && !(stored && isSame(stored, jwk)))
        throw new Error(`another key is published as ${jwk.kid}`);
      if (!stored) throw new Error(`the key ${jwk.kid} is not what was published`);
    },

    async all() {
      const kids: string[] = [];
      const found = await control.manager.streams.info("KV_keys", { subjects_filter: "$KV.keys.*" });
      for (const subject of Object.keys(found.state.subjects ?? {}))
        kids.push(subject.slice("$KV.keys.".length));
      if (kids.length > KEYS_MAX) throw new Error(`there are more than ${KEYS_MAX} public seal keys`);
      const unread = kids.filter((kid) => KID.test(kid) && !known.has(kid));
      for (let at = 0; at < unread.length; at += READS_AT_ONCE)
        await Promise.all(unread.slice(at, at + READS_AT_ONCE).map(read));
      return kids.flatMap((kid) => known.get(kid) ?? []);
    },

    async get(kid) {
      if (!KID.test(kid)) return undefined;
      return known.get(kid) ?? read(kid);
    },
  };
}

function isSame(left: SealPublicJwk, right: SealPublicJwk): boolean {
  return left.x === right.x && left.y === right.y && left.nbf === right.nbf && left.exp === right.exp;
}

/** Takes no member it does not know: what is served to verifiers is exactly a public key. */
function parseStored(text: string, kid: string): SealPublicJwk | undefined {
  const jwk = jwkOf(text);
  if (!jwk || jwk.kid !== kid || jwk.kty !== "EC" || jwk.crv !== "P-256") return undefined;
  const { x, y, nbf, exp } = jwk;
  if (typeof x !== "string" || typeof y !== "string" || !COORDINATE.test(x) || !COORDINATE.test(y))
    return undefined;
  if (typeof nbf !== "number" || typeof exp !== "number" || !Number.isFinite(nbf) || !Number.isFinite(exp))
    return undefined;
  return { kty: "EC", crv: "P-256", x, y, kid, alg: "ES256", use: "sig", nbf, exp };
}

function jwkOf(text: string): Partial<Record<keyof SealPublicJwk, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("jwk" in value)) return undefined;
    return typeof value.jwk === "object" && value.jwk !== null ? value.jwk : undefined;
  } catch {
    return undefined;
  }
}
