import type { DirectManifest, KeysManifest } from "../credentials/keys-folder.ts";
import { CONTROL_PERMISSIONS, GATEWAY_INBOX_PREFIX, systemPermissionsOf } from "../credentials/own-users.ts";

/** Folders and files as they are shown: relative to where the command runs. */
export interface ShownPaths {
  readonly keys: string;
  readonly offline: string;
  readonly config: string;
  readonly policy: string;
  /** The folder everything is in, where nats-server is to be started. */
  readonly out: string;
  /** Names of files in it. */
  readonly serverConfigs: readonly string[];
  /** Names of files, relative to `out`, that nats-server needs and init cannot make; none on loopback. */
  readonly certificates: readonly string[];
}

/** What is left to do after `countersign init`, one step a paragraph; commands stand indented. */
export function nextSteps(manifest: KeysManifest, paths: ShownPaths): readonly string[] {
  const gateway = `Name your identity provider in ${paths.config} and who may do what in ${paths.policy}, then:

    countersign serve --check --config ${paths.config}
    countersign doctor --config ${paths.config}
    countersign serve --config ${paths.config}`;
  if (manifest.kind === "hosted") return [...hostedSteps(manifest, paths), gateway];
  return manifest.trust === undefined && manifest.accounts === undefined
    ? [...existingSteps(manifest, paths), gateway]
    : [...newClusterSteps(manifest, paths), gateway];
}

function newClusterSteps({ accounts }: KeysManifest, paths: ShownPaths): readonly string[] {
  const { keys, offline, out, serverConfigs, certificates } = paths;
  return [
    ...(serverConfigs.length === 2 ? [TWO_SERVERS] : []),
    accounts
      ? `Give ${offline}/core-admin.nk to whoever makes streams, and to services that do not come through the gateway.`
      : `Put ${offline}/ into a safe and delete it here: its keys make accounts, and no server needs them. Only
core-admin.creds is for daily use: by whoever makes streams, and by services that do not come through the gateway.`,
    ...(certificates.length > 0
      ? [
          `Give each nats-server its own certificate, key and the authority that signed them:
${certificates.join(", ")}. Where that authority is not one the system trusts, name it in
${paths.config}: nats: { ca: … }.`,
        ]
      : []),
    `Start nats-server (2.12.8 or later) in the folder that its paths are relative to:

${out === "" ? "" : `    cd ${out}\n`}${serverConfigs.map((name) => `    nats-server --config ${name}`).join("\n")}`,
    copyStep(keys),
  ];
}

/** A majority of two is two (RAFT, which JetStream stores by). */
const TWO_SERVERS = `Use three servers rather than two: JetStream needs more than half of a cluster, so one of two stops when
either is gone, and the gateway with it. To start anew, delete what was written and name three with --servers.`;

function copyStep(keys: string): string {
  return `Copy ${keys}/ to every instance of the gateway. Only the gateway's own user may read it.`;
}

function existingSteps(manifest: KeysManifest, { keys, offline }: ShownPaths): readonly string[] {
  const { account, signingKey, proxyKey, direct } = manifest;
  const { pub, sub } = systemPermissionsOf(direct ? [account, direct.account] : [account]);
  return [
    `Add the account CONTROL, for the gateway's own state, and the gateway's signing key to the account
${account}:

    nsc import account --file ${offline}/control-account.jwt
    nsc edit account --name NAME-OF-THE-ACCOUNT --sk ${signingKey}
    nsc push --all`,
    ...(direct ? [webStep(direct, offline)] : []),
    `Put ${offline}/ into a safe and delete it here: its keys make users of CONTROL and WEB, and no server needs them.`,
    `Add to the configuration of every nats-server (2.12.8 or later), then: nats-server --signal reload

    max_control_line: 1MB
    authorization { timeout: 10 }
    proxies { trusted: [ { key: "${proxyKey}" } ] }`,
    `So that the gateway can cut connections and check the version of every server, give it a user of the system
account:

    nsc add user --account SYS --name countersign --allow-pub '${list(pub.allow)}' --allow-sub '${list(sub.allow)}'
    nsc generate creds --account SYS --name countersign --output-file ${keys}/system.creds`,
    copyStep(keys),
  ];
}

function webStep({ sentinelJwt }: DirectManifest, offline: string): string {
  return `Where clients connect by themselves, add the account WEB, and export what it imports (nsc describe account WEB):

    nsc import account --file ${offline}/web-account.jwt
    nsc add export --account NAME-OF-THE-ACCOUNT --subject SUBJECT --service
    nsc push --all

So that clients come without a JWT of their own, add to the configuration of every nats-server:

    default_sentinel: "${sentinelJwt}"`;
}

function hostedSteps({ account, signingKey }: KeysManifest, { keys }: ShownPaths): readonly string[] {
  const { pub, sub } = CONTROL_PERMISSIONS;
  return [
    `Accept what is lost on a cluster whose configuration is not yours: it trusts no proxy of yours, so a credential
stolen from the gateway works elsewhere until it expires; Grants of more than about 70 permissions are refused;
connections of direct clients cannot be cut; nothing is known of servers the gateway is not connected to.`,
    `Have this signing key added to the account ${account}:

    ${signingKey}`,
    `Have a second account made, with JetStream and without exports, for the gateway's own state, and in it one user;
save its credentials as ${keys}/control.creds, readable by the gateway alone:

    may publish    ${list(pub.allow)}
    may subscribe  ${list(sub.allow)}   (replies come to ${GATEWAY_INBOX_PREFIX})`,
    copyStep(keys),
  ];
}

function list(subjects: readonly string[] | undefined): string {
  return (subjects ?? []).join(",");
}
