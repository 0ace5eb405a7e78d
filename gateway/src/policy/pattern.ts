/**
 * Subject patterns: tokens between dots, `*` for one token, a final `>` for one or more.
 *
 * @source https://docs.nats.io/nats-concepts/subjects
 */

/** Whether every subject of `inner` is a subject of `outer`. Both may hold wildcards. */
export function includes(outer: string, inner: string): boolean {
  const outerTokens = outer.split(".");
  const innerTokens = inner.split(".");
  for (let i = 0; i < outerTokens.length; i++) {
    const token = outerTokens[i];
    const other = innerTokens[i];
    if (other === undefined) return false;
    if (token === ">") return true;
    if (other === ">") return false;
    if (token !== "*" && token !== other) return false;
  }
  return outerTokens.length === innerTokens.length;
}

/** The subjects of both patterns, which is again a pattern; undefined when there are none. */
export function intersection(a: string, b: string): string | undefined {
  const aTokens = a.split(".");
  const bTokens = b.split(".");
  const both: string[] = [];
  for (let i = 0; ; i++) {
    const left = aTokens[i];
    const right = bTokens[i];
    if (left === undefined && right === undefined) return both.join(".");
    if (left === undefined || right === undefined) return undefined;
    if (left === ">") return [...both, ...bTokens.slice(i)].join(".");
    if (right === ">") return [...both, ...aTokens.slice(i)].join(".");
    if (left !== "*" && right !== "*" && left !== right) return undefined;
    both.push(left === "*" ? right : left);
  }
}

/** Whether some subject is in both patterns. */
export function overlaps(a: string, b: string): boolean {
  return intersection(a, b) !== undefined;
}

/** Whether the pattern stands for more than the one subject it spells. */
export function hasWildcard(pattern: string): boolean {
  return /(^|\.)(\*(\.|$)|>$)/.test(pattern);
}

/** The first token, by which patterns of a policy can be told apart quickly: it is never a wildcard there. */
export function firstToken(pattern: string): string {
  const dot = pattern.indexOf(".");
  return dot === -1 ? pattern : pattern.slice(0, dot);
}
