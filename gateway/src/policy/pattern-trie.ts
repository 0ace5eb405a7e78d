interface Node<V> {
  /** Children under literal tokens. */
  readonly literal: Map<string, Node<V>>;
  /** The child under `*`. */
  star: Node<V> | undefined;
  /** What a pattern holds that ends here with `>`. */
  rest: V | undefined;
  /** What a pattern holds that ends here. */
  value: V | undefined;
  /** The first value put at or below here: the nearest one, when a search gets this far and no further. */
  readonly via: V;
}

/**
 * Many patterns, searched in time that depends on the depth of the subject and not on their number. Of two
 * equal patterns the first put keeps its place.
 */
export class PatternTrie<V> {
  #root: Node<V> | undefined;

  put(pattern: string, value: V): void {
    this.#root ??= emptyNode(value);
    let node = this.#root;
    for (const token of pattern.split(".")) {
      if (token === ">") {
        node.rest ??= value;
        return;
      }
      node = token === "*" ? starOf(node, value) : literalOf(node, token, value);
    }
    node.value ??= value;
  }

  /**
   * The value of the most specific pattern that includes all of `tokens`, which may hold wildcards
   * themselves: literal before `*` before `>`, from the left.
   */
  covering(tokens: readonly string[]): V | undefined {
    return this.#root && search(this.#root, tokens, 0, false);
  }

  /**
   * As nats-server matches a subscription against a permission: it takes the tokens of the subscription as
   * literals, so that a final `>` matches a `*` (server/sublist.go, matchLevel).
   */
  matchingCrudely(tokens: readonly string[]): V | undefined {
    return this.#root && search(this.#root, tokens, 0, true);
  }

  /** Values of all patterns that match a literal subject, the most specific first. */
  matching(tokens: readonly string[]): V[] {
    const found: V[] = [];
    if (this.#root) collect(this.#root, tokens, 0, found);
    return found;
  }

  /** The value of a pattern that agrees with `tokens` in as many leading tokens as any does; undefined if in none. */
  nearest(tokens: readonly string[]): V | undefined {
    return this.#root && deepest(this.#root, tokens, 0).value;
  }
}

function emptyNode<V>(via: V): Node<V> {
  return { literal: new Map(), star: undefined, rest: undefined, value: undefined, via };
}

function starOf<V>(node: Node<V>, value: V): Node<V> {
  node.star ??= emptyNode(value);
  return node.star;
}

function literalOf<V>(node: Node<V>, token: string, value: V): Node<V> {
  const known = node.literal.get(token);
  if (known) return known;
  const created = emptyNode(value);
  node.literal.set(token, created);
  return created;
}

function search<V>(node: Node<V>, tokens: readonly string[], at: number, crudely: boolean): V | undefined {
  const token = tokens[at];
  if (token === undefined) return node.value;
  const literal = node.literal.get(token);
  const inLiteral = literal && search(literal, tokens, at + 1, crudely);
  if (inLiteral !== undefined) return inLiteral;
  if (node.star && (token !== ">" || crudely)) {
    const inStar = search(node.star, tokens, at + 1, crudely);
    if (inStar !== undefined) return inStar;
  }
  return node.rest;
}

function collect<V>(node: Node<V>, tokens: readonly string[], at: number, found: V[]): void {
  const token = tokens[at];
  if (token === undefined) {
    if (node.value !== undefined) found.push(node.value);
    return;
  }
  const literal = node.literal.get(token);
  if (literal) collect(literal, tokens, at + 1, found);
  if (node.star) collect(node.star, tokens, at + 1, found);
  if (node.rest !== undefined) found.push(node.rest);
}

function deepest<V>(
  node: Node<V>,
  tokens: readonly string[],
  at: number,
): { readonly depth: number; readonly value: V | undefined } {
  let best = { depth: at, value: at === 0 ? undefined : node.via };
  const token = tokens[at];
  if (token === undefined) return best;
  for (const child of [node.literal.get(token), node.star]) {
    if (!child) continue;
    const below = deepest(child, tokens, at + 1);
    if (below.depth > best.depth) best = below as { depth: number; value: V };
  }
  return best;
}
