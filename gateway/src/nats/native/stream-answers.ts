import { overlaps } from "../../policy/pattern.ts";
import { jsAnswer } from "./js-answer.ts";
import type { Store } from "./store.ts";

/**
 * What stock clients ask of a stream or an account before they come to the point. NATS would answer with every
 * subject, count and limit of it; here it is answered from the Grant, and what the Grant does not know is written as
 * nothing: no messages, no limits, no time. Whether the stream exists shows when it is read.
 */

/** Bounds of an account: none that the client could learn here. */
const UNLIMITED = {
  max_memory: -1,
  max_storage: -1,
  max_streams: -1,
  max_consumers: -1,
  max_ack_pending: -1,
  memory_max_stream_bytes: -1,
  storage_max_stream_bytes: -1,
  max_bytes_required: false,
};
/** How Go writes no time. */
const NEVER = "0001-01-01T00:00:00Z";
/** Names in one answer: JetStream's own page, which no Grant of a person exceeds. What does is cut. */
const PAGE_MAX = 1_024;

export function accountInfo(): Uint8Array {
  const used = { memory: 0, storage: 0, reserved_memory: 0, reserved_storage: 0, streams: 0, consumers: 0 };
  return jsAnswer("account_info", { ...used, limits: UNLIMITED, api: { total: 0, errors: 0 } });
}

export function streamInfo(store: Store): Uint8Array {
  return jsAnswer("stream_info", infoOf(store));
}

/** @param subject  the streams asked for hold it; absent: all */
export function streamNames(stores: Iterable<Store>, subject: string | undefined): Uint8Array {
  const found = matching(stores, subject);
  const streams = found.map(({ stream }) => stream);
  return jsAnswer("stream_names", { ...pageOf(streams), streams });
}

export function streamList(stores: Iterable<Store>, subject: string | undefined): Uint8Array {
  const streams = matching(stores, subject).map(infoOf);
  return jsAnswer("stream_list", { ...pageOf(streams), streams });
}

function matching(stores: Iterable<Store>, subject: string | undefined): Store[] {
  const found = [...stores].filter(
    (store) => subject === undefined || subjectsOf(store).some((pattern) => overlaps(pattern, subject)),
  );
  return found.slice(0, PAGE_MAX);
}

function pageOf(list: readonly unknown[]): object {
  return { total: list.length, offset: 0, limit: PAGE_MAX };
}

/** A bucket's stream has one subject, whatever the Grant opens of it, and clients expect that one. */
function subjectsOf({ prefix, bucket, numbered, declared }: Store): string[] {
  if (bucket !== undefined) return [`${prefix}>`];
  return [...new Set([...numbered, ...[...declared.values()].flat()].map(({ pattern }) => pattern))];
}

function infoOf(store: Store): object {
  const isBucket = store.bucket !== undefined;
  return {
    config: {
      name: store.stream,
      subjects: subjectsOf(store),
      retention: "limits",
      max_consumers: -1,
      max_msgs: -1,
      max_bytes: -1,
      max_age: 0,
      max_msgs_per_subject: isBucket ? 1 : -1,
      max_msg_size: -1,
      discard: "old",
      storage: "file",
      num_replicas: 1,
      duplicate_window: 120_000_000_000,
      sealed: false,
      deny_delete: true,
      deny_purge: true,
      allow_rollup_hdrs: isBucket,
      // A bucket is only ever read this way: it is what the Grant's permissions reach.
      allow_direct: isBucket,
      mirror_direct: false,
    },
    created: NEVER,
    state: {
      messages: 0,
      bytes: 0,
      first_seq: 0,
      first_ts: NEVER,
      last_seq: 0,
      last_ts: NEVER,
      consumer_count: 0,
    },
    ts: NEVER,
  };
}
