import { randomInt, randomUUID } from "node:crypto";
import { consumerName } from "../../policy/consumer.ts";
import { allowed, type Outcome, refused } from "../../refusal.ts";
import { type EpochSeconds, isoTimeOf } from "../../time.ts";
import type { Connection } from "../connection.ts";
import { askJetStream, type JetStreamError } from "./jetstream-api.ts";

/** Where reading begins. */
export type ReadFrom =
  | { readonly from: "new" | "all" | "last" | "last-per-subject" }
  /** The first to be read, or the next one that there is. */
  | { readonly from: "sequence"; readonly sequence: number }
  | { readonly from: "time"; readonly time: EpochSeconds }
  /** Everything after this one, which has been read: nothing between may be missing. */
  | { readonly from: "after"; readonly sequence: number };

/** Whose consumers they are, and what they read: one filter, which the permissions name. */
export interface ReaderOptions {
  readonly connection: Connection;
  readonly stream: string;
  readonly filter: string;
  readonly user: string;
  /** How many numbers the Grant writes out, of now: `limits.connections`. */
  readonly numbers: () => number;
  /** Brings messages without their payloads. */
  readonly headersOnly?: true;
}

/** A consumer of one reader, for as long as it reads. */
export interface ReaderConsumer {
  readonly name: string;
  /** The sequence before the first that it may deliver. */
  readonly position: number;
  /** Messages that wait for it. */
  readonly pending: number;
}

/**
 * How long it outlives its reader. Where to go on is the reader's knowledge, not the consumer's: it only has to
 * outlast a hiccup, and what a killed instance leaves behind holds its number so long.
 */
export const INACTIVE_MS = 6_000;

const NUMBER_TAKEN: ReadonlySet<number | undefined> = new Set([10148, 10013]);
const STREAM_UNKNOWN = 10059;
const CONSUMERS_EXCEEDED = 10026;

/**
 * Creates a consumer under one of the user's numbers. Nobody hands them out: each creation has settings of its own, so
 * that JetStream refuses a number which any reader has, on whichever instance, and the next is tried. Begun at random,
 * since the low ones are taken first by whoever counts from there.
 *
 * @returns `connections_exceeded` when all numbers are taken, `stream_unknown`, `nats_unavailable`, `request_invalid`
 */
export async function createReaderConsumer(
  options: ReaderOptions,
  from: ReadFrom,
): Promise<Outcome<ReaderConsumer>> {
  const count = options.numbers();
  const first = randomInt(count);
  for (let tried = 0; tried < count; tried += 1) {
    const name = consumerName(options.user, (first + tried) % count);
    const created = await create(options, name, from);
    if (created) return created;
  }
  return refused({ reason: "connections_exceeded", connectionsMax: count });
}

/** @returns undefined when the number is taken */
async function create(
  { connection, stream, filter, headersOnly }: ReaderOptions,
  name: string,
  from: ReadFrom,
): Promise<Outcome<ReaderConsumer> | undefined> {
  const answer = await askJetStream(connection, `CONSUMER.CREATE.${stream}.${name}.${filter}`, {
    stream_name: stream,
    action: "create",
    config: {
      name,
      filter_subject: filter,
      ...startOf(from),
      ack_policy: "none",
      ...(headersOnly && { headers_only: true }),
      inactive_threshold: INACTIVE_MS * 1_000_000,
      num_replicas: 1,
      mem_storage: true,
      metadata: { countersign: randomUUID() },
    },
  });
  if (!answer.ok) return unavailable(answer.refusal.reason);
  const { error, delivered, num_pending: pending } = answer.value;
  if (NUMBER_TAKEN.has(error?.err_code)) return undefined;
  if (error) return refusalOf(error, stream);
  const position = delivered?.stream_seq;
  if (position === undefined || pending === undefined)
    return unavailable("JetStream left out where it begins");
  return allowed({ name, position, pending });
}

function startOf(from: ReadFrom): object {
  switch (from.from) {
    case "new":
    case "all":
    case "last":
      return { deliver_policy: from.from };
    case "last-per-subject":
      return { deliver_policy: "last_per_subject" };
    case "sequence":
      return { deliver_policy: "by_start_sequence", opt_start_seq: Math.max(1, from.sequence) };
    case "after":
      return { deliver_policy: "by_start_sequence", opt_start_seq: from.sequence + 1 };
    case "time":
      return { deliver_policy: "by_start_time", opt_start_time: isoTimeOf(from.time) };
  }
}

function refusalOf({ err_code, code = 0, description = "" }: JetStreamError, stream: string) {
  if (err_code === STREAM_UNKNOWN) return refused({ reason: "stream_unknown", stream });
  // What the request can mend, as a stream that hands out each message once (a work queue); anything else passes.
  if (code === 400 && err_code !== CONSUMERS_EXCEEDED) {
    return refused({ reason: "request_invalid", what: `stream ${stream}`, why: description.slice(0, 200) });
  }
  return unavailable(description);
}

function unavailable(why: string): ReturnType<typeof refused> {
  return refused({ reason: "nats_unavailable", why });
}

/** Gives its number back at once; without that it comes free by itself. */
export async function deleteReaderConsumer(
  { connection, stream }: ReaderOptions,
  { name }: ReaderConsumer,
): Promise<void> {
  await askJetStream(connection, `CONSUMER.DELETE.${stream}.${name}`);
}
