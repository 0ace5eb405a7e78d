/**
 * Gathers what one event-loop turn brings and hands it over at the turn's end, all at once: one signature,
 * one write, for as many as came. Needs no timer and no setting: alone, an item waits for nothing; under load
 * the batch grows with the load.
 *
 * @param batchMax  hands over early at this many, so that no turn grows without bound
 * @param after     `turn`: once the sockets that are ready have been read. `wave`: once the promises that are
 *                  fulfilled have been followed, for items that one event has set going together, as the end of
 *                  the turn before: waiting for another turn's end would only add to their way
 */
export function createTurn<Item>(
  handOver: (items: readonly Item[]) => void,
  { batchMax, after = "turn" }: { readonly batchMax: number; readonly after?: "turn" | "wave" },
): (item: Item) => void {
  // Node runs its ticks when no microtask is left.
  const schedule = after === "turn" ? setImmediate : process.nextTick;
  let items: Item[] = [];

  function end(): void {
    const batch = items;
    items = [];
    if (batch.length > 0) handOver(batch);
  }

  return function add(item) {
    if (items.push(item) === 1) schedule(end);
    if (items.length >= batchMax) end();
  };
}
