import type { GrantLine } from "./grant.ts";
import { firstToken, hasWildcard, includes, intersection, overlaps } from "./pattern.ts";

/**
 * Where nats-server's rules for subscriptions are cruder than ours. It reads a final `*` of a permission as `>`
 * (tested on 2.15.1). And it filters the deliveries of a wildcard subscription only when it has noticed that a
 * denied pattern meets it: 2.15.1 notices always (tested), older ones only a denied pattern that lies wholly
 * inside (server/client.go, canSubscribe); since we do not know from which release on, we count on neither.
 */

/** Whether a line lets its holder subscribe. To nats-server `respond` is a subscription whose messages may be answered. */
export function subscribes(line: { readonly verb: string }): boolean {
  return line.verb === "subscribe" || line.verb === "respond";
}

/** A denied pattern that keeps a permission which ends in `*` from reaching below. */
export interface Guard {
  readonly line: GrantLine;
  /** `P.>` for the pattern P of the line. */
  readonly deny: string;
  /** Lines of other patterns that reach below: then the guard would forbid what they allow. */
  readonly conflicts: readonly GrantLine[];
}

/** The guards that the lines of a Grant need, with what stands in their way. */
export function guardsOf(may: readonly GrantLine[]): Guard[] {
  const lines = may.filter(subscribes);
  const groups = Map.groupBy(lines, (line) => firstToken(line.pattern));
  return lines
    .filter((line) => /\.\*$/.test(line.pattern))
    .flatMap((line) => {
      const deny = `${line.pattern}.>`;
      const near = groups.get(firstToken(line.pattern)) ?? [];
      const reaching = near.filter((other) => overlaps(other.pattern, deny));
      // Another line, into the same queue or none, that allows all of it anyway leaves nothing to guard.
      if (reaching.some((other) => line.queue === other.queue && includes(other.pattern, deny))) return [];
      return [{ line, deny, conflicts: reaching }];
    });
}

/** A forbidden pattern that a wildcard subscription may slip past, and the line that lets it. */
export interface Hole {
  readonly line: GrantLine;
  readonly never: GrantLine;
}

/**
 * Forbidden patterns with wildcards inside allowed ones: with `a.>` allowed and `a.*.x` forbidden, an older
 * nats-server takes `SUB a.b.>` and delivers `a.b.x`, since the forbidden pattern is not inside the subscription.
 */
export function holesOf(may: readonly GrantLine[], never: readonly GrantLine[]): Hole[] {
  const forbidden = Map.groupBy(never.filter(subscribes), (line) => firstToken(line.pattern));
  return may.filter(subscribes).flatMap((line) => {
    if (!hasWildcard(line.pattern)) return [];
    const near = forbidden.get(firstToken(line.pattern)) ?? [];
    return near
      .filter((one) => {
        const both = intersection(line.pattern, one.pattern);
        return both !== undefined && hasWildcard(both) && !includes(one.pattern, line.pattern);
      })
      .map((one) => ({ line, never: one }));
  });
}
