import type { Admission } from "./admit.ts";
import type { Done } from "./completions.ts";
import type { HeaderList, InboundMessage, Pool } from "./nats/connection.ts";
import { isDeletion, type KeyListing, listKeys } from "./nats/key-listing.ts";
import type { Message } from "./prepare.ts";
import { allowed, type Outcome, refused } from "./refusal.ts";
import type { Store, Stored } from "./store.ts";

/** What a bucket holds under a key. */
export interface Entry {
  readonly revision: number;
  /** RFC 3339, as the stream has it. */
  readonly at: string;
  readonly payload: Uint8Array;
  readonly headers: HeaderList;
  /** A mark that the key was deleted: to a reader it is not there, and its revision is what a write compares with. */
  readonly deleted: boolean;
}

/** On what a write depends: a revision, or that there is no value. */
export type Expected = { readonly revision: number } | "absent" | undefined;

/** The effects on a key of a bucket. */
export interface KeyValue {
  /** @returns undefined where nothing was ever written */
  read(admission: Admission, place: Place): Promise<Outcome<Entry | undefined>>;
  /** @param place  its key may be a pattern */
  list(admission: Admission, place: Place): Promise<Outcome<KeyListing>>;
  /** @param message  to `$KV.<bucket>.<key>`; a deletion has the header `KV-Operation: DEL` */
  write(admission: Admission, message: Message, place: Place, expected: Expected): Promise<Outcome<Stored>>;
}

export interface Place {
  readonly bucket: string;
  readonly key: string;
}

/** Longer than an election of the bucket's leader. */
const TIMEOUT_MS = 10_000;
const NOTHING = new Uint8Array(0);

/** @source  NATS ADR-8 (key-value stores), ADR-31 (direct get) */
export function createKeyValue({
  pool,
  store,
  complete,
}: {
  readonly pool: Pool;
  readonly store: Store;
  readonly complete: (done: Done) => void;
}): KeyValue {
  async function get({ identity, grant }: Admission, place: Place): Promise<Outcome<Entry | undefined>> {
    const connection = await pool.connectionFor(identity, grant);
    if (!connection.ok) return connection;
    const subject = `$JS.API.DIRECT.GET.KV_${place.bucket}.${subjectOf(place)}`;
    const answer = await connection.value.request({ subject, payload: NOTHING, headers: [] }, TIMEOUT_MS);
    return answer.ok ? entryOf(answer.value) : answer;
  }

  async function listing({ identity, grant }: Admission, place: Place): Promise<Outcome<KeyListing>> {
    const connection = await pool.connectionFor(identity, grant);
    if (!connection.ok) return connection;
    return listKeys({
      ...{ connection: connection.value, stream: `KV_${place.bucket}`, filter: subjectOf(place) },
      ...{ user: grant.user, numbers: () => grant.limits.connections },
    });
  }

  async function completed<T>({ facts }: Admission, effect: Promise<Outcome<T>>): Promise<Outcome<T>> {
    const outcome = await effect;
    const { txn } = facts;
    if (outcome.ok) complete({ txn, outcome: "replied" });
    else complete({ txn, outcome: "failed", why: outcome.refusal.reason });
    return outcome;
  }

  return {
    read: (admission, place) => completed(admission, get(admission, place)),
    list: (admission, place) => completed(admission, listing(admission, place)),
    async write(admission, message, place, expected) {
      const compareWith = expected === "absent" ? 0 : expected?.revision;
      const storing = (revision: number | undefined) => ({
        stream: `KV_${place.bucket}`,
        timeoutMs: TIMEOUT_MS,
        keyed: false,
        preconditions: revision === undefined ? [] : [[EXPECTED_LAST, String(revision)] as const],
      });
      const outcome = await store(admission, message, storing(compareWith));
      if (outcome.ok || expected !== "absent" || outcome.refusal.reason !== "precondition_failed")
        return outcome;
      // A key that was deleted has a last revision, and no value.
      const last = await get(admission, place);
      if (!last.ok || !last.value?.deleted) return outcome;
      return store(admission, message, storing(last.value.revision));
    },
  };
}

/** Of a stream, the last sequence on the message's own subject: of a bucket, the revision of its key. */
const EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence";

export function subjectOf({ bucket, key }: Place): string {
  return `$KV.${bucket}.${key}`;
}

/** A stream answers with the message and where it is; an answer without a sequence says that there is none. */
function entryOf({ payload, headers }: InboundMessage): Outcome<Entry | undefined> {
  // The last one: nats-server puts its own behind those of the message.
  const named = (wanted: string) => headers.findLast(([name]) => name === wanted)?.[1];
  const sequence = named("Nats-Sequence");
  if (sequence === undefined) return allowed(undefined);
  const revision = Number(sequence);
  if (!Number.isSafeInteger(revision)) {
    return refused({ reason: "nats_unavailable", why: "an answer without a sequence that is one" });
  }
  const deleted = isDeletion(headers);
  return allowed({ revision, at: named("Nats-Time-Stamp") ?? "", payload, headers, deleted });
}
