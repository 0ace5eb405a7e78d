import { BlockList, isIP } from "node:net";
import type { Admit } from "../admit.ts";
import type { AuditLog } from "../audit/record.ts";
import type { Config } from "../config/config.ts";
import type { DirectConfig } from "../config/direct.ts";
import { createReadCallout } from "../credentials/callout.ts";
import { createJudgeCarried } from "../credentials/carried-user.ts";
import { createVerifyCredential, mintDirectCredential } from "../credentials/direct-credential.ts";
import { DIRECT_PAYLOAD_BYTES_MAX } from "../credentials/layout-web.ts";
import type { DirectKeys, NatsKeys } from "../credentials/nats-keys.ts";
import { inboxPrefixOf } from "../credentials/user.ts";
import { GatewayError } from "../errors.ts";
import type { VerifyCredential } from "../identity/identify.ts";
import { createIssue, type DirectRules, type Issue } from "../issue.ts";
import { openCalloutListener } from "../nats/callout-listener.ts";
import type { DirectConnections } from "../nats/direct-connections.ts";
import { dialGatewayUser, followConnection } from "../nats/gateway-user.ts";
import type { Base } from "./base.ts";
import { CONTROL_LINE_BYTES_MAX, signerOf } from "./from-config.ts";
import type { NatsAccess } from "./open-state.ts";

export interface CalloutAccess extends NatsAccess {
  readonly admit: Admit;
  readonly audit: AuditLog;
  readonly directs: DirectConnections;
}

/**
 * @returns what is needed for clients that connect by themselves; undefined when the configuration has none
 * @throws GatewayError KEYS_INVALID  it has some, and the keys are for a cluster without an account for them
 */
export function directKeysOf({ nats }: Config, keys: NatsKeys): DirectKeys | undefined {
  const isNeeded = nats.direct !== undefined || nats.mode === "callout";
  if (!isNeeded || keys.direct) return isNeeded ? keys.direct : undefined;
  throw new GatewayError(
    "KEYS_INVALID",
    `Cannot let clients connect by themselves (\`nats: direct\`): the keys in ${nats.keys} are for a cluster without an account for them.`,
  );
}

/** Verifies the credentials that `Issue` gives. */
export function verifyCredentialOf(config: Config, keys: NatsKeys): VerifyCredential | undefined {
  const direct = directKeysOf(config, keys);
  return (
    direct &&
    createVerifyCredential({
      issuer: direct.signingKey.publicKey,
      boxKey: () => keys.clusterSecret.subkey("direct-credential"),
    })
  );
}

/**
 * Answers the auth callout from now on, and gives credentials for it.
 *
 * @returns undefined when no client connects by itself
 * @throws GatewayError NATS_UNREACHABLE
 */
export async function openCallout(base: Base, access: CalloutAccess): Promise<Issue | undefined> {
  const { config, clock, running, readiness } = base;
  const { dial, keys, instance } = access;
  const direct = directKeysOf(config, keys);
  if (!direct) return undefined;
  const isConfigured = config.nats.mode === "callout";
  const issue = issueOf(base, direct, access);
  const connection = await dialGatewayUser({
    dial,
    user: direct.responder,
    ...(keys.proxyKey && { proxyKey: keys.proxyKey }),
    name: `countersign/${instance} callout`,
  });
  const listener = openCalloutListener({
    connection,
    read: createReadCallout({ about: isConfigured ? direct.signingKey.publicKey : direct.account }),
    ...(direct.xkey && { xkey: direct.xkey }),
    judge: (request) => issue.callout(request),
    clock,
    onSilence: noteSilences(base),
  });
  running.add(async () => {
    await listener.close();
    await connection.close();
  });
  // Not red: all that comes through the gateway works without it.
  readiness.addNote("auth callout", followConnection(connection));
  return issue;
}

/** All are counted; the log has one a second, since whoever can make them can make many. */
function noteSilences({ log, clock, metrics }: Base): (why: string) => void {
  const silences = metrics
    .counter({
      name: "countersign_callouts_unanswered_total",
      help: "Questions of nats-server that were malformed, late or too many.",
    })
    .of();
  let loggedAt = Number.NEGATIVE_INFINITY;
  return (why) => {
    silences.add();
    if (clock() < loggedAt + 1) return;
    loggedAt = clock();
    log.warn({ why }, "a question of nats-server was not answered");
  };
}

function issueOf(
  { config, clock }: Base,
  { account, signingKey }: DirectKeys,
  { keys, instance, admit, audit, directs }: CalloutAccess,
): Issue {
  const inboxKey = keys.clusterSecret.subkey("inbox");
  const signer = signerOf(account, signingKey);
  return createIssue({
    admit,
    audit,
    rules: rulesOf(config.nats.direct),
    signer,
    ...(config.nats.mode === "callout" && {
      placement: account,
      judgeCarried: createJudgeCarried({ signingKey: keys.signingKey, placement: keys.account }),
    }),
    mint: (identity, grant, nkey, now) =>
      mintDirectCredential({
        identity,
        grant,
        nkey,
        signer,
        boxKey: () => keys.clusterSecret.subkey("direct-credential"),
        now,
        controlLineBytesMax: CONTROL_LINE_BYTES_MAX[config.nats.mode],
      }),
    inboxPrefixOf: (identity, grant) => inboxPrefixOf(inboxKey, identity, grant),
    directs,
    clock,
    instance,
  });
}

function rulesOf(direct: DirectConfig | undefined): DirectRules {
  return {
    types: new Set(direct?.connections ?? []),
    isSource: direct?.sources ? within(direct.sources) : () => true,
    payloadBytesMax: DIRECT_PAYLOAD_BYTES_MAX,
  };
}

function within(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", bits = ""] = network.split("/");
    list.addSubnet(address, Number(bits), isIP(address) === 6 ? "ipv6" : "ipv4");
  }
  return (address) => list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}
