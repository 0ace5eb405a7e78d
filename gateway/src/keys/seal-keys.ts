import type { Clock } from "../time.ts";
import type { PublicKeyDirectory } from "./directory.ts";
import {
  current,
  mintSealKey,
  published,
  rotate,
  type SealKey,
  type SealKeyRing,
  unpublished,
} from "./ring.ts";
import { loadRing, saveRing } from "./ring-file.ts";

/** This instance's seal keys, alive: made, kept on disk, published, and rotated. */
export interface SealKeys {
  /** The key to seal with now; undefined until one is published. */
  current(): SealKey | undefined;
  /** Takes what steps are due. Rejects when the disk or the directory does not take them; to be tried again. */
  turn(): Promise<void>;
}

/**
 * @param stateDirectory  of this instance alone: two that shared it would seal with each other's keys
 * @throws GatewayError KEYS_INVALID when the ring on disk is damaged
 */
export async function openSealKeys({
  stateDirectory,
  directory,
  instance,
  clock,
}: {
  readonly stateDirectory: string;
  readonly directory: PublicKeyDirectory;
  readonly instance: string;
  readonly clock: Clock;
}): Promise<SealKeys> {
  let ring = await loadRing(stateDirectory);

  /** On disk first: a key that is in use, or published, must outlive a crash. */
  async function become(next: SealKeyRing): Promise<void> {
    if (next === ring) return;
    await saveRing(stateDirectory, next);
    ring = next;
  }

  return {
    current: () => current(ring, clock()),
    async turn() {
      await become(rotate(ring, clock(), mintSealKey));
      for (const { publicJwk, kid } of unpublished(ring)) {
        await directory.publish(publicJwk, instance);
        await become(published(ring, kid, clock()));
      }
    },
  };
}
