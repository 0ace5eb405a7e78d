import { GatewayError } from "../errors.ts";

/**
 * A set of subjects, exactly: what any union, intersection and difference of patterns comes to. Two equal sets of
 * one algebra are the same object.
 *
 * It is a tree over the tokens of a subject. Patterns alone would not do, because `a.*` without `a.b` is none.
 */
export interface SubjectSet {
  readonly id: number;
  /** Whether the subject that ends here is in the set. */
  readonly end: boolean;
  /** What may follow one of these tokens, where that differs from any other token. */
  readonly literal: ReadonlyMap<string, SubjectSet>;
  /** What may follow any other token. */
  readonly other: SubjectSet;
}

/** A pattern and what of it is not meant. */
export interface ListedPattern {
  readonly pattern: string;
  readonly except: readonly ListedPattern[];
}

type Combine = (a: boolean, b: boolean) => boolean;

/** Far more than any policy needs; adversarial patterns multiply per token. */
const SETS_MAX = 200_000;

/**
 * Arithmetic of subject sets. All sets given to one algebra must come from it; it keeps everything it has worked
 * out, and is meant to be dropped after use.
 *
 * @throws GatewayError POLICY_INVALID from any operation that would need more than 200,000 partial sets
 */
export class SubjectAlgebra {
  readonly empty: SubjectSet;
  /** Every subject, and the empty end of one: what follows a prefix that ends in `>`. */
  readonly #all: SubjectSet;
  readonly #interned = new Map<string, SubjectSet>();
  readonly #memo = new Map<string, SubjectSet>();
  #nextId = 2;

  constructor() {
    const loop = (id: number, end: boolean): SubjectSet => {
      const set = { id, end, literal: new Map(), other: undefined as unknown as SubjectSet };
      set.other = set;
      return set;
    };
    this.empty = loop(0, false);
    this.#all = loop(1, true);
  }

  /** The subjects of one pattern. */
  of(pattern: string): SubjectSet {
    let set: SubjectSet | undefined;
    for (const token of pattern.split(".").reverse()) {
      if (token === ">") {
        set = this.#node(false, new Map(), this.#all);
      } else {
        const rest: SubjectSet = set ?? this.#node(true, new Map(), this.empty);
        set =
          token === "*"
            ? this.#node(false, new Map(), rest)
            : this.#node(false, new Map([[token, rest]]), this.empty);
      }
    }
    return set ?? this.empty;
  }

  /** The subjects of any of the patterns. */
  union(patterns: Iterable<string>): SubjectSet {
    let level = Array.from(patterns, (pattern) => this.of(pattern));
    // In pairs, so that early results are not walked again for every pattern that follows.
    while (level.length > 1) {
      level = Array.from({ length: Math.ceil(level.length / 2) }, (_, index) =>
        this.either(level[2 * index] ?? this.empty, level[2 * index + 1] ?? this.empty),
      );
    }
    return level[0] ?? this.empty;
  }

  either(a: SubjectSet, b: SubjectSet): SubjectSet {
    return this.#combine("|", a, b, (inA, inB) => inA || inB);
  }

  both(a: SubjectSet, b: SubjectSet): SubjectSet {
    return this.#combine("&", a, b, (inA, inB) => inA && inB);
  }

  without(a: SubjectSet, b: SubjectSet): SubjectSet {
    return this.#combine("-", a, b, (inA, inB) => inA && !inB);
  }

  includes(outer: SubjectSet, inner: SubjectSet): boolean {
    return this.without(inner, outer) === this.empty;
  }

  /** Whether a literal subject is in the set. */
  has(set: SubjectSet, subject: string): boolean {
    let at = set;
    for (const token of subject.split(".")) at = at.literal.get(token) ?? at.other;
    return at.end;
  }

  /** The set as patterns, each with its exceptions; sorted, none when it is empty. */
  list(set: SubjectSet): readonly ListedPattern[] {
    return this.#list(set, []);
  }

  #list(set: SubjectSet, prefix: readonly string[]): ListedPattern[] {
    if (set === this.empty) return [];
    const here: ListedPattern[] = set.end ? [{ pattern: prefix.join("."), except: [] }] : [];
    const below =
      set.other === this.#all
        ? [{ pattern: [...prefix, ">"].join("."), except: [] }]
        : this.#list(set.other, [...prefix, "*"]);
    const literals = [...set.literal].sort(([a], [b]) => (a < b ? -1 : 1));
    const except = literals.flatMap(([token, rest]) =>
      this.#list(this.without(set.other, rest), [...prefix, token]),
    );
    const more = literals.flatMap(([token, rest]) =>
      this.#list(this.without(rest, set.other), [...prefix, token]),
    );
    const wild = below.map((one) => ({ ...one, except: [...one.except, ...except] }));
    return [...here, ...wild, ...more];
  }

  #combine(operation: string, a: SubjectSet, b: SubjectSet, combine: Combine): SubjectSet {
    const key = `${a.id}${operation}${b.id}`;
    const known = this.#memo.get(key);
    if (known) return known;
    const made = this.#combineAnew(operation, a, b, combine);
    this.#memo.set(key, made);
    return made;
  }

  #combineAnew(operation: string, a: SubjectSet, b: SubjectSet, combine: Combine): SubjectSet {
    // Sets that loop (everything, nothing) are told by their end alone, and so is any combination of them.
    if (a.other === a && b.other === b) return combine(a.end, b.end) ? this.#all : this.empty;
    const other = this.#combine(operation, a.other, b.other, combine);
    const literal = new Map<string, SubjectSet>();
    for (const token of new Set([...a.literal.keys(), ...b.literal.keys()])) {
      const left = a.literal.get(token) ?? a.other;
      const right = b.literal.get(token) ?? b.other;
      literal.set(token, this.#combine(operation, left, right, combine));
    }
    return this.#node(combine(a.end, b.end), literal, other);
  }

  /** The one set of this shape: literals that differ in nothing from `other` are left out. */
  #node(end: boolean, literal: ReadonlyMap<string, SubjectSet>, other: SubjectSet): SubjectSet {
    const kept = [...literal].filter(([, rest]) => rest !== other).sort(([a], [b]) => (a < b ? -1 : 1));
    if (kept.length === 0 && other.other === other && other.end === end) return other;
    const key = `${end ? 1 : 0} ${other.id} ${kept.map(([token, rest]) => `${token} ${rest.id}`).join(" ")}`;
    const known = this.#interned.get(key);
    if (known) return known;
    if (this.#interned.size >= SETS_MAX) {
      const why =
        "Cannot work out the policy's subjects: its patterns divide them into more than 200,000 parts";
      throw new GatewayError("POLICY_INVALID", why);
    }
    const made: SubjectSet = { id: this.#nextId++, end, literal: new Map(kept), other };
    this.#interned.set(key, made);
    return made;
  }
}

/** Says a listed pattern in words: `orders.* except orders.eu`. */
export function formatListed({ pattern, except }: ListedPattern): string {
  if (except.length === 0) return pattern;
  const shown = except.map((one) => (one.except.length > 0 ? `(${formatListed(one)})` : one.pattern));
  return `${pattern} except ${shown.join(", ")}`;
}
