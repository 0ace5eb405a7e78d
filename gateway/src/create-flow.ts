import { createAdmit } from "./admit.ts";
import type { AuditLog } from "./audit/record.ts";
import { createCompletions } from "./completions.ts";
import type { Base } from "./compose/base.ts";
import type { CredentialFor } from "./compose/credentials.ts";
import { verifyVouchedOf } from "./compose/hop.ts";
import { openNative } from "./compose/native.ts";
import { verifyCredentialOf } from "./compose/open-callout.ts";
import type { State } from "./compose/open-state.ts";
import { createConsume } from "./consume.ts";
import type { NatsKeys } from "./credentials/nats-keys.ts";
import type { EndpointParts } from "./endpoints/parts.ts";
import { messageOf } from "./errors.ts";
import { createVerifyBearer } from "./identity/bearer.ts";
import { createIdentify, revocationOf } from "./identity/identify.ts";
import type { Identity } from "./identity/identity.ts";
import type { Issuers } from "./identity/issuer.ts";
import type { SignIn } from "./identity/sign-in.ts";
import { createKeyValue } from "./key-value.ts";
import type { Native } from "./native/native.ts";
import { createAttemptKv } from "./nats/attempt-kv.ts";
import type { Pool } from "./nats/connection.ts";
import type { Grant } from "./policy/grant.ts";
import type { LivePolicy } from "./policy/live.ts";
import { createPublish, type PublishParts } from "./publish.ts";
import { createRate } from "./rate.ts";
import { createSealTurn } from "./seal-turn.ts";
import { createSenderOf, type SenderOf } from "./sender.ts";
import { createArrivals, createSubscribe } from "./subscribe.ts";

export interface FlowParts extends State {
  readonly policy: LivePolicy;
  readonly issuers: Issuers;
  readonly signIn: SignIn | undefined;
  readonly audit: AuditLog;
  readonly pool: Pool;
  readonly instance: string;
  readonly keys: NatsKeys;
  readonly credentialFor: CredentialFor;
}

/** A reply without a seal is nobody's, and its sender is not asked for. */
function replierBy(senderOf: SenderOf): PublishParts["replierOf"] {
  return async (reply, to) => {
    if (!reply.headers.some(([name]) => /^(?:seal-|txn-token$)/i.test(name))) return undefined;
    const sender = await senderOf.reply(reply, { to });
    return sender.verified ? sender.user : undefined;
  };
}

/** The one flow: identify, decide, record; then one of the effects. */
export function createFlow(
  base: Base,
  { sessions, policy, issuers, signIn, pool, ...parts }: FlowParts,
): Pick<EndpointParts, "admit" | "effects" | "keyValue" | "consume" | "streams"> & {
  readonly native: Native;
} {
  const { config, clock } = base;
  const { control, directory, sealKeys, audit, instance, keys, credentialFor } = parts;
  const seals = { issuer: config.publicUrl, audience: config.trustDomain };
  const workload = `countersign/${instance}`;
  const sealing = {
    sealingKey: () => sealKeys.current(),
    sealFormOf: (subject: string) => policy.sealRuleOf(subject).form,
  };
  const isDurable = (subject: string) => policy.sealRuleOf(subject).durable;
  const withinRate = createRate();
  const senderOf = createSenderOf({ ...seals, directory, clock });
  const verifyVouched = verifyVouchedOf(base, sessions);
  const verifyCredential = verifyCredentialOf(config, keys);
  const identify = createIdentify({
    verifyBearer: createVerifyBearer({ issuers }),
    ...(signIn && { verifySession: signIn.verifySession, sessionStands: signIn.sessionStands }),
    ...(verifyCredential && { verifyCredential }),
    ...(verifyVouched && { verifyVouched }),
    notBefore: (key) => sessions.notBefore(key),
    origins: config.origins,
  });
  const recorded = { audit, clock, instance };
  const admit = createAdmit({ identify, grantOf: policy.grantOf, withinRate, isDurable, ...recorded });
  const replierOf = replierBy(senderOf);
  const attempts = createAttemptKv(control);
  const effects = createPublish({ pool, ...seals, workload, ...sealing, replierOf, attempts, ...recorded });
  const { store } = effects;
  const arrivalOf = createArrivals(senderOf, clock);
  return {
    ...{ admit, effects },
    keyValue: createKeyValue({ pool, store, complete: createCompletions(recorded) }),
    consume: createConsume({
      pool,
      arrivalOf,
      ackKey: () => keys.clusterSecret.subkey("ack-handle"),
      ...recorded,
    }),
    streams: createSubscribe({ pool, arrivalOf, ...recorded }),
    native: openNative(base, {
      ...{ admit, withinRate, isDurable, senderOf, control, keys, credentialFor, ...recorded },
      names: { ...seals, workload },
      revocationOf: (identity) => revocationOf(identity, (key) => sessions.notBefore(key)),
      grantOf: grantUnder(policy, base),
      seal: createSealTurn({ ...sealing, clock, after: "turn" }),
    }),
  };
}

export type GrantOf = (identity: Identity) => Grant | undefined;

/** Grants of the policy in force; undefined where there can be none. */
export function grantUnder(policy: LivePolicy, { clock, log }: Base): GrantOf {
  return function grantOf(identity) {
    try {
      return policy.grantOf(identity, clock());
    } catch (error) {
      // One grant that grows too large must not keep the others from being narrowed.
      log.error({ user: identity.user, why: messageOf(error) }, "no grant under the new policy");
      return undefined;
    }
  };
}
