import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { leafOf, pathOf, rootFromPath, treeOf } from "./tree.ts";

const SIZE_MAX = 200;
const LEAVES = Array.from({ length: SIZE_MAX }, (_, index) => leafOf(`claims ${index}`));

/** RFC 6962 §2.1, word for word. */
function merkleTreeHash(leaves: readonly string[]): string {
  const [only] = leaves;
  if (leaves.length === 1 && only !== undefined) return only;
  const k = 2 ** (Math.ceil(Math.log2(leaves.length)) - 1);
  const children = [leaves.slice(0, k), leaves.slice(k)].map((part) =>
    Buffer.from(merkleTreeHash(part), "base64url"),
  );
  return createHash("sha256")
    .update(Buffer.concat([Buffer.of(1), ...children]))
    .digest("base64url");
}

test("leafOf() hashes 0x00, the label, 0x00 and the claims' bytes", () => {
  const bytes = Buffer.concat([
    Buffer.of(0),
    Buffer.from("countersign-seal-v1"),
    Buffer.of(0),
    Buffer.from("Zoë"),
  ]);
  assert.equal(leafOf("Zoë"), createHash("sha256").update(bytes).digest("base64url"));
});

test("treeOf() gives the root of RFC 6962, and every path leads to it and to no other place, for 1 to 200 leaves", () => {
  for (let size = 1; size <= SIZE_MAX; size++) {
    const leaves = LEAVES.slice(0, size);
    const tree = treeOf(leaves);
    assert.equal(tree.root, merkleTreeHash(leaves));
    for (const [index, leaf] of leaves.entries()) {
      const path = pathOf(tree, index);
      assert.equal(rootFromPath(leaf, { index, size, path }), tree.root);
      assert.equal(rootFromPath(leaf, { index, size, path: [...path, leaf] }), undefined);
      if (path.length > 0) assert.equal(rootFromPath(leaf, { index, size, path: path.slice(1) }), undefined);
      if (size > 1) assert.notEqual(rootFromPath(leaf, { index: (index + 1) % size, size, path }), tree.root);
    }
  }
});

test("treeOf() refuses a tree without leaves", () => {
  assert.throws(() => treeOf([]), RangeError);
});
