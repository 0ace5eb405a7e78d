import { join } from "node:path";
import { invalid, readSecretFile } from "../keys/secret-file.ts";
import { type ClusterSecret, loadClusterSecret } from "../keys/secrets.ts";
import { parseCreds } from "./creds.ts";
import { ACCOUNT_NAMES, type DirectManifest, KEY_FILES, type KeysManifest } from "./keys-folder.ts";
import { RESTORE, readKeysManifest } from "./keys-manifest.ts";
import { type Nkey, nkeyFromSeed } from "./nkey.ts";
import { GATEWAY_INBOX_PREFIX } from "./own-users.ts";
import { type Xkey, xkeyFromSeed } from "./xkey.ts";

/** The keys of one gateway, the same on all its instances, as `countersign init` wrote them. */
export interface NatsKeys {
  readonly kind: KeysManifest["kind"];
  /** The account whose users the gateway mints: A…, or its name where accounts stand in the server's configuration. */
  readonly account: string;
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
  /** The account direct users are placed in, A… or its name. */
  readonly account: string;
  readonly signingKey: Nkey;
  /** nats-server seals its questions for it; absent where the account does not say so. */
  readonly xkey?: Xkey;
  /** The gateway's own user in that account, which answers. */
  readonly responder: GatewayUser;
}

/** A user of the gateway's own: a key, and a JWT that does not change. */
export interface GatewayUser {
  /** Empty where accounts stand in the server's configuration, which knows the key alone. */
  readonly jwt: string;
  readonly userKey: Nkey;
  /** A…, or its name. */
  readonly account: string;
  /** The only inbox its permissions admit. */
  readonly inboxPrefix: string;
}

const SEED_FILE_BYTES_MAX = 1024;
const CREDS_FILE_BYTES_MAX = 64 * 1024;

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
  const system = await loadOwnUser(directory, manifest, "system");
  const controlPath = pathOf(directory, kind, "control");
  const control = await loadOwnUser(directory, manifest, "control");
  if (control === undefined) {
    throw invalid(controlPath, CONTROL, "there is no such file", kind === "hosted" ? SAVE : RESTORE);
  }
  // What users of one may publish there, the others would take for the services' own.
  if (direct?.account === account) {
    throw invalid(
      manifestPath,
      "the list of the keys",
      "direct users are in the account of all others",
      APART_DIRECT,
    );
  }
  // The record of what users did must be out of reach of the key that makes users.
  if (control.account === account) {
    throw invalid(controlPath, CONTROL, "it is a user of the account whose users the gateway mints", APART);
  }
  return {
    kind,
    account,
    signingKey: await needNkey(join(directory, KEY_FILES.signing), "the gateway's signing key", signingKey),
    ...(proxyKey !== undefined && {
      proxyKey: await needNkey(join(directory, KEY_FILES.proxy), "the proxy key", proxyKey),
    }),
    control,
    ...(system !== undefined && { system }),
    ...(direct && { direct: await loadDirectKeys(directory, manifest, direct) }),
    clusterSecret: await loadClusterSecret(join(directory, KEY_FILES.clusterSecret)),
  };
}

async function loadDirectKeys(
  directory: string,
  manifest: KeysManifest,
  { account, signingKey, xkey }: DirectManifest,
): Promise<DirectKeys> {
  const responderPath = pathOf(directory, manifest.kind, "responder");
  const responder = await loadOwnUser(directory, manifest, "responder");
  if (responder === undefined) throw missing(responderPath, RESPONDER);
  if (manifest.kind !== "callout" && responder.account !== account)
    throw invalid(responderPath, RESPONDER, "it is a user of another account", RESTORE);
  const signing = manifest.kind === "callout" ? KEY_FILES.signing : KEY_FILES.direct;
  return {
    account,
    signingKey: await needNkey(join(directory, signing), "the signing key of WEB", signingKey),
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

const CONTROL = "the gateway's user in CONTROL";
const SYSTEM = "the gateway's user in the system account";
const RESPONDER = "the gateway's user that answers the auth callout";
const SAVE =
  "Save it there: who hosts the cluster makes it. `countersign init`, run again, says what it may.";
const APART_DIRECT = "Give them an account of their own.";
const APART = "Give the gateway a user in an account of its own, from which nothing is exported.";

/** @returns undefined when there is no such file */
async function loadNkey(path: string, what: string, publicKey: string): Promise<Nkey | undefined> {
  const seed = await readSecretFile(path, what, SEED_FILE_BYTES_MAX);
  if (seed === undefined) return undefined;
  const key = nkeyFromSeed(seed);
  if (key === undefined) throw invalid(path, what, "it is not the seed of a NATS key", RESTORE);
  if (key.publicKey !== publicKey) {
    throw invalid(path, what, `it is ${key.publicKey}, and keys.json says ${publicKey}`, RESTORE);
  }
  return key;
}

/** The gateway's own users: where each is kept, and which account each is in where accounts have names. */
const OWN_USERS = {
  control: {
    what: CONTROL,
    creds: KEY_FILES.control,
    key: KEY_FILES.controlKey,
    account: ACCOUNT_NAMES.control,
  },
  system: { what: SYSTEM, creds: KEY_FILES.system, key: KEY_FILES.systemKey, account: ACCOUNT_NAMES.system },
  responder: {
    what: RESPONDER,
    creds: KEY_FILES.callout,
    key: KEY_FILES.calloutKey,
    account: ACCOUNT_NAMES.callout,
  },
} as const;

function pathOf(directory: string, kind: KeysManifest["kind"], user: keyof typeof OWN_USERS): string {
  return join(directory, kind === "callout" ? OWN_USERS[user].key : OWN_USERS[user].creds);
}

/** @returns undefined when there is no such file */
async function loadOwnUser(
  directory: string,
  { kind, accounts }: KeysManifest,
  user: keyof typeof OWN_USERS,
): Promise<GatewayUser | undefined> {
  const path = pathOf(directory, kind, user);
  const { what, account } = OWN_USERS[user];
  if (accounts === undefined) return loadGatewayUser(path, what);
  const userKey = await loadNkey(path, what, accounts.users[user]);
  return userKey && { jwt: "", userKey, account, inboxPrefix: GATEWAY_INBOX_PREFIX };
}

async function loadGatewayUser(path: string, what: string): Promise<GatewayUser | undefined> {
  const text = await readSecretFile(path, what, CREDS_FILE_BYTES_MAX);
  if (text === undefined) return undefined;
  const creds = parseCreds(text);
  if (typeof creds === "string") throw invalid(path, what, creds, RESTORE);
  const { jwt, userKey, claims } = creds;
  if (claims.account === undefined) throw invalid(path, what, "its JWT names no account", RESTORE);
  return { jwt, userKey, account: claims.account, inboxPrefix: GATEWAY_INBOX_PREFIX };
}

async function needNkey(path: string, what: string, publicKey: string): Promise<Nkey> {
  const key = await loadNkey(path, what, publicKey);
  if (key === undefined) throw missing(path, what);
  return key;
}

function missing(path: string, what: string): Error {
  return invalid(path, what, "there is no such file", RESTORE);
}
