import type { EpochSeconds } from "../time.ts";
import { formatCreds } from "./creds.ts";
import { type AccountClaims, type AccountLimits, encodeNatsJwt, type UserClaims } from "./nats-jwt.ts";
import { createNkey, type Nkey } from "./nkey.ts";

export const UNLIMITED: AccountLimits = {
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
export const SYSTEM_LIMITS: AccountLimits = {
  ...UNLIMITED,
  mem_storage: 0,
  disk_storage: 0,
  streams: 0,
  consumer: 0,
};
/** CONTROL keeps the record that judges everybody else: nothing is imported, exported or bridged. */
export const CONTROL_LIMITS: AccountLimits = {
  ...UNLIMITED,
  imports: 0,
  exports: 0,
  leaf: 0,
  mem_storage: 0,
};

export function encodeAccount(
  name: string,
  key: Nkey,
  claims: Omit<AccountClaims, "type">,
  signer: Nkey,
  now: EpochSeconds,
): string {
  return encodeNatsJwt<"account">({
    name,
    subject: key.publicKey,
    signer,
    issuedAt: now,
    claims: { type: "account", ...claims },
  });
}

/** Of whoever comes over TCP, vouched for by the trusted proxy. */
export const OURS = { proxy_required: true, allowed_connection_types: ["STANDARD"] } as const;
export const DENY_ALL = { pub: { deny: [">"] }, sub: { deny: [">"] } } as const;

export function encodeUserJwt(
  name: string,
  user: Nkey,
  account: Nkey,
  claims: Omit<UserClaims, "type" | "subs" | "data" | "payload">,
  now: EpochSeconds,
): string {
  return encodeNatsJwt<"user">({
    name,
    subject: user.publicKey,
    signer: account,
    issuedAt: now,
    claims: { type: "user", subs: -1, data: -1, payload: -1, ...claims },
  });
}

export function userCreds(
  name: string,
  account: Nkey,
  permissions: Pick<UserClaims, "pub" | "sub">,
  proxyRequired: boolean,
  now: EpochSeconds,
): string {
  const user = createNkey("user");
  return formatCreds(
    encodeUserJwt(name, user, account, { ...permissions, ...(proxyRequired && OURS) }, now),
    user,
  );
}
