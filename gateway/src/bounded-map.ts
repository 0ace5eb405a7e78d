/**
 * Sets an entry of a map that holds at most `entriesMax`: the entry that was set longest ago makes room.
 *
 * A Map keeps the order of insertion, and an entry that is set again goes to its end: one that sets again at each
 * use keeps the most recently used.
 */
export function setBounded<Key, Value>(
  map: Map<Key, Value>,
  key: Key,
  value: Value,
  entriesMax: number,
): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= entriesMax) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
