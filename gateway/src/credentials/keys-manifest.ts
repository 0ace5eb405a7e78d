import { join } from "node:path";
import { invalid, readSecretFile } from "../keys/secret-file.ts";
import type { Crossing } from "./crossings.ts";
import {
  ACCOUNT_NAMES,
  type ClusterKind,
  type ConfiguredAccounts,
  type DirectManifest,
  KEY_FILES,
  type KeysManifest,
  type Trust,
} from "./keys-folder.ts";
import { type Nkey, parsePublicNkey } from "./nkey.ts";
import { isPublicXkey } from "./xkey.ts";

/** A manifest holds an operator's and three accounts' JWTs, about 3 kB; those of an extended account are longer. */
const MANIFEST_BYTES_MAX = 1024 * 1024;

export const RESTORE = "Restore the directory, or run `countersign init` for a new one.";

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

function parseManifest(text: string): KeysManifest | undefined {
  const value = parseJsonObject(text);
  if (value === undefined || value.version !== 1) return undefined;
  const { kind, account, signingKey, proxyKey, direct, trust, accounts } = value;
  if (kind !== "operator" && kind !== "callout" && kind !== "hosted") return undefined;
  if (!isAccount(account, kind) || !isNkey(signingKey, "account")) return undefined;
  // Without a proxy key a cluster of one's own would take stolen credentials.
  if ((kind !== "hosted") !== isNkey(proxyKey, "user")) return undefined;
  const parsedTrust = trust === undefined ? undefined : parseTrust(trust);
  if (trust !== undefined && parsedTrust === undefined) return undefined;
  const parsedDirect = direct === undefined ? undefined : parseDirect(direct, kind);
  if (direct !== undefined && parsedDirect === undefined) return undefined;
  const parsedAccounts = accounts === undefined ? undefined : parseAccounts(accounts);
  // The callout lets in everybody there, the gateway too.
  if (kind === "callout" && !(parsedAccounts && parsedDirect)) return undefined;
  return {
    version: 1,
    kind,
    account,
    signingKey,
    ...(isNkey(proxyKey, "user") && { proxyKey }),
    ...(parsedDirect && { direct: parsedDirect }),
    ...(parsedTrust && { trust: parsedTrust }),
    ...(parsedAccounts && { accounts: parsedAccounts }),
  };
}

function parseDirect(value: unknown, kind: ClusterKind): DirectManifest | undefined {
  if (!isObject(value)) return undefined;
  const { account, signingKey, sentinelJwt, xkey } = value;
  if (!isAccount(account, kind) || !isNkey(signingKey, "account")) return undefined;
  if (sentinelJwt !== undefined && typeof sentinelJwt !== "string") return undefined;
  const keys = { account, signingKey, ...(sentinelJwt !== undefined && { sentinelJwt }) };
  if (xkey === undefined) return keys;
  return typeof xkey === "string" && isPublicXkey(xkey) ? { ...keys, xkey } : undefined;
}

function parseTrust(value: unknown): Trust | undefined {
  if (!isObject(value) || !Array.isArray(value.accounts)) return undefined;
  const { operatorJwt, systemAccount } = value;
  if (typeof operatorJwt !== "string" || !isNkey(systemAccount, "account")) return undefined;
  const accounts: Trust["accounts"][number][] = [];
  for (const entry of value.accounts as readonly unknown[]) {
    if (!isObject(entry)) return undefined;
    const { name, publicKey, jwt } = entry;
    if (typeof name !== "string" || !/^[A-Za-z0-9_-]{1,64}$/.test(name)) return undefined;
    if (!isNkey(publicKey, "account") || typeof jwt !== "string") return undefined;
    accounts.push({ name, publicKey, jwt });
  }
  return { operatorJwt, systemAccount, accounts };
}

/** Users can be placed in no account of the gateway's own, and the system account last of all. */
const NOBODYS: ReadonlySet<string> = new Set([
  ACCOUNT_NAMES.system,
  ACCOUNT_NAMES.control,
  ACCOUNT_NAMES.callout,
  "$SYS",
  "$G",
]);

function isAccount(value: unknown, kind: ClusterKind): value is string {
  if (kind !== "callout") return isNkey(value, "account");
  return typeof value === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(value) && !NOBODYS.has(value);
}

function parseAccounts(value: unknown): ConfiguredAccounts | undefined {
  if (!isObject(value) || !isObject(value.users) || !Array.isArray(value.crossings)) return undefined;
  const { system, control, responder, coreAdmin } = value.users;
  if (!isNkey(system, "user") || !isNkey(control, "user")) return undefined;
  if (!isNkey(responder, "user") || !isNkey(coreAdmin, "user")) return undefined;
  // It says what `init` writes into a server's configuration; nothing is decided by it.
  const crossings = value.crossings as readonly Crossing[];
  return { users: { system, control, responder, coreAdmin }, crossings };
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
