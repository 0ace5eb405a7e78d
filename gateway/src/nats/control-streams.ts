import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  StoreCompression,
  type StreamConfig,
} from "@nats-io/jetstream";
import { GatewayError } from "../errors.ts";

/** The buckets in CONTROL, by what they hold. */
export const BUCKETS = {
  sessions: "sessions",
  notBefore: "not-before",
  keys: "keys",
  locks: "locks",
  policy: "policy",
  attempts: "attempts",
} as const;

export const AUDIT_STREAM = "AUDIT";
/** One subject per instance: `audit.<instance>`. */
export const AUDIT_SUBJECT_PREFIX = "audit.";

export interface ControlStreamOptions {
  /** Copies of everything, 1, 3 or 5, each on a server of its own. */
  readonly replicas: 1 | 3 | 5;
  /** The longest life of any proof; a not-before is kept an hour longer. Seconds. */
  readonly proofLifeSecondsMax: number;
  /** How long the AUDIT stream keeps records. Seconds; 0 keeps them for ever. */
  readonly auditSeconds: number;
}

type Wanted = Pick<StreamConfig, "name"> & Partial<StreamConfig>;

const NANOSECONDS = 1_000_000_000;
const NOT_BEFORE_MARGIN_SECONDS = 3_600;
/** How long the mark of an expired or deleted key stays, so that every instance's watch sees it. */
export const MARKER_SECONDS = 60;
/** How long a message is known by the key that its sender gave it. Ten a second are 36,000 entries of 300 bytes. */
export const ATTEMPT_SECONDS = 3_600;
export const VALUE_BYTES_MAX = 65_536;
/** All files of one policy, packed; below nats-server's default `max_payload` of 1 MiB with what comes around it. */
const POLICY_BYTES_MAX = 1_000_000;
/** nats-server's codes: no such stream; its name is in use with another configuration. */
const STREAM_NOT_FOUND = 10059;
const STREAM_NAME_IN_USE = 10058;

/** @returns for how long a not-before is kept: no proof that it refuses lives longer */
export function notBeforeSeconds({ proofLifeSecondsMax }: ControlStreamOptions): number {
  return proofLifeSecondsMax + NOT_BEFORE_MARGIN_SECONDS;
}

/** The streams the gateway's state lives in, as they should be. */
export function controlStreams(options: ControlStreamOptions): readonly Wanted[] {
  const { replicas, auditSeconds } = options;
  const expiring = { allow_msg_ttl: true, subject_delete_marker_ttl: MARKER_SECONDS * NANOSECONDS };
  const permanent = { deny_delete: true, deny_purge: true };
  return [
    bucket(BUCKETS.sessions, replicas, expiring),
    bucket(BUCKETS.locks, replicas, expiring),
    bucket(BUCKETS.notBefore, replicas, { max_age: notBeforeSeconds(options) * NANOSECONDS }),
    bucket(BUCKETS.keys, replicas, permanent),
    bucket(BUCKETS.attempts, replicas, { allow_msg_ttl: true, max_age: ATTEMPT_SECONDS * NANOSECONDS }),
    // Former values of what is in force are its history, the most that a bucket keeps.
    bucket(BUCKETS.policy, replicas, { max_msgs_per_subject: 64, max_msg_size: POLICY_BYTES_MAX }),
    {
      name: AUDIT_STREAM,
      subjects: [`${AUDIT_SUBJECT_PREFIX}>`],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      compression: StoreCompression.S2,
      num_replicas: replicas,
      max_age: auditSeconds * NANOSECONDS,
      ...permanent,
    },
  ];
}

/**
 * A key-value bucket as NATS lays one out, but without roll-ups, with which one write can empty it, and
 * without direct gets, which any replica answers and which may therefore be behind.
 */
function bucket(name: string, replicas: number, rest: Partial<StreamConfig>): Wanted {
  return {
    name: `KV_${name}`,
    subjects: [`$KV.${name}.>`],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    storage: StorageType.File,
    max_msgs_per_subject: 1,
    max_msg_size: VALUE_BYTES_MAX,
    num_replicas: replicas,
    allow_rollup_hdrs: false,
    allow_direct: false,
    ...rest,
  };
}

/**
 * Creates the stream, or brings its settings in line: a bucket that forgets a not-before too early would let
 * a signed-out proof back in.
 *
 * @throws GatewayError `NATS_UNFIT` when the stream cannot be as wanted; JetStream's own errors when it cannot be asked
 */
export async function ensureStream(manager: JetStreamManager, wanted: Wanted): Promise<void> {
  const found = await configOf(manager, wanted.name);
  if (!found) {
    await add(manager, wanted);
    return;
  }
  const names = Object.keys(wanted) as (keyof StreamConfig)[];
  const wrong = names.filter(
    (name) => JSON.stringify(found[name] ?? 0) !== JSON.stringify(wanted[name] ?? 0),
  );
  if (wrong.length === 0) return;
  try {
    await manager.streams.update(wanted.name, wanted);
  } catch (error) {
    if (!(error instanceof JetStreamApiError)) throw error;
    throw new GatewayError(
      "NATS_UNFIT",
      `cannot set ${wrong.join(", ")} of stream ${wanted.name} in CONTROL: ${error.message}`,
      { cause: error },
    );
  }
}

async function configOf(manager: JetStreamManager, name: string): Promise<StreamConfig | undefined> {
  try {
    return (await manager.streams.info(name)).config;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return undefined;
    throw error;
  }
}

async function add(manager: JetStreamManager, wanted: Wanted): Promise<void> {
  try {
    await manager.streams.add(wanted);
  } catch (error) {
    // Another instance of the same version was faster.
    if (!(error instanceof JetStreamApiError && error.code === STREAM_NAME_IN_USE)) throw error;
  }
}
