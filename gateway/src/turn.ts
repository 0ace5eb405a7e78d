/**
 * Gathers what one event-loop turn brings and hands it over at the turn's end, all at once: one signature,
 * one write, for as many as came. Needs no timer and no setting: alone, an item waits for nothing; under load
 * the batch grows with the load.
 *
 * @param batchMax  hands over early at this many, so that no turn grows without bound
 */
export function createTurn<Item>(
  handOver: (items: readonly Item[]) => void,
  { batchMax }: { readonly batchMax: number },
): (item: Item) => void {
  let items: Item[] = [];

  function end(): void {
    const batch = items;
    items = [];
    if (batch.length > 0) handOver(batch);
  }

  return function add(item) {
    if (items.push(item) === 1) setImmediate(end);
    if (items.length >= batchMax) end();
  };
}
