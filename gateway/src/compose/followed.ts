import { messageOf } from "../errors.ts";
import type { Clock, EpochSeconds } from "../time.ts";

/** Secrets that every request is compared with are not read for every request. */
const FOLLOW_SECONDS = 10;

/**
 * Follows a secret that may be replaced while we run: it is read again at most every ten seconds. One that cannot be
 * read, as while it is being replaced, changes nothing.
 *
 * @param read      throws when it cannot be read; so does this, the first time
 * @param onFailure told why
 */
export function followed<T>(read: () => T, clock: Clock, onFailure: (why: string) => void): () => T {
  let value = read();
  let readAt: EpochSeconds = clock();
  return function current() {
    const now = clock();
    if (now >= readAt && now < readAt + FOLLOW_SECONDS) return value;
    readAt = now;
    try {
      value = read();
    } catch (error) {
      onFailure(messageOf(error));
    }
    return value;
  };
}
