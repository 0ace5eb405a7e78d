import type { Crossing } from "./crossings.ts";
import type { Nkey } from "./nkey.ts";

/** Names of the files in the directory that the configuration calls `nats.keys`. */
export const KEY_FILES = {
  /** What the others are, without secrets; written last, so it says that all are there. */
  manifest: "keys.json",
  /** Signing key of the account whose users the gateway mints. */
  signing: "signing.nk",
  /** The trusted proxy (ADR-55). */
  proxy: "proxy.nk",
  clusterSecret: "cluster.secret",
  /** The gateway's own user in the account CONTROL. */
  control: "control.creds",
  /** The gateway's user in the system account; may be absent. */
  system: "system.creds",
  /** Signing key of the account of direct users. */
  direct: "direct.nk",
  /** The gateway's user that answers the auth callout, in the account of direct users. */
  callout: "callout.creds",
  /** Curve key that nats-server seals its questions for. */
  calloutXkey: "callout.xk",
  /** With kind `callout` the gateway's users have a key and no JWT. */
  controlKey: "control.nk",
  systemKey: "system.nk",
  calloutKey: "callout.nk",
} as const;

/** Names of the files that belong in a safe, not on a server. */
export const OFFLINE_FILES = {
  operator: "operator.nk",
  operatorSigning: "operator-signing.nk",
  systemAccount: "sys-account.nk",
  controlAccount: "control-account.nk",
  controlAccountJwt: "control-account.jwt",
  coreAccount: "core-account.nk",
  coreAdmin: "core-admin.creds",
  coreAdminKey: "core-admin.nk",
  webAccount: "web-account.nk",
  webAccountJwt: "web-account.jwt",
} as const;

/** What `keys.json` holds: public keys and JWTs only. */
export interface KeysManifest {
  readonly version: 1;
  readonly kind: ClusterKind;
  /** The account whose users the gateway mints: CORE. A…, or its name with kind `callout`. */
  readonly account: string;
  /** Public half of `signing.nk`, A…; with kind `callout` the issuer of all that the callout answers. */
  readonly signingKey: string;
  /** Public half of `proxy.nk`, U…; absent on a hosted cluster. */
  readonly proxyKey?: string;
  /** The account of clients that connect by themselves; absent where there is none. */
  readonly direct?: DirectManifest;
  /** What a nats-server must be told; absent when the cluster was there before the gateway. */
  readonly trust?: Trust;
  /** The same with kind `callout`. */
  readonly accounts?: ConfiguredAccounts;
}

/** What stands in a nats-server's configuration in place of a chain of trust: the users it knows, by key. */
export interface ConfiguredAccounts {
  /** Public keys, U…. */
  readonly users: Readonly<Record<"system" | "control" | "responder" | "coreAdmin", string>>;
  readonly crossings: readonly Crossing[];
}

/** Names of accounts with kind `callout`. No user is ever placed in the first three. */
export const ACCOUNT_NAMES = {
  system: "SYS",
  control: "CONTROL",
  callout: "AUTH",
  core: "CORE",
  web: "WEB",
} as const;

/**
 * Whose a cluster's accounts are: `operator`, JWTs of an operator that is ours; `callout`, the server's configuration,
 * which is ours; `hosted`, somebody else's.
 */
export type ClusterKind = "operator" | "callout" | "hosted";

export interface DirectManifest {
  /** The account direct users are placed in: WEB. A…, or its name with kind `callout`. */
  readonly account: string;
  /** Public half of `direct.nk`, A…. */
  readonly signingKey: string;
  /** A user of that account who may do nothing: what a client that shows no JWT is taken for until it is judged. */
  readonly sentinelJwt?: string;
  /** Public half of `callout.xk`, X…; absent where the account does not seal its questions. */
  readonly xkey?: string;
}

/** The chain of trust a nats-server starts from. Nothing secret. */
export interface Trust {
  readonly operatorJwt: string;
  /** Public key of the system account, A…. */
  readonly systemAccount: string;
  readonly accounts: readonly { readonly name: string; readonly publicKey: string; readonly jwt: string }[];
}

/** A file to be created: never replaced. */
export interface PlannedFile {
  readonly place: "keys" | "offline";
  readonly name: string;
  /** For messages: "the proxy key". */
  readonly what: string;
  readonly text: string;
}

export interface Plan {
  readonly manifest: KeysManifest;
  /** In the order they are written; the manifest is not among them and comes last. */
  readonly files: readonly PlannedFile[];
}

export function keyFile(name: string, what: string, text: string): PlannedFile {
  return { place: "keys", name, what, text: `${text.trimEnd()}\n` };
}

export function offlineFile(name: string, what: string, text: string): PlannedFile {
  return { place: "offline", name, what, text: `${text.trimEnd()}\n` };
}

export function gatewayFiles(of: {
  readonly signing: Nkey;
  readonly proxy?: Nkey;
  readonly clusterSecret: string;
}): readonly PlannedFile[] {
  return [
    keyFile(KEY_FILES.signing, "the gateway's signing key", of.signing.exportSeed()),
    ...(of.proxy ? [keyFile(KEY_FILES.proxy, "the proxy key", of.proxy.exportSeed())] : []),
    keyFile(KEY_FILES.clusterSecret, "the cluster secret", of.clusterSecret),
  ];
}
