import type { NatsKeys } from "../credentials/nats-keys.ts";
import { type Credential, inboxPrefixOf, mintCredential } from "../credentials/user.ts";
import type { Identity } from "../identity/identity.ts";
import type { Grant } from "../policy/grant.ts";
import { permissionsOf, withAcknowledgements } from "../policy/permissions.ts";
import type { Outcome } from "../refusal.ts";
import type { Base } from "./base.ts";
import { CONTROL_LINE_BYTES_MAX, signerOf } from "./from-config.ts";

export type CredentialFor = (identity: Identity, grant: Grant, userPublicKey: string) => Outcome<Credential>;

/**
 * How the credentials of connections through the gateway are minted: for the moment at which it is asked.
 *
 * @param speaker  `gateway`: nobody else speaks on the connection, so that it may receive acknowledgements too
 */
export function createCredentialFor(
  { config, clock }: Base,
  keys: NatsKeys,
  speaker: "gateway" | "client",
): CredentialFor {
  const inboxKey = keys.clusterSecret.subkey("inbox");
  const signer = signerOf(keys.account, keys.signingKey);
  const controlLineBytesMax = CONTROL_LINE_BYTES_MAX[config.nats.mode];
  const { mode, dangerouslyWithoutTrustedProxy } = config.nats;
  const asToken = mode === "callout";

  return function credentialFor(identity, grant, userPublicKey) {
    const inboxPrefix = inboxPrefixOf(inboxKey, identity, grant);
    const granted = permissionsOf(grant, inboxPrefix);
    const permissions = speaker === "gateway" ? withAcknowledgements(granted, inboxPrefix) : granted;
    return mintCredential({
      ...{ identity, grant, permissions, userPublicKey, signer, now: clock(), inboxPrefix },
      ...{ controlLineBytesMax, asToken, dangerouslyWithoutTrustedProxy },
    });
  };
}
