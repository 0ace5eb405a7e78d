/** What a value of an attribute may be. */
export type ValueFacts =
  | { readonly kind: "text"; readonly notEmpty?: true }
  | { readonly kind: "boolean" }
  | {
      readonly kind: "integer";
      readonly min?: number;
      readonly max?: number;
      /** Between `min` and `max` is what is not allowed. */
      readonly outside?: true;
    }
  /** `[days.]hh:mm:ss` */
  | { readonly kind: "duration"; readonly min?: number; readonly max?: number; readonly step?: number }
  | { readonly kind: "oneOf"; readonly values: readonly string[] }
  /** Several of them, with commas between. */
  | { readonly kind: "flags"; readonly values: readonly string[] };

export type AttributeFacts = ValueFacts & {
  /** Must be there. */
  readonly required?: true;
  /** No two entries of a collection may agree in all attributes that are part of its key, without regard to case. */
  readonly key?: true;
  /** What counts when it is absent. */
  readonly byDefault?: string;
};

export interface ElementFacts {
  readonly attributes: Readonly<Record<string, AttributeFacts>>;
  readonly children?: Readonly<Record<string, ElementFacts>>;
  readonly collections?: readonly CollectionFacts[];
}

/** Entries by the name of their element; what `remove` and `clear` take away is what was inherited. */
export interface CollectionFacts {
  readonly add: string;
  readonly remove?: string;
  readonly clear?: string;
  readonly item: ElementFacts;
}

type More = Pick<AttributeFacts, "required" | "key" | "byDefault">;

export function text(more: More & { readonly notEmpty?: true } = {}): AttributeFacts {
  return { kind: "text", ...more };
}

export function bool(byDefault?: "true" | "false", more: More = {}): AttributeFacts {
  return { kind: "boolean", ...more, ...(byDefault !== undefined && { byDefault }) };
}

export function integer(
  byDefault?: string,
  range: { readonly min?: number; readonly max?: number; readonly outside?: true } = {},
  more: More = {},
): AttributeFacts {
  return { kind: "integer", ...range, ...more, ...(byDefault !== undefined && { byDefault }) };
}

/** @param range  seconds */
export function duration(
  byDefault?: string,
  range: { readonly min?: number; readonly max?: number; readonly step?: number } = {},
): AttributeFacts {
  return { kind: "duration", ...range, ...(byDefault !== undefined && { byDefault }) };
}

export function oneOf(values: readonly string[], byDefault?: string, more: More = {}): AttributeFacts {
  return { kind: "oneOf", values, ...more, ...(byDefault !== undefined && { byDefault }) };
}

export function flags(values: readonly string[], byDefault?: string): AttributeFacts {
  return { kind: "flags", values, ...(byDefault !== undefined && { byDefault }) };
}

/** A collection whose entries are `add`, and which `remove` and `clear` change. */
export function collection(
  attributes: ElementFacts["attributes"],
  more: Omit<ElementFacts, "attributes"> = {},
  names: { readonly add?: string; readonly remove?: string | false; readonly clear?: string | false } = {},
): CollectionFacts {
  const { add = "add", remove = "remove", clear = "clear" } = names;
  return {
    add,
    ...(remove !== false && { remove }),
    ...(clear !== false && { clear }),
    item: { attributes, ...more },
  };
}
