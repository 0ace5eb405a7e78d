import { allowed, type Outcome, refused } from "../refusal.ts";
import type { HeaderList } from "./connection.ts";
import { type ReaderOptions, type StoredMessage, StreamReader } from "./reader/stream-reader.ts";

/** A key that has a value. */
export interface ListedKey {
  readonly key: string;
  readonly revision: number;
}

export interface KeyListing {
  readonly keys: readonly ListedKey[];
  /** Whether they are all: there may be more than are listed. */
  readonly complete: boolean;
}

/** As many as one answer lists. */
export const KEYS_MAX = 10_000;
/** The last of a bucket's keys comes long before. */
const WITHIN_MS = 20_000;

/**
 * Lists the keys of a bucket that have a value, under one filter, as of now.
 *
 * @param options  of the bucket's stream, filtered by `$KV.<bucket>.<pattern>`
 */
export async function listKeys(options: Omit<ReaderOptions, "headersOnly">): Promise<Outcome<KeyListing>> {
  const prefix = `$KV.${options.stream.slice("KV_".length)}.`;
  const found = new Map<string, number>();
  const { promise: ended, resolve: end } = Promise.withResolvers<Outcome<boolean>>();
  const reader = new StreamReader(
    { ...options, headersOnly: true },
    {
      onMessage(message) {
        note(found, prefix, message);
        reader.taken(message);
        if (found.size >= KEYS_MAX) end(allowed(false));
        else if (message.pending === 0) end(allowed(true));
      },
      onIdle: () => end(allowed(true)),
      onEnd: (why) => end(refused({ reason: "nats_unavailable", why })),
    },
  );
  const timer = setTimeout(() => end(refused({ reason: "timeout", timeoutMs: WITHIN_MS })), WITHIN_MS);
  try {
    const opened = await reader.open({ from: "last-per-subject" });
    if (!opened.ok) return opened;
    if (opened.value.pending === 0 && found.size === 0) end(allowed(true));
    const complete = await ended;
    if (!complete.ok) return complete;
    const keys = [...found].map(([key, revision]) => ({ key, revision }));
    keys.sort((a, b) => (a.key < b.key ? -1 : 1));
    return allowed({ keys, complete: complete.value });
  } finally {
    clearTimeout(timer);
    reader.end();
  }
}

/** A mark of a deletion has no value; while we list, a key may be written once more. */
function note(
  found: Map<string, number>,
  prefix: string,
  { subject, headers, sequence }: StoredMessage,
): void {
  const key = subject.slice(prefix.length);
  if (isDeletion(headers)) found.delete(key);
  else found.set(key, sequence);
}

/**
 * Whether a message of a bucket says that its key has no value: deleted, purged, or past its time, which nats-server
 * marks itself.
 *
 * @source  NATS ADR-8, ADR-48
 */
export function isDeletion(headers: HeaderList): boolean {
  return headers.some(
    ([name, value]) =>
      (name === "KV-Operation" && /^(?:DEL|PURGE)$/.test(value)) || name === "Nats-Marker-Reason",
  );
}
