import type { Crossing } from "./crossings.ts";
import { ACCOUNT_NAMES, type ConfiguredAccounts, type KeysManifest } from "./keys-folder.ts";
import { DIRECT_PAYLOAD_BYTES_MAX } from "./layout-web.ts";
import type { SubjectLists, UserClaims } from "./nats-jwt.ts";
import { CALLOUT_PERMISSIONS, CONTROL_PERMISSIONS, systemPermissionsOf } from "./own-users.ts";
import { quote } from "./server-quote.ts";

/**
 * Accounts as a nats-server's configuration writes them, with the gateway's own users by key. Of all others it knows
 * none: they are let in by the callout.
 *
 * @source https://docs.nats.io/running-a-nats-service/configuration/securing_nats/accounts
 */
export function renderAccounts({ users, crossings }: ConfiguredAccounts): string {
  const { system, control, callout, core, web } = ACCOUNT_NAMES;
  return `# The gateway's users come over TCP and through the trusted proxy only, which is the gateway itself.
system_account: ${system}
accounts {
  ${system} {
    users: [
${userBlock(users.system, systemPermissionsOf([core, web]))}
    ]
  }
  # The gateway's own state: nothing is exported from here.
  ${control} {
    jetstream: enabled
    users: [
${userBlock(users.control, CONTROL_PERMISSIONS)}
    ]
  }
  # Where the gateway answers who a client is.
  ${callout} {
    users: [
${userBlock(users.responder, CALLOUT_PERMISSIONS)}
    ]
  }
  # Trusted services, and the users that the gateway carries. JetStream is here.
  ${core} {
    jetstream: enabled
    users: [
      # Who makes streams and runs services: passes no gateway.
      { nkey: ${users.coreAdmin} }
    ]
    exports: [${listOf(crossings.map(exportOf))}]
  }
  # Clients that connect by themselves. What they reach elsewhere is imported by name; services are told who asks.
  # JetStream keeps the sessions of MQTT clients.
  ${web} {
    jetstream: enabled
    limits { max_payload: ${DIRECT_PAYLOAD_BYTES_MAX} }
    imports: [${listOf(crossings.map(importOf))}]
  }
}
`;
}

/** The callout block, for within `authorization`. */
export function renderCallout(
  { signingKey, direct }: Pick<KeysManifest, "signingKey" | "direct">,
  { users }: ConfiguredAccounts,
): string {
  const own = [users.system, users.control, users.responder, users.coreAdmin];
  return `
  # Everybody else is let in on the gateway's word alone. Whoever holds the issuer's private key is believed.
  auth_callout {
    issuer: ${signingKey}
    account: ${ACCOUNT_NAMES.callout}
    auth_users: [ ${own.join(", ")} ]${direct?.xkey === undefined ? "" : `\n    xkey: ${direct.xkey}`}
  }
`;
}

function userBlock(nkey: string, { pub, sub, resp }: Pick<UserClaims, "pub" | "sub" | "resp">): string {
  const responses =
    resp && `\n          allow_responses: { max: ${resp.max}, expires: "${resp.ttl / 1e9}s" }`;
  return `      {
        nkey: ${nkey}
        proxy_required: true
        allowed_connection_types: [ STANDARD ]
        permissions: {
          publish: ${permissionOf(pub)}
          subscribe: ${permissionOf(sub)}${responses ?? ""}
        }
      }`;
}

function permissionOf({ allow, deny }: SubjectLists): string {
  const lists = [allow && `allow: [ ${quoted(allow)} ]`, deny && `deny: [ ${quoted(deny)} ]`];
  return `{ ${lists.filter((list) => list !== undefined).join(", ")} }`;
}

function quoted(subjects: readonly string[]): string {
  return subjects.map(quote).join(", ");
}

function exportOf({ type, subject, manyReplies }: Crossing): string {
  const replies = type === "service" && manyReplies ? ", response_type: stream" : "";
  return `{ ${type}: ${quote(subject)}${replies} }`;
}

function importOf({ type, subject, local }: Crossing): string {
  const to = local === undefined ? "" : `, to: ${quote(local)}`;
  const share = type === "service" ? ", share: true" : "";
  return `{ ${type}: { account: ${ACCOUNT_NAMES.core}, subject: ${quote(subject)} }${to}${share} }`;
}

function listOf(items: readonly string[]): string {
  return items.length === 0 ? "" : `\n${items.map((item) => `      ${item}`).join("\n")}\n    `;
}
