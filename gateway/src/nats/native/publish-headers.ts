import { allowed, type Outcome, refused } from "../../refusal.ts";
import type { HeaderList } from "../connection.ts";

/** What a client's headers come to. */
export interface PublishHeaders {
  /** What travels: the client's own, and those of nats-server that it may set. */
  readonly headers: HeaderList;
  /** Its `Nats-Msg-Id`. Never sent: deduplication spans the whole stream, and whoever names another's id first has
   *  the other's message dropped. The message's id is derived from user, subject and this. */
  readonly idempotencyKey?: string;
}

const COUNT = /^\d{1,20}$/;

/** Headers that nats-server acts on and a client may set, with the values it may give them. */
const ANYWHERE: ReadonlyMap<string, RegExp> = new Map([
  ["Nats-Msg-Id", /^[\x21-\x7e]{1,128}$/],
  ["Nats-Expected-Stream", /^[A-Za-z0-9_-]{1,64}$/],
  ["Nats-Expected-Last-Sequence", COUNT],
  ["Nats-Expected-Last-Subject-Sequence", COUNT],
]);

/** In a bucket, where all of them concern the one key that is written: */
const IN_BUCKET: ReadonlyMap<string, RegExp> = new Map([
  ...ANYWHERE,
  ["KV-Operation", /^(?:PUT|DEL|PURGE)$/],
  // `all` would empty the bucket, everybody's keys.
  ["Nats-Rollup", /^sub$/],
  ["Nats-TTL", /^(?:never|\d{1,9}(?:s|m|h)?)$/],
]);

/**
 * Judges those headers of a message that nats-server or a bucket's readers act on. All that are not named here are
 * refused, in whatever case (`Nats-Schedule` publishes elsewhere, `Nats-Expected-Last-Subject-Sequence-Subject` tells
 * of other subjects, `Nats-TTL` in a stream makes a record vanish); nats-server acts on exact case only, so that
 * another spelling of an allowed one would silently do nothing.
 *
 * @param headers  names and values are well-formed already
 * @returns `header_refused`
 */
export function judgeNatsHeaders(headers: HeaderList, where: "subject" | "bucket"): Outcome<PublishHeaders> {
  const rules = where === "bucket" ? IN_BUCKET : ANYWHERE;
  const seen = new Set<string>();
  const kept: (readonly [string, string])[] = [];
  let idempotencyKey: string | undefined;
  for (const header of headers) {
    const [name, value] = header;
    if (!/^(?:nats-|kv-operation$)/i.test(name)) {
      kept.push(header);
      continue;
    }
    const rule = rules.get(name);
    if (!rule) return refusedHeader(name, "it is not for clients to set, or not in this spelling");
    if (!rule.test(value)) return refusedHeader(name, "its value is not one that a client may set");
    if (seen.has(name)) return refusedHeader(name, "more than one; send one");
    seen.add(name);
    if (name === "Nats-Msg-Id") idempotencyKey = value;
    else kept.push(header);
  }
  return allowed({ headers: kept, ...(idempotencyKey !== undefined && { idempotencyKey }) });
}

function refusedHeader(header: string, why: string): Outcome<never> {
  return refused({ reason: "header_refused", header: header.slice(0, 64), why });
}
