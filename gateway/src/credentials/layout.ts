import type { EpochSeconds } from "../time.ts";
import { formatCreds } from "./creds.ts";
import { type AccountLimits, encodeNatsJwt, type SubjectLists, type UserClaims } from "./nats-jwt.ts";
import { createNkey, type Nkey } from "./nkey.ts";

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
  /** What a nats-server must be told; absent when the cluster was there before the gateway. */
  readonly trust?: Trust;
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

/**
 * Where replies to the gateway's own users arrive. A prefix of its own, so that another user of the system
 * account who may read this one's replies was given that by name.
 */
export const GATEWAY_INBOX_PREFIX = "_INBOX.countersign";

const UNLIMITED: AccountLimits = {
  subs: -1,
  data: -1,
  payload: -1,
  imports: -1,
  exports: -1,
  wildcards: true,
  conn: -1,
  leaf: -1,
  // A bearer JWT needs no key: in a log or an event it would be a password.
  disallow_bearer: true,
  mem_storage: -1,
  disk_storage: -1,
  streams: -1,
  consumer: -1,
};
/** nats-server refuses a system account that has JetStream. */
const SYSTEM_LIMITS: AccountLimits = {
  ...UNLIMITED,
  mem_storage: 0,
  disk_storage: 0,
  streams: 0,
  consumer: 0,
};
/** CONTROL keeps the record that judges everybody else: nothing is imported, exported or bridged. */
const CONTROL_LIMITS: AccountLimits = { ...UNLIMITED, imports: 0, exports: 0, leaf: 0, mem_storage: 0 };

/** What the gateway's user in CONTROL may do: its buckets, its streams, the audit subject, its own inbox. */
export const CONTROL_PERMISSIONS: { readonly pub: SubjectLists; readonly sub: SubjectLists } = {
  pub: { allow: ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "audit.>"] },
  sub: { allow: [`${GATEWAY_INBOX_PREFIX}.>`] },
};

/**
 * @param accounts  public keys of the accounts whose users the gateway makes
 * @returns what the gateway's user in the system account may do: list connections of those accounts, kick, ask
 *   for the servers' versions
 */
export function systemPermissionsOf(accounts: readonly string[]): { pub: SubjectLists; sub: SubjectLists } {
  return {
    pub: {
      allow: [
        "$SYS.REQ.SERVER.*.KICK",
        "$SYS.REQ.SERVER.PING",
        // Not of all accounts, because a list of connections shows complete user JWTs.
        ...accounts.map((account) => `$SYS.REQ.ACCOUNT.${account}.CONNZ`),
      ],
    },
    sub: { allow: [`${GATEWAY_INBOX_PREFIX}.>`] },
  };
}

/**
 * A cluster of one's own, from nothing: one operator; the accounts SYS, CONTROL (the gateway's state) and CORE
 * (the users it carries, and trusted services). The gateway gets one signing key of CORE and none of CONTROL,
 * so nobody it mints can reach the record.
 *
 * @param clusterSecret  text of `cluster.secret`
 */
export function planNewCluster(now: EpochSeconds, clusterSecret: string): Plan {
  const [operator, operatorSigning] = [createNkey("operator"), createNkey("operator")];
  const [system, control, core] = [createNkey("account"), createNkey("account"), createNkey("account")];
  const [signing, proxy] = [createNkey("account"), createNkey("user")];
  const account = (name: string, key: Nkey, limits: AccountLimits, signingKeys: readonly Nkey[]) => ({
    name,
    publicKey: key.publicKey,
    jwt: encodeAccount({ name, key, limits, signingKeys, signer: operatorSigning, now }),
  });
  const trust: Trust = {
    operatorJwt: encodeNatsJwt<"operator">({
      name: "countersign",
      subject: operator.publicKey,
      signer: operator,
      issuedAt: now,
      claims: {
        type: "operator",
        signing_keys: [operatorSigning.publicKey],
        system_account: system.publicKey,
      },
    }),
    systemAccount: system.publicKey,
    accounts: [
      account("SYS", system, SYSTEM_LIMITS, []),
      account("CONTROL", control, CONTROL_LIMITS, []),
      account("CORE", core, UNLIMITED, [signing]),
    ],
  };
  const admin = userCreds("core-admin", core, { pub: { allow: [">"] }, sub: { allow: [">"] } }, false, now);
  return {
    manifest: manifestOf("operator", core.publicKey, signing, { proxyKey: proxy.publicKey, trust }),
    files: [
      offline(OFFLINE_FILES.operator, "the operator key", operator.exportSeed()),
      offline(OFFLINE_FILES.operatorSigning, "the operator's signing key", operatorSigning.exportSeed()),
      offline(OFFLINE_FILES.systemAccount, "the key of the account SYS", system.exportSeed()),
      offline(OFFLINE_FILES.controlAccount, "the key of the account CONTROL", control.exportSeed()),
      offline(OFFLINE_FILES.coreAccount, "the key of the account CORE", core.exportSeed()),
      offline(OFFLINE_FILES.coreAdmin, "the administrator of the account CORE", admin),
      ...gatewayFiles({ signing, proxy, clusterSecret }),
      keyFile(KEY_FILES.control, "the gateway's user in CONTROL", controlCreds(control, now)),
      keyFile(
        KEY_FILES.system,
        "the gateway's user in the system account",
        userCreds("countersign", system, systemPermissionsOf([core.publicKey]), true, now),
      ),
    ],
  };
}

/**
 * Additions to a cluster whose operator key is somewhere else. CONTROL comes as an account signed by itself,
 * which `nsc import account` signs anew with the operator's key.
 */
export function planExistingCluster(
  accountPublicKey: string,
  now: EpochSeconds,
  clusterSecret: string,
): Plan {
  const [control, signing, proxy] = [createNkey("account"), createNkey("account"), createNkey("user")];
  const controlJwt = encodeAccount({
    name: "CONTROL",
    key: control,
    limits: CONTROL_LIMITS,
    signingKeys: [],
    signer: control,
    now,
  });
  return {
    manifest: manifestOf("operator", accountPublicKey, signing, { proxyKey: proxy.publicKey }),
    files: [
      offline(OFFLINE_FILES.controlAccount, "the key of the account CONTROL", control.exportSeed()),
      offline(OFFLINE_FILES.controlAccountJwt, "the account CONTROL, to be imported", controlJwt),
      ...gatewayFiles({ signing, proxy, clusterSecret }),
      keyFile(KEY_FILES.control, "the gateway's user in CONTROL", controlCreds(control, now)),
    ],
  };
}

/** A cluster whose configuration is somebody else's: only a signing key; the users come from its operator. */
export function planHosted(accountPublicKey: string, clusterSecret: string): Plan {
  const signing = createNkey("account");
  return {
    manifest: manifestOf("hosted", accountPublicKey, signing, {}),
    files: gatewayFiles({ signing, clusterSecret }),
  };
}

function manifestOf(
  kind: KeysManifest["kind"],
  account: string,
  signing: Nkey,
  rest: Pick<KeysManifest, "proxyKey" | "trust">,
): KeysManifest {
  return { version: 1, kind, account, signingKey: signing.publicKey, ...rest };
}

function gatewayFiles(of: {
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

function keyFile(name: string, what: string, text: string): PlannedFile {
  return { place: "keys", name, what, text: `${text.trimEnd()}\n` };
}

function offline(name: string, what: string, text: string): PlannedFile {
  return { place: "offline", name, what, text: `${text.trimEnd()}\n` };
}

function encodeAccount(of: {
  readonly name: string;
  readonly key: Nkey;
  readonly limits: AccountLimits;
  readonly signingKeys: readonly Nkey[];
  readonly signer: Nkey;
  readonly now: EpochSeconds;
}): string {
  return encodeNatsJwt<"account">({
    name: of.name,
    subject: of.key.publicKey,
    signer: of.signer,
    issuedAt: of.now,
    claims: {
      type: "account",
      limits: of.limits,
      ...(of.signingKeys.length > 0 && { signing_keys: of.signingKeys.map((key) => key.publicKey) }),
    },
  });
}

function controlCreds(control: Nkey, now: EpochSeconds): string {
  return userCreds("countersign", control, CONTROL_PERMISSIONS, true, now);
}

function userCreds(
  name: string,
  account: Nkey,
  permissions: Pick<UserClaims, "pub" | "sub">,
  proxyRequired: boolean,
  now: EpochSeconds,
): string {
  const user = createNkey("user");
  const jwt = encodeNatsJwt<"user">({
    name,
    subject: user.publicKey,
    signer: account,
    issuedAt: now,
    claims: {
      type: "user",
      ...permissions,
      subs: -1,
      data: -1,
      payload: -1,
      ...(proxyRequired && { proxy_required: true, allowed_connection_types: ["STANDARD"] as const }),
    },
  });
  return formatCreds(jwt, user);
}
