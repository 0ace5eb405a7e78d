import { join } from "node:path";
import { invalid, readSecretFile } from "../keys/secret-file.ts";
import { type ClusterSecret, loadClusterSecret } from "../keys/secrets.ts";
import { parseCreds } from "./creds.ts";
import { type DirectManifest, KEY_FILES, type KeysManifest, type Trust } from "./keys-folder.ts";
import { type Nkey, nkeyFromSeed, parsePublicNkey } from "./nkey.ts";
import { GATEWAY_INBOX_PREFIX } from "./own-users.ts";
import { isPublicXkey, type Xkey, xkeyFromSeed } from "./xkey.ts";

/** The keys of one gateway, the same on all its instances, as `countersign init` wrote them. */
export interface NatsKeys {
  readonly kind: KeysManifest["kind"];
  /** The account whose users the gateway mints, A…. */
  readonly accountPublicKey: string;
  readonly signingKey: Nkey;
  /** Vouches for the gateway's connections; absent on a hosted cluster, which trusts no proxy of ours. */
  readonly proxyKey?: Nkey;
  /** The gateway's own user in CONTROL. */
  readonly control: GatewayUser;
  /** The gateway's user in the system account; absent: no kick, no check of every server's version. */
  readonly system?: GatewayUser;
  /** What the auth callout needs; absent where no client connects by itself. */
  readonly direct?: DirectKeys;
  readonly clusterSecret: ClusterSecret;
}

export interface DirectKeys {
  /** The account direct users are placed in, A…. */
  readonly accountPublicKey: string;
  readonly signingKey: Nkey;
  /** nats-server seals its questions for it; absent where the account does not say so. */
  readonly xkey?: Xkey;
  /** The gateway's own user in that account, which answers. */
  readonly responder: GatewayUser;
}

/** A user of the gateway's own: a JWT that does not change, with its key. */
export interface GatewayUser {
  readonly jwt: string;
  readonly userKey: Nkey;
  /** A…. */
  readonly accountPublicKey: string;
  /** The only inbox its permissions admit. */
  readonly inboxPrefix: string;
}

const SEED_FILE_BYTES_MAX = 1024;
const CREDS_FILE_BYTES_MAX = 64 * 1024;
/** A manifest holds an operator's and three accounts' JWTs, about 3 kB; those of an extended account are longer. */
const MANIFEST_BYTES_MAX = 1024 * 1024;

/**
 * Loads the directory that the configuration calls `nats.keys`.
 *
 * @throws GatewayError KEYS_INVALID  a file is missing, readable by others, damaged, or does not belong to the
 *   others; the message names the file, what is wrong with it, and what to do
 */
export async function loadNatsKeys(directory: string): Promise<NatsKeys> {
  const manifestPath = join(directory, KEY_FILES.manifest);
  const manifest = await readKeysManifest(directory);
  if (manifest === undefined) throw missing(manifestPath, "the list of the keys");
  const { kind, account, signingKey, proxyKey, direct } = manifest;
  const system = await loadGatewayUser(join(directory, KEY_FILES.system), SYSTEM);
  const controlPath = join(directory, KEY_FILES.control);
  const control = await loadGatewayUser(controlPath, CONTROL);
  if (control === undefined) {
    throw invalid(controlPath, CONTROL, "there is no such file", kind === "hosted" ? SAVE : RESTORE);
  }
  // The record of what users did must be out of reach of the key that makes users.
  if (control.accountPublicKey === account) {
    throw invalid(controlPath, CONTROL, "it is a user of the account whose users the gateway mints", APART);
  }
  return {
    kind,
    accountPublicKey: account,
    signingKey: await loadNkey(join(directory, KEY_FILES.signing), "the gateway's signing key", signingKey),
    ...(proxyKey !== undefined && {
      proxyKey: await loadNkey(join(directory, KEY_FILES.proxy), "the proxy key", proxyKey),
    }),
    control,
    ...(system !== undefined && { system }),
    ...(direct && { direct: await loadDirectKeys(directory, direct) }),
    clusterSecret: await loadClusterSecret(join(directory, KEY_FILES.clusterSecret)),
  };
}

async function loadDirectKeys(directory: string, manifest: DirectManifest): Promise<DirectKeys> {
  const { account, signingKey, xkey } = manifest;
  const responderPath = join(directory, KEY_FILES.callout);
  const responder = await loadGatewayUser(responderPath, RESPONDER);
  if (responder === undefined) throw missing(responderPath, RESPONDER);
  if (responder.accountPublicKey !== account)
    throw invalid(responderPath, RESPONDER, "it is a user of another account", RESTORE);
  return {
    accountPublicKey: account,
    signingKey: await loadNkey(join(directory, KEY_FILES.direct), "the signing key of WEB", signingKey),
    ...(xkey !== undefined && { xkey: await loadXkey(join(directory, KEY_FILES.calloutXkey), xkey) }),
    responder,
  };
}

async function loadXkey(path: string, publicKey: string): Promise<Xkey> {
  const what = "the curve key of the auth callout";
  const seed = await readSecretFile(path, what, SEED_FILE_BYTES_MAX);
  if (seed === undefined) throw missing(path, what);
  const key = xkeyFromSeed(seed);
  if (key?.publicKey !== publicKey)
    throw invalid(path, what, "it is not the key that keys.json names", RESTORE);
  return key;
}

/**
 * @returns undefined when the directory has none: `countersign init` has not run, or not to its end
 * @throws GatewayError KEYS_INVALID
 */
export async function readKeysManifest(directory: string): Promise<KeysManifest | undefined> {
  const path = join(directory, KEY_FILES.manifest);
  const text = await readSecretFile(path, "the list of the keys", MANIFEST_BYTES_MAX);
  if (text === undefined) return undefined;
  const manifest = parseManifest(text);
  if (manifest === undefined)
    throw invalid(path, "the list of the keys", "it is not what init writes", RESTORE);
  return manifest;
}

const CONTROL = "the gateway's user in CONTROL";
const SYSTEM = "the gateway's user in the system account";
const RESPONDER = "the gateway's user that answers the auth callout";
const RESTORE = "Restore the directory, or run `countersign init` for a new one.";
const SAVE =
  "Save it there: who hosts the cluster makes it. `countersign init`, run again, says what it may.";
const APART = "Give the gateway a user in an account of its own, from which nothing is exported.";

async function loadNkey(path: string, what: string, publicKey: string): Promise<Nkey> {
  const seed = await readSecretFile(path, what, SEED_FILE_BYTES_MAX);
  if (seed === undefined) throw missing(path, what);
  const key = nkeyFromSeed(seed);
  if (key === undefined) throw invalid(path, what, "it is not the seed of a NATS key", RESTORE);
  if (key.publicKey !== publicKey) {
    throw invalid(path, what, `it is ${key.publicKey}, and keys.json says ${publicKey}`, RESTORE);
  }
  return key;
}

async function loadGatewayUser(path: string, what: string): Promise<GatewayUser | undefined> {
  const text = await readSecretFile(path, what, CREDS_FILE_BYTES_MAX);
  if (text === undefined) return undefined;
  const creds = parseCreds(text);
  if (typeof creds === "string") throw invalid(path, what, creds, RESTORE);
  const { jwt, userKey, claims } = creds;
  if (claims.account === undefined) throw invalid(path, what, "its JWT names no account", RESTORE);
  return { jwt, userKey, accountPublicKey: claims.account, inboxPrefix: GATEWAY_INBOX_PREFIX };
}

function missing(path: string, what: string): Error {
  return invalid(path, what, "there is no such file", RESTORE);
}

function parseManifest(text: string): KeysManifest | undefined {
  const value = parseJsonObject(text);
  if (value === undefined || value.version !== 1) return undefined;
  const { kind, account, signingKey, proxyKey, direct, trust } = value;
  if (kind !== "operator" && kind !== "hosted") return undefined;
  if (!isNkey(account, "account") || !isNkey(signingKey, "account")) return undefined;
  // Without a proxy key an operator's cluster would take stolen credentials.
  if ((kind === "operator") !== isNkey(proxyKey, "user")) return undefined;
  const parsedTrust = trust === undefined ? undefined : parseTrust(trust);
  if (trust !== undefined && parsedTrust === undefined) return undefined;
  const parsedDirect = direct === undefined ? undefined : parseDirect(direct);
  if (direct !== undefined && parsedDirect === undefined) return undefined;
  return {
    version: 1,
    kind,
    account,
    signingKey,
    ...(isNkey(proxyKey, "user") && { proxyKey }),
    ...(parsedDirect && { direct: parsedDirect }),
    ...(parsedTrust && { trust: parsedTrust }),
  };
}

function parseDirect(value: unknown): DirectManifest | undefined {
  if (!isObject(value)) return undefined;
  const { account, signingKey, xkey } = value;
  if (!isNkey(account, "account") || !isNkey(signingKey, "account")) return undefined;
  if (xkey === undefined) return { account, signingKey };
  return typeof xkey === "string" && isPublicXkey(xkey) ? { account, signingKey, xkey } : undefined;
}

function parseTrust(value: unknown): Trust | undefined {
  if (!isObject(value) || !Array.isArray(value.accounts)) return undefined;
  const { operatorJwt, systemAccount, sentinelJwt } = value;
  if (typeof operatorJwt !== "string" || !isNkey(systemAccount, "account")) return undefined;
  if (sentinelJwt !== undefined && typeof sentinelJwt !== "string") return undefined;
  const accounts: Trust["accounts"][number][] = [];
  for (const entry of value.accounts as readonly unknown[]) {
    if (!isObject(entry)) return undefined;
    const { name, publicKey, jwt } = entry;
    if (typeof name !== "string" || !/^[A-Za-z0-9_-]{1,64}$/.test(name)) return undefined;
    if (!isNkey(publicKey, "account") || typeof jwt !== "string") return undefined;
    accounts.push({ name, publicKey, jwt });
  }
  return { operatorJwt, systemAccount, accounts, ...(sentinelJwt !== undefined && { sentinelJwt }) };
}

function isNkey(value: unknown, kind: Nkey["kind"]): value is string {
  return typeof value === "string" && parsePublicNkey(value)?.kind === kind;
}

function parseJsonObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
