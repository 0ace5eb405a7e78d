import { CALLOUT_QUEUE, CALLOUT_SUBJECT } from "./callout.ts";
import type { SubjectLists, UserClaims } from "./nats-jwt.ts";

/**
 * Where replies to the gateway's own users arrive. A prefix of its own, so that another user of the system
 * account who may read this one's replies was given that by name.
 */
export const GATEWAY_INBOX_PREFIX = "_INBOX.countersign";

/** What the gateway's user in CONTROL may do: its buckets, its streams, the audit subject, its own inbox. */
export const CONTROL_PERMISSIONS: { readonly pub: SubjectLists; readonly sub: SubjectLists } = {
  pub: { allow: ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "audit.>"] },
  sub: { allow: [`${GATEWAY_INBOX_PREFIX}.>`] },
};

/** What the gateway's user that answers the auth callout may do: answer whom it is asked about, and nothing else. */
export const CALLOUT_PERMISSIONS: Required<Pick<UserClaims, "pub" | "sub" | "resp">> = {
  // But as `resp` allows: one answer to each question, within the minute that no `authorization.timeout` exceeds.
  pub: { deny: [">"] },
  sub: { allow: [`${CALLOUT_SUBJECT} ${CALLOUT_QUEUE}`] },
  resp: { max: 1, ttl: 60_000_000_000 },
};

/**
 * @param accounts  public keys of the accounts whose users the gateway makes
 * @returns what the gateway's user in the system account may do: list connections of those accounts, kick, ask
 *   for the servers' versions
 */
export function systemPermissionsOf(accounts: readonly string[]): { pub: SubjectLists; sub: SubjectLists } {
  return {
    pub: {
      allow: [
        "$SYS.REQ.SERVER.*.KICK",
        "$SYS.REQ.SERVER.PING",
        // Not of all accounts, because a list of connections shows complete user JWTs.
        ...accounts.map((account) => `$SYS.REQ.ACCOUNT.${account}.CONNZ`),
      ],
    },
    sub: { allow: [`${GATEWAY_INBOX_PREFIX}.>`] },
  };
}
