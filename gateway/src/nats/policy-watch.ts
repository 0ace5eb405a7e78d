import { setTimeout as delay } from "node:timers/promises";
import { type KvWatchEntry, KvWatchInclude } from "@nats-io/kv";
import type { QueuedIterator } from "@nats-io/transport-node";
import type { Control } from "./control.ts";

const RETRY_WAIT_MS = 1_000;

/**
 * Calls back soon after a policy was pushed, through whichever instance. Only for haste: whoever is called looks
 * for itself what is in force, and looks now and then without being called.
 *
 * @returns ends it
 */
export function watchPolicy(control: Control, onPush: () => void): () => void {
  const stop = new AbortController();
  let entries: QueuedIterator<KvWatchEntry> | undefined;

  async function follow(): Promise<void> {
    while (!stop.signal.aborted) {
      try {
        entries = await control.bucket("policy").watch({ include: KvWatchInclude.UpdatesOnly });
        if (stop.signal.aborted) entries.stop();
        for await (const _ of entries) onPush();
      } catch {
        // What is missed meanwhile is seen without a call.
      }
      await delay(RETRY_WAIT_MS, undefined, { signal: stop.signal, ref: false }).catch(() => {});
    }
  }
  void follow();

  return () => {
    stop.abort();
    entries?.stop();
  };
}
