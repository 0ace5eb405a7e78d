/** Longer inputs are no typing mistakes, and the distance costs their product. */
const LENGTH_MAX = 64;

/**
 * The known name that a mistyped one most likely means.
 *
 * @returns undefined when none is within two edits, or a third of the length for short ones
 */
export function nearest(typed: string, known: readonly string[]): string | undefined {
  if (typed.length > LENGTH_MAX) return undefined;
  const plain = typed.toLowerCase().replaceAll("_", "-");
  let best: { readonly name: string; readonly distance: number } | undefined;
  for (const name of known) {
    const distance = editDistance(plain, name);
    if (!best || distance < best.distance) best = { name, distance };
  }
  return best && best.distance <= Math.min(2, Math.ceil(best.name.length / 3)) ? best.name : undefined;
}

/** Levenshtein's distance, one row at a time. */
function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, j) => j);
  for (let i = 0; i < left.length; i += 1) {
    const next = [i + 1];
    for (let j = 0; j < right.length; j += 1) {
      const replaced = (row[j] ?? 0) + (left[i] === right[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
