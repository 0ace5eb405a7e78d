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
  webAccount: "web-account.nk",
} as const;

/** What `keys.json` holds: public keys and JWTs only. */
export interface KeysManifest {
  readonly version: 1;
  readonly kind: "operator" | "hosted";
  /** The account whose users the gateway mints, A…: CORE. */
  readonly account: string;
  /** Public half of `signing.nk`, A…. */
  readonly signingKey: string;
  /** Public half of `proxy.nk`, U…; absent on a hosted cluster. */
  readonly proxyKey?: string;
  /** The account of clients that connect by themselves; absent where there is none. */
  readonly direct?: DirectManifest;
  /** What a nats-server must be told; absent when the cluster was there before the gateway. */
  readonly trust?: Trust;
}

export interface DirectManifest {
  /** The account direct users are placed in, A…: WEB. */
  readonly account: string;
  /** Public half of `direct.nk`, A…. */
  readonly signingKey: string;
  /** Public half of `callout.xk`, X…; absent where the account does not seal its questions. */
  readonly xkey?: string;
}

/** The chain of trust a nats-server starts from. Nothing secret. */
export interface Trust {
  readonly operatorJwt: string;
  /** Public key of the system account, A…. */
  readonly systemAccount: string;
  readonly accounts: readonly { readonly name: string; readonly publicKey: string; readonly jwt: string }[];
  /** A user of WEB that may do nothing: what a client without a credential is taken for until the callout judges. */
  readonly sentinelJwt?: string;
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
