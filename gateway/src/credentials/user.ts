import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import type { Identity } from "../identity/identity.ts";
import type { Grant, NatsPermissions } from "../policy/grant.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { encodeBase32 } from "./base32.ts";
import { type AccountSigner, encodeNatsJwt, type SubjectLists, type UserClaims } from "./nats-jwt.ts";

/** What NATS is shown for one identity: a user JWT, worthless without the gateway's proxy key. */
export interface Credential {
  readonly jwt: string;
  /**
   * Where it stands in CONNECT. Where accounts stand in the server's configuration, nats-server drops a `jwt`, and
   * passes a token on to the auth callout.
   */
  readonly shown: { readonly jwt: string } | { readonly auth_token: string };
  /** Whole seconds; nats-server closes the connection then. Never after the Proof, nor after the Grant's `until`. */
  readonly expiresAt: EpochSeconds;
  /** `_INBOX.<32 characters>`: where replies to this identity arrive, and no one else's. */
  readonly inboxPrefix: string;
  /** Upper bound of the CONNECT line it makes, for comparison with the server's `max_control_line`. */
  readonly bytes: number;
}

export interface MintOptions {
  readonly identity: Identity;
  readonly grant: Grant;
  /** Compiled from that grant for that inbox. Each side has an `allow`, or denies `>`. */
  readonly permissions: NatsPermissions;
  /** A fresh user key of the gateway's own, U…; its private half signs the server's nonce. */
  readonly userPublicKey: string;
  readonly signer: AccountSigner;
  readonly now: EpochSeconds;
  readonly inboxPrefix: string;
  /** The server's `max_control_line`; nats-server's default is 4096, `countersign init` writes 1 MB. */
  readonly controlLineBytesMax: number;
  /** For a cluster whose accounts stand in the server's configuration. */
  readonly asToken?: boolean;
  /** For a hosted cluster, which cannot trust a proxy of ours: whoever steals the JWT and its key may use them. */
  readonly dangerouslyWithoutTrustedProxy?: boolean;
}

/**
 * What CONNECT carries besides the JWT, at most: `sig` and `proxy_sig` of 86 characters each, a connection
 * name of up to 256, and 340 for the options as nats.js writes them.
 */
export const CONNECT_OPTIONS_BYTES_MAX: number = 2 * 86 + 256 + 340;

/**
 * Mints the Credential for one identity under one grant.
 *
 * @returns the Credential; `proof_expired` when there is not one whole second left; `credential_too_large` when
 *   the server would close the connection over its CONNECT line, without saying why
 */
export function mintCredential(options: MintOptions): Outcome<Credential> {
  const { identity, grant, now, inboxPrefix, controlLineBytesMax } = options;
  const expiry = expiryOf(identity, grant, now);
  if (!expiry.ok) return expiry;
  const expiresAt = expiry.value;
  const jwt = encodeUser(options, expiresAt);
  const bytes = jwt.length + CONNECT_OPTIONS_BYTES_MAX;
  return bytes > controlLineBytesMax
    ? refused({ reason: "credential_too_large", bytes, bytesMax: controlLineBytesMax })
    : allowed({
        jwt,
        shown: options.asToken ? { auth_token: jwt } : { jwt },
        expiresAt,
        inboxPrefix,
        bytes,
      });
}

/**
 * When whatever is made for this identity under this grant ends, in whole seconds: with the proof at the latest.
 *
 * @returns `proof_expired` when there is not one whole second left
 */
export function expiryOf(identity: Identity, grant: Grant, now: EpochSeconds): Outcome<EpochSeconds> {
  const { limits, until = Number.POSITIVE_INFINITY } = grant;
  const expiresAt = Math.floor(Math.min(identity.expiresAt, now + limits.credentialSeconds, until));
  // nats-server accepts a JWT in the very second it expires, so one that is over must not be made at all.
  return expiresAt > now
    ? allowed(expiresAt)
    : refused({ reason: "proof_expired", expiredAt: expiresAt, now });
}

/** Events and connz show tags, whereas their name_tag has been the account's since nats-server 2.11. */
export function tagsOf({ user, actor }: Identity): readonly string[] {
  return [`user:${user}`, ...(actor ? [`actor:${actor.user}`] : [])];
}

/**
 * Where replies to this identity arrive: the same on every instance and in every renewal, as long as the grant
 * is the same, and not to be guessed without the cluster secret's subkey.
 *
 * @param inboxKey  the subkey `inbox` of the cluster secret
 */
export function inboxPrefixOf(inboxKey: Uint8Array, identity: Identity, grant: Grant): string {
  const of = JSON.stringify([identity.user, identity.actor?.user ?? "", grant.hash]);
  return `_INBOX.${encodeBase32(createHmac("sha256", inboxKey).update(of).digest().subarray(0, 20))}`;
}

function encodeUser(
  { identity, permissions, signer, userPublicKey, now, dangerouslyWithoutTrustedProxy }: MintOptions,
  expiresAt: EpochSeconds,
): string {
  return encodeNatsJwt<"user">({
    name: identity.user,
    subject: userPublicKey,
    signer: signer.signingKey,
    issuedAt: now,
    expiresAt,
    claims: {
      type: "user",
      ...(signer.accountPublicKey !== undefined && { issuer_account: signer.accountPublicKey }),
      ...permissionClaimsOf(permissions),
      proxy_required: dangerouslyWithoutTrustedProxy !== true,
      // The gateway connects over TCP; a leaf node or a WebSocket with this JWT is somebody else.
      allowed_connection_types: ["STANDARD"],
      tags: tagsOf(identity),
    },
  });
}

/** Permissions as a user JWT carries them; the limits that NATS reads as 0 when they are absent are none. */
export function permissionClaimsOf({
  pub,
  sub,
  resp,
}: NatsPermissions): Pick<UserClaims, "pub" | "sub" | "resp" | "subs" | "data" | "payload"> {
  return {
    pub: limiting("pub", pub),
    sub: limiting("sub", sub),
    ...(resp === undefined ? {} : { resp: { max: resp.max, ttl: resp.ttlNanoseconds } }),
    subs: -1,
    data: -1,
    payload: -1,
  };
}

/** NATS reads an absent or empty `allow` as everything, so a side without one must deny everything. */
function limiting(side: "pub" | "sub", { allow, deny }: SubjectLists): SubjectLists {
  const limits = allow === undefined ? deny?.includes(">") === true : allow.length > 0;
  assert(limits, `permissions.${side} must allow at least one subject or deny ">"`);
  return { ...(allow && { allow }), ...(deny && { deny }) };
}
