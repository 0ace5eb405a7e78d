import type { NatsKeys } from "../credentials/nats-keys.ts";
import { createNkey } from "../credentials/nkey.ts";
import { holderOf } from "../identity/identity.ts";
import { createIdempotentId } from "../keys/idempotent-id.ts";
import type { NativeParts } from "../native/context.ts";
import { createNative, type Native } from "../native/native.ts";
import type { Control } from "../nats/control.ts";
import { createConsumerNames } from "../nats/native/consumer-names.ts";
import { createNativeDial } from "../nats/native/dial.ts";
import { createNativeIdentityDial } from "../nats/native/identity-dial.ts";
import { parseInfo } from "../nats/native/info.ts";
import { createJetStreamJudge } from "../nats/native/jetstream-judge.ts";
import { allowed } from "../refusal.ts";
import type { Base } from "./base.ts";
import type { CredentialFor } from "./credentials.ts";
import { natsServersOf } from "./from-config.ts";

type OwnParts =
  | "greeting"
  | "dialLinkOf"
  | "nextExpiry"
  | "tokenBytesMax"
  | "connectionsMax"
  | "createJudge"
  | "messageIdOf";

/** The native protocol: connections of clients' own, beside those of the pool and under the same credentials. */
export function openNative(
  { config, metrics }: Base,
  {
    control,
    keys,
    credentialFor,
    ...parts
  }: Omit<NativeParts, OwnParts> & {
    readonly control: Control;
    readonly keys: NatsKeys;
    readonly credentialFor: CredentialFor;
  },
): Native {
  // Expiry does not depend on the user key, so asking for it needs no new one.
  const anyUser = createNkey("user").publicKey;
  const namesOf = createConsumerNames(parts.clock);
  // Of a subkey of its own: what was sent over HTTP under the same name may be another message.
  const messageId = createIdempotentId(keys.clusterSecret.subkey("native-message-id"));
  const native = createNative({
    ...parts,
    messageIdOf: (identity, ...of) => messageId(holderOf(identity), ...of),
    greeting: () => parseInfo(JSON.stringify(control.connection.info ?? null)),
    dialLinkOf: createNativeIdentityDial({
      dial: createNativeDial(natsServersOf(config)),
      credentialFor,
      ...(keys.proxyKey && { proxyKey: keys.proxyKey }),
      instance: parts.instance,
    }),
    nextExpiry(identity, grant) {
      const credential = credentialFor(identity, grant, anyUser);
      return credential.ok ? allowed(credential.value.expiresAt) : credential;
    },
    tokenBytesMax: config.limits.tokenBytesMax,
    connectionsMax: config.limits.natsConnectionsMax,
    createJudge: ({ grant, inbox, ...rest }) => {
      const { user, limits } = grant;
      // Of all the identity's connections under this grant: they have one inbox, and each a name below it.
      const [root, own] = inbox.serverPrefix.split(".");
      const names = namesOf(`${root}.${own}`, { user, count: limits.connections });
      return createJetStreamJudge({ grant, inbox, names, ...rest });
    },
  });
  metrics.gauge(
    { name: "countersign_native_connections", help: "Connections of native NATS clients open now." },
    () => native.size,
  );
  return native;
}
