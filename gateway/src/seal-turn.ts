import { type SealDraft, type SealedHeaders, type SealingKey, sealToken, sealTree } from "@countersign/seal";
import type { Clock } from "./time.ts";
import { createTurn } from "./turn.ts";

export interface Sealed {
  readonly headers: SealedHeaders;
  /** The tree's root, base64url; absent for a token. */
  readonly root?: string;
}

/** Leaves of one tree at most: the sweet spot of signing cost against path length lies well below. */
const TREE_LEAVES_MAX = 256;

/**
 * Makes what seals: the messages of one turn by one signature over their tree, a token by its own. A missing key or a
 * failing signature rejects every message it was for.
 */
export function createSealTurn({
  sealingKey,
  sealFormOf,
  clock,
  after = "wave",
}: {
  /** The key in use now; undefined until one is published. */
  readonly sealingKey: () => SealingKey | undefined;
  readonly sealFormOf: (subject: string) => "tree" | "token";
  readonly clock: Clock;
  /** Where messages come as they are read (`turn`), or all at once when the turn's record has been written (`wave`). */
  readonly after?: "turn" | "wave";
}): (draft: SealDraft) => Promise<Sealed> {
  const intoTree = createTurn<Waiting>(sealTogether, { batchMax: TREE_LEAVES_MAX, after });

  function keyNow(): SealingKey {
    const key = sealingKey();
    if (!key) throw new Error("no seal key is published yet");
    return key;
  }

  function sealTogether(waiting: readonly Waiting[]): void {
    try {
      const drafts = waiting.map(({ draft }) => draft);
      const { seals, root } = sealTree(keyNow(), drafts, clock());
      for (const [index, { sealed }] of waiting.entries()) sealed(seals[index], root);
    } catch (error) {
      for (const { failed } of waiting) failed(error);
    }
  }

  return function seal(draft) {
    return new Promise((resolve, reject) => {
      if (sealFormOf(draft.subject) === "token") {
        // A throw here rejects.
        return resolve({ headers: sealToken(keyNow(), draft, clock()) });
      }
      intoTree({
        draft,
        sealed: (headers, root) =>
          headers ? resolve({ headers, root }) : reject(new Error("no seal for a leaf")),
        failed: reject,
      });
    });
  };
}

interface Waiting {
  readonly draft: SealDraft;
  readonly sealed: (headers: SealedHeaders | undefined, root: string) => void;
  readonly failed: (error: unknown) => void;
}
