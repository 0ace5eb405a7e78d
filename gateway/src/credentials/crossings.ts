import { checkSubject, isReservedSubject } from "@countersign/seal";

/**
 * What direct users, in an account of their own, may reach in the account of trusted services. It is exported there
 * and imported here by name, and nothing else crosses.
 */
export interface Crossing {
  readonly type: "service" | "stream";
  /** As the exporting account names it. */
  readonly subject: string;
  /** As direct users name it; absent: alike. */
  readonly local?: string;
  /** One request has many replies. */
  readonly manyReplies?: true;
}

/** What `countersign init` is asked for, by the verbs of a policy. */
export interface CrossingWishes {
  /** Subjects that services answer or take. */
  readonly requests: readonly string[];
  /** Subjects that direct users may read as they are published. */
  readonly subscriptions: readonly string[];
  /** JetStream streams whose consumers, once they are there, may be read and acknowledged. */
  readonly streams: readonly string[];
  /** Buckets whose keys may be read one by one. */
  readonly buckets: readonly string[];
}

/**
 * Where direct users find JetStream: under its own name, an account's import would be answered by the account's own.
 * A client's option for this is `apiPrefix`.
 */
export const DIRECT_API_PREFIX = "core.API";

/**
 * Of JetStream's API only what cannot be turned against the other account crosses: no consumer is created, since its
 * payload names where it delivers to; nothing is written, since the headers of what is written cross too.
 *
 * @returns in words what is wrong with one of them
 */
export function crossingsOf(wishes: CrossingWishes): readonly Crossing[] | string {
  const { requests, subscriptions, streams, buckets } = wishes;
  for (const subject of [...requests, ...subscriptions]) {
    const fault = faultOf(subject);
    if (fault !== undefined) return `${JSON.stringify(subject)} ${fault}`;
  }
  const wrong = [...streams, ...buckets].find((name) => !NAME.test(name));
  if (wrong !== undefined) return `${JSON.stringify(wrong)} is not the name of a stream or bucket`;
  return [
    ...requests.map((subject): Crossing => ({ type: "service", subject })),
    ...subscriptions.map((subject): Crossing => ({ type: "stream", subject })),
    ...streams.flatMap(streamCrossings),
    ...buckets.map((bucket) => api(`DIRECT.GET.KV_${bucket}.$KV.${bucket}.>`)),
  ];
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** Any consumer's, since names have no beginnings in NATS; the permissions of each direct user name their own. */
function streamCrossings(stream: string): readonly Crossing[] {
  return [
    api(`CONSUMER.INFO.${stream}.*`),
    { ...api(`CONSUMER.MSG.NEXT.${stream}.*`), manyReplies: true },
    { type: "service", subject: `$JS.ACK.${stream}.>` },
  ];
}

function api(rest: string): Crossing {
  return { type: "service", subject: `$JS.API.${rest}`, local: `${DIRECT_API_PREFIX}.${rest}` };
}

function faultOf(subject: string): string | undefined {
  const fault = checkSubject(subject, { wildcards: true });
  return fault ?? (isReservedSubject(subject) ? "reaches what belongs to NATS itself" : undefined);
}
