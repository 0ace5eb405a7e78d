import { JetStreamApiError, type JetStreamPublishOptions } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import type { Control } from "./control.ts";
import { BUCKETS, MARKER_SECONDS } from "./control-streams.ts";

/** nats-server's code for a write whose expected last sequence is not the last one. */
const WRONG_LAST_SEQUENCE = 10071;

export interface KvWrite {
  readonly bucket: keyof typeof BUCKETS;
  readonly key: string;
  /** Absent: the key is deleted. */
  readonly value?: string;
  /** The revision it replaces; 0 when there must be none. Absent: whatever is there. */
  readonly replaces?: number;
  /** It expires by itself, whole seconds, at least 1. */
  readonly ttlSeconds?: number;
}

/**
 * Writes one key and waits until a majority of the servers has it. nats.js's own `update` cannot set a time to
 * live, and without one a session would lose its own.
 *
 * @returns the revision, or undefined when something else than `replaces` was there; rejects when in doubt
 */
export async function writeKey(control: Control, write: KvWrite): Promise<number | undefined> {
  const { bucket, key, value, replaces, ttlSeconds } = write;
  const options: Partial<JetStreamPublishOptions> = {};
  if (replaces !== undefined) options.expect = { lastSubjectSequence: replaces };
  if (value === undefined) {
    options.headers = headers();
    options.headers.set("KV-Operation", "DEL");
  }
  const ttl = value === undefined && bucket !== "notBefore" ? MARKER_SECONDS : ttlSeconds;
  if (ttl !== undefined) options.ttl = `${Math.max(1, Math.floor(ttl))}s`;
  try {
    const { seq } = await control.jetstream.publish(`$KV.${BUCKETS[bucket]}.${key}`, value ?? "", options);
    return seq;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE) return undefined;
    throw error;
  }
}

export interface KvFound {
  /** Absent: there is none, or no longer. */
  readonly value?: string;
  /** Of the value or of the mark that it is gone; 0 when nothing was ever there. */
  readonly revision: number;
}

/** What a key holds, as the leader has it. */
export async function readKey(control: Control, bucket: KvWrite["bucket"], key: string): Promise<KvFound> {
  const entry = await control.bucket(bucket).get(key);
  if (!entry) return { revision: 0 };
  const { operation, revision } = entry;
  return operation === "PUT" ? { value: entry.string(), revision } : { revision };
}
