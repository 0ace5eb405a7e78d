import { createNkey, type Nkey } from "../../credentials/nkey.ts";
import type { Credential } from "../../credentials/user.ts";
import { GatewayError } from "../../errors.ts";
import { holderOf, type Identity } from "../../identity/identity.ts";
import type { Grant } from "../../policy/grant.ts";
import { allowed, type Outcome, refused } from "../../refusal.ts";
import { CONNECTION_NAME_CHARACTERS_MAX, createTurnstile, DIALS_AT_ONCE } from "../identity-dial.ts";
import type { ConnectOptions } from "./connect-options.ts";
import type { NativeDial } from "./dial.ts";
import { createInboxMap } from "./inbox-map.ts";
import { NativeLink } from "./link.ts";
import type { DialNativeLink } from "./splice.ts";

/** Whose link it is to be. */
export interface LinkOf {
  readonly identity: Identity;
  /** Asked at each dial: it changes with the policy. */
  readonly grant: () => Grant;
  /** Names the connection below the identity's inbox, the same in every renewal. */
  readonly connection: string;
  readonly options: ConnectOptions;
}

/**
 * How native connections are dialled: as those of the pool, each with a fresh user key whose private half never leaves
 * this process, under a Credential minted for it, vouched for by the trusted proxy.
 */
export function createNativeIdentityDial({
  dial,
  credentialFor,
  proxyKey,
  instance,
}: {
  readonly dial: NativeDial;
  readonly credentialFor: (identity: Identity, grant: Grant, userPublicKey: string) => Outcome<Credential>;
  readonly proxyKey?: Nkey;
  readonly instance: string;
}): (of: LinkOf) => DialNativeLink {
  const inTurn = createTurnstile(DIALS_AT_ONCE);

  return ({ identity, grant, connection, options }) =>
    (wish) =>
      inTurn(async () => {
        const userKey = createNkey("user");
        const credential = credentialFor(identity, grant(), userKey.publicKey);
        if (!credential.ok) return credential;
        const { shown, inboxPrefix, expiresAt } = credential.value;
        const name = `countersign/${instance} ${holderOf(identity)}`.slice(0, CONNECTION_NAME_CHARACTERS_MAX);
        const { echo, noResponders, lang, version } = options;
        try {
          const dialled = await dial({
            wish,
            connect: (nonce) => ({
              // Said in full, since nats-server switches on what is left out.
              ...{ verbose: false, pedantic: false, echo, headers: true, no_responders: noResponders },
              ...{ protocol: 1, lang, version, name, ...shown },
              sig: userKey.sign(nonce).toString("base64url"),
              ...(proxyKey && { proxy_sig: proxyKey.sign(nonce).toString("base64url") }),
            }),
          });
          const inbox = createInboxMap(`${inboxPrefix}.${connection}`);
          return allowed(new NativeLink(dialled, expiresAt, inbox));
        } catch (error) {
          if (!(error instanceof GatewayError)) throw error;
          return refused({ reason: "nats_unavailable", why: error.message });
        }
      });
}
