import { hash } from "node:crypto";

/** Base64url SHA-256, 43 characters. The hash function is quicker in text than in buffers, and the path is text. */
export type TreeHash = string;

export interface Tree {
  readonly root: TreeHash;
  /** From the leaves to the root. A level of odd length hands its last hash on to the next. */
  readonly levels: readonly (readonly TreeHash[])[];
}

// Keeps leaves of ours apart from those of any other RFC 6962 tree, so that no root of theirs is one of ours.
const LEAF_PREFIX = "\0countersign-seal-v1\0";

const HASH_BYTES = 32;
/** 0x01, left, right (RFC 6962 §2.1). Filled and hashed within one synchronous call. */
const node = Buffer.alloc(1 + 2 * HASH_BYTES);
node[0] = 1;

/** @param claims  the claims' JSON text, whose UTF-8 bytes are hashed */
export function leafOf(claims: string): TreeHash {
  return hash("sha256", LEAF_PREFIX + claims, "base64url");
}

/**
 * Builds the Merkle tree of RFC 6962 §2.1.
 *
 * @param leaves  at least one, each as `leafOf` makes it
 */
export function treeOf(leaves: readonly TreeHash[]): Tree {
  if (leaves.length === 0) throw new RangeError("Cannot build a tree: expected at least 1 leaf, found 0");
  const levels = [leaves];
  let level = leaves;
  while (level.length > 1) {
    const above: TreeHash[] = [];
    for (let index = 0; index < level.length; index += 2) {
      const left = level[index] ?? "";
      const right = level[index + 1];
      above.push(right === undefined ? left : parentOf(left, right));
    }
    levels.push(above);
    level = above;
  }
  return { root: level[0] ?? "", levels };
}

/** @returns the sibling hashes from the leaf to the root (RFC 6962 §2.1.1) */
export function pathOf(tree: Tree, index: number): TreeHash[] {
  const path: TreeHash[] = [];
  let position = index;
  for (const level of tree.levels) {
    const sibling = level[position ^ 1];
    if (level.length > 1 && sibling !== undefined) path.push(sibling);
    position >>= 1;
  }
  return path;
}

/**
 * Recomputes the root from one leaf (RFC 9162 §2.1.3.2).
 *
 * @param index  of the leaf, below `size`
 * @param size   number of leaves in the tree
 * @param path   each of its hashes well-formed (`isBase64urlOf32Bytes`)
 * @returns undefined when the path is too short or too long for this place in this tree
 */
export function rootFromPath(
  leaf: TreeHash,
  {
    index,
    size,
    path,
  }: { readonly index: number; readonly size: number; readonly path: readonly TreeHash[] },
): TreeHash | undefined {
  let position = index;
  let last = size - 1;
  let root = leaf;
  for (const sibling of path) {
    if (last === 0) return undefined;
    if (position % 2 === 1 || position === last) {
      root = parentOf(sibling, root);
      // The last of an odd level has no sibling there: climb to the level where it has one.
      while (position % 2 === 0 && position !== 0) {
        position >>= 1;
        last >>= 1;
      }
    } else {
      root = parentOf(root, sibling);
    }
    position >>= 1;
    last >>= 1;
  }
  return last === 0 ? root : undefined;
}

function parentOf(left: TreeHash, right: TreeHash): TreeHash {
  node.write(left, 1, "base64url");
  node.write(right, 1 + HASH_BYTES, "base64url");
  return hash("sha256", node, "base64url");
}
