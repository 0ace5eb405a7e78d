import { holderOf, type Identity } from "./identity/identity.ts";
import type { NotBeforeKey } from "./identity/session.ts";
import type { Grant } from "./policy/grant.ts";
import { allowed, type Outcome, type Refusal, refused } from "./refusal.ts";
import type { SubscribeAdmission } from "./subscribe/event.ts";
import { complete, Stream, type StreamAsk, type StreamParts } from "./subscribe/stream.ts";
import type { EpochSeconds } from "./time.ts";

export type { ReadFrom } from "./nats/reader/stream-reader.ts";
export { createArrivals } from "./subscribe/arrivals.ts";
export type {
  Arrival,
  EndCode,
  Positions,
  Sender,
  StreamEvent,
  StreamSink,
  SubscribeAdmission,
} from "./subscribe/event.ts";
export type { StoredReading } from "./subscribe/stored-source.ts";
export type { StreamAsk } from "./subscribe/stream.ts";

/** The effect of an admitted `subscribe` or `read-stream`: read on that identity's connection, verify, stream out. */
export interface Subscribe {
  /**
   * @param ask  its admissions are one per subject, of one identity; not empty
   * @returns a function that ends it, or `connections_exceeded`, `nats_unavailable`, `stream_unknown`, …
   */
  open(ask: StreamAsk): Promise<Outcome<() => void>>;
  /** Completes the records of subjects that were allowed, when another one of the same stream was not. */
  neverBegan(admissions: readonly SubscribeAdmission[], refusal: Refusal): void;
  /**
   * Another policy is in force: streams with a subject that is no longer granted end with `policy`, all others go
   * on and notice nothing.
   *
   * @param grantOf  undefined for an identity that can have none: all its streams end
   */
  regrant(grantOf: (identity: Identity) => Grant | undefined): void;
  /** Ends the streams whose proof a not-before has just refused. */
  revoke(key: NotBeforeKey, at: EpochSeconds): void;
  readonly size: number;
  close(): void;
}

export function createSubscribe(parts: StreamParts): Subscribe {
  const open = new Set<Stream>();
  const openOf = new Map<string, number>();
  let closing = false;

  function count(holder: string, by: 1 | -1): void {
    const left = (openOf.get(holder) ?? 0) + by;
    if (left > 0) openOf.set(holder, left);
    else openOf.delete(holder);
  }

  return {
    async open(ask) {
      const { admissions } = ask;
      const first = admissions[0]?.admission;
      if (!first) return refused({ reason: "request_invalid", what: "subject", why: "none is given" });
      if (closing) return neverBegan(parts, admissions, { reason: "shutting_down" });
      const holder = holderOf(first.identity);
      const connectionsMax = first.grant.limits.connections;
      if ((openOf.get(holder) ?? 0) >= connectionsMax)
        return neverBegan(parts, admissions, { reason: "connections_exceeded", connectionsMax });

      const stream = new Stream(parts, first, ask, () => {
        open.delete(stream);
        count(holder, -1);
      });
      // Counted before the first await, or two requests at once would both find room for one.
      open.add(stream);
      count(holder, 1);
      const started = await stream.start();
      if (started.ok) return allowed(() => stream.end("closed"));
      // What has ended meanwhile has completed its record itself.
      return stream.letGo() ? neverBegan(parts, admissions, started.refusal) : started;
    },
    neverBegan(admissions, refusal) {
      if (admissions.length > 0) neverBegan(parts, admissions, refusal);
    },
    regrant(grantOf) {
      for (const stream of open) stream.regrant(grantOf);
    },
    revoke(key, at) {
      for (const stream of open) if (stream.isMeant(key, at)) stream.end("logout");
    },
    get size() {
      return open.size;
    },
    close() {
      closing = true;
      for (const stream of open) stream.end("shutdown");
    },
  };
}

/** The record said that it was allowed: it has to say too that nothing came of it. */
function neverBegan(
  parts: StreamParts,
  admissions: readonly SubscribeAdmission[],
  refusal: Refusal,
): ReturnType<typeof refused> {
  complete(parts, admissions, { outcome: "failed", why: refusal.reason });
  return refused(refusal);
}
