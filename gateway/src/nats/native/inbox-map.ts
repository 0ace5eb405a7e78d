/** Where stock clients put their inboxes: `_INBOX.<random>`, unless they are told otherwise. */
const CLIENT_PREFIX = "_INBOX.";

/**
 * One native connection's inboxes: what its client calls `_INBOX.x` is `<own prefix>.x` to NATS, where the own prefix
 * lies below the identity's inbox. So whatever a client subscribes to, or gives as a reply subject, no other's answers
 * come to it and none of its answers go elsewhere.
 *
 * The map is one to one: both ways a prefix is exchanged and the rest stays.
 */
export interface InboxMap {
  /** To NATS. @returns undefined for a subject that is not in the client's inbox */
  readonly toServer: (subject: string) => string | undefined;
  /** To the client. @returns undefined for a subject that is not in the connection's own inbox */
  readonly toClient: (subject: string) => string | undefined;
  /** The connection's own prefix with its final dot, as NATS knows it. */
  readonly serverPrefix: string;
}

/** @param ownPrefix  below the identity's inbox, without a final dot: `_INBOX.<32 characters>.<connection>` */
export function createInboxMap(ownPrefix: string): InboxMap {
  const serverPrefix = `${ownPrefix}.`;
  return {
    serverPrefix,
    toServer: (subject) => exchanged(subject, CLIENT_PREFIX, serverPrefix),
    toClient: (subject) => exchanged(subject, serverPrefix, CLIENT_PREFIX),
  };
}

function exchanged(subject: string, from: string, to: string): string | undefined {
  const isIn = subject.length > from.length && subject.startsWith(from);
  return isIn ? to + subject.slice(from.length) : undefined;
}
