import { isNumbered } from "../../policy/consumer.ts";
import type { Grant, GrantLine } from "../../policy/grant.ts";

/** What a Grant opens of one stream, or of the stream behind one bucket. */
export interface Store {
  readonly stream: string;
  /** Absent: a stream. */
  readonly bucket?: string;
  /** What the subjects in it begin with, before what a line's pattern says: `$KV.carts.`, or nothing. */
  readonly prefix: string;
  /** Lines that read through numbered consumers. */
  readonly numbered: readonly GrantLine[];
  /** Lines that read through declared consumers, by their names. */
  readonly declared: ReadonlyMap<string, readonly GrantLine[]>;
}

/** @returns by the name of the stream */
export function storesOf(grant: Grant): ReadonlyMap<string, Store> {
  const lines = grant.may.filter(
    ({ object }) => object?.stream !== undefined || object?.bucket !== undefined,
  );
  const groups = Map.groupBy(lines, ({ object }) => String(object?.stream ?? `KV_${object?.bucket}`));
  return new Map(Array.from(groups, ([stream, of]) => [stream, storeOf(stream, of)]));
}

function storeOf(stream: string, lines: readonly GrantLine[]): Store {
  const bucket = lines[0]?.object?.bucket;
  const reading = lines.filter(({ verb }) => verb !== "write-kv");
  const declared = new Map<string, GrantLine[]>();
  for (const line of reading) {
    if (isNumbered(line)) continue;
    for (const name of line.object?.consumers ?? [])
      declared.set(name, [...(declared.get(name) ?? []), line]);
  }
  return {
    stream,
    ...(typeof bucket === "string" && { bucket }),
    prefix: typeof bucket === "string" ? `$KV.${bucket}.` : "",
    numbered: reading.filter(isNumbered),
    declared,
  };
}
