import { hash } from "node:crypto";
import { decodeBase64url, isBase64urlOf32Bytes } from "./base64url.ts";
import { setBounded } from "./bounded-map.ts";
import type { KeySet } from "./cached-keys.ts";
import { type EpochSeconds, parseClaims, type SealClaims } from "./claims.ts";
import type { SealPublicKey } from "./jwks.ts";
import { checkSignature, type Jws, type JwsType, parseJws } from "./jws.ts";
import type { SealHeaderValues } from "./received.ts";
import { TREE_LEAVES_MAX } from "./seal.ts";
import { SealError } from "./seal-error.ts";
import { parseStrictJson } from "./strict-json.ts";
import { leafOf, rootFromPath } from "./tree.ts";

/** Claims that a key of the set vouches for; what they say is not yet compared with the message. */
export interface Opened {
  readonly claims: SealClaims;
  readonly key: SealPublicKey;
}

/** What the signature of a tree covers. */
interface Root {
  readonly iss: string;
  readonly aud: string;
  readonly iat: EpochSeconds;
  readonly exp: EpochSeconds;
  /** Leaves. */
  readonly n: number;
  readonly root: string;
}

interface CachedRoot {
  readonly root: Root;
  readonly key: SealPublicKey;
}

/** Roots whose signature was verified: a reader takes many messages of one tree, and a signature costs 70 µs. */
const ROOTS_MAX = 1_024;
const ROOT_BOUNDS = { bytesMax: 2_048, depthMax: 1 };
const ROOT_MEMBERS = ["iss", "aud", "iat", "exp", "n", "root"];

/**
 * @returns a function that opens a seal, with a cache of its own
 * @throws (the function) SealError, from `encoding_invalid` to `claims_mismatch` in the order of the codes
 */
export function createOpen(keys: KeySet): (seal: SealHeaderValues, now: EpochSeconds) => Promise<Opened> {
  const roots = new Map<string, CachedRoot>();

  async function openToken(token: string, now: EpochSeconds): Promise<Opened> {
    const { jws, key } = await verifyJws(token, "txntoken+jwt", now);
    return { claims: parseClaims(jws.payload), key };
  }

  async function openTree(
    seal: SealHeaderValues & { readonly form: "tree" },
    now: EpochSeconds,
  ): Promise<Opened> {
    const { root, key } = await openRoot(seal.root, now);
    const bytes = decodeBase64url(seal.claims);
    if (!bytes) throw new SealError("encoding_invalid", "Seal-Claims is not base64url");
    const claims = parseClaims(bytes);
    checkPath(bytes.toString("utf8"), seal.path, root);
    const { iss, aud, iat, exp } = root;
    if (iss !== claims.iss || aud !== claims.aud || iat !== claims.iat || exp !== claims.exp) {
      throw new SealError("claims_mismatch", "The claims disagree with the root of their tree");
    }
    return { claims, key };
  }

  /** The key is looked up every time, so that a revocation counts for roots that are held too. */
  async function openRoot(text: string, now: EpochSeconds): Promise<{ root: Root; key: SealPublicKey }> {
    const name = hash("sha256", text, "base64url");
    const held = roots.get(name);
    if (held) {
      const key = await keyOf(held.key.kid, now);
      if (key.key === held.key.key || key.key.equals(held.key.key)) return { root: held.root, key };
    }
    const { jws, key } = await verifyJws(text, "seal-root+jwt", now);
    const root = parseRoot(jws.payload);
    setBounded(roots, name, { root, key }, ROOTS_MAX);
    return { root, key };
  }

  async function verifyJws(
    text: string,
    typ: JwsType,
    now: EpochSeconds,
  ): Promise<{ jws: Jws; key: SealPublicKey }> {
    const jws = parseJws(text, typ);
    const key = await keyOf(jws.kid, now);
    checkSignature(jws, key.key);
    return { jws, key };
  }

  async function keyOf(kid: string, now: EpochSeconds): Promise<SealPublicKey> {
    const key = await keys.get(kid, now).catch((cause: unknown) => {
      throw new SealError("keys_unavailable", "The key set cannot be read now", { cause });
    });
    if (!key) throw new SealError("kid_unknown", "The key set has no key of that kid");
    if (key.revoked) throw new SealError("key_revoked", "The key that sealed it was withdrawn");
    return key;
  }

  return (seal, now) => (seal.form === "token" ? openToken(seal.token, now) : openTree(seal, now));
}

function parseRoot(payload: Buffer): Root {
  const parsed = parseStrictJson(payload, ROOT_BOUNDS);
  if (parsed === undefined) throw new SealError("encoding_invalid", "The root is not strict JSON");
  const members: Readonly<Record<string, unknown>> = Object(parsed);
  const { iss, aud, iat, exp, n, root } = members;
  const isComplete =
    Object.keys(members).length === ROOT_MEMBERS.length &&
    typeof iss === "string" &&
    typeof aud === "string" &&
    typeof iat === "number" &&
    typeof exp === "number" &&
    typeof n === "number" &&
    Number.isInteger(n) &&
    n >= 1 &&
    n <= TREE_LEAVES_MAX &&
    typeof root === "string" &&
    isBase64urlOf32Bytes(root);
  if (!isComplete) throw new SealError("root_invalid", `The root is not exactly ${ROOT_MEMBERS.join(", ")}`);
  return { iss, aud, iat, exp, n, root };
}

/** `Seal-Path`: the index of the leaf, then the sibling hashes from the leaf up, with dots between. */
function checkPath(claims: string, text: string, { n, root }: Root): void {
  const [first = "", ...path] = text.split(".");
  const index = Number(first);
  if (!/^(?:0|[1-9][0-9]{0,5})$/.test(first) || index >= n || !path.every(isBase64urlOf32Bytes)) {
    throw new SealError("path_invalid", "Seal-Path is not an index below n and base64url hashes");
  }
  const reached = rootFromPath(leafOf(claims), { index, size: n, path });
  if (reached === undefined)
    throw new SealError("path_invalid", "Seal-Path is not as long as the tree is high");
  if (reached !== root)
    throw new SealError("root_mismatch", "Seal-Path does not lead from the claims to the root");
}
