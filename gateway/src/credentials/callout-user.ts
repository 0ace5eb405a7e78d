import type { Identity } from "../identity/identity.ts";
import type { Grant, NatsPermissions } from "../policy/grant.ts";
import { allowed, type Outcome } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { type AccountSigner, encodeNatsJwt } from "./nats-jwt.ts";
import { expiryOf, permissionClaimsOf, tagsOf } from "./user.ts";

/** The user that a callout makes of a connection. */
export interface CalloutUser {
  readonly jwt: string;
  /** Whole seconds; nats-server closes the connection then. */
  readonly expiresAt: EpochSeconds;
}

/**
 * Mints the user JWT of a callout's answer. Of what such a JWT may say, nats-server does not enforce connection types,
 * source addresses, and limits of subscriptions and payload: none of these is said, since it would not be true.
 *
 * @param name       shown by nats-server as the connection's `authorized_user`, and all of this that is shown
 * @param placement  the account's name, where accounts stand in the server's configuration; otherwise the signer's
 * @returns `proof_expired` when there is not one whole second left
 */
export function mintCalloutUser({
  identity,
  grant,
  permissions,
  name,
  userNkey,
  signer: { signingKey, accountPublicKey },
  placement,
  now,
}: {
  readonly identity: Identity;
  readonly grant: Grant;
  readonly permissions: NatsPermissions;
  readonly name: string;
  readonly userNkey: string;
  readonly signer: AccountSigner;
  readonly placement?: string;
  readonly now: EpochSeconds;
}): Outcome<CalloutUser> {
  const expiry = expiryOf(identity, grant, now);
  if (!expiry.ok) return expiry;
  const jwt = encodeNatsJwt<"user">({
    name,
    subject: userNkey,
    ...(placement !== undefined && { audience: placement }),
    signer: signingKey,
    issuedAt: now,
    expiresAt: expiry.value,
    claims: {
      type: "user",
      ...(accountPublicKey !== undefined && { issuer_account: accountPublicKey }),
      ...permissionClaimsOf(permissions),
      tags: tagsOf(identity),
    },
  });
  return allowed({ jwt, expiresAt: expiry.value });
}
