import type { Action } from "../../policy/action.ts";
import { decide } from "../../policy/decide.ts";
import type { Grant, GrantLine } from "../../policy/grant.ts";
import { includes } from "../../policy/pattern.ts";
import { allowed, type Outcome, refused } from "../../refusal.ts";
import type { Store } from "./store.ts";

/** Reading one store through one consumer: what of it is read, and by which line. */
export interface Reading {
  readonly action: Action;
  readonly line: GrantLine;
  /** The one subject filter that says so: in a bucket with `$KV.<bucket>.` before the keys. */
  readonly filter: string;
}

/**
 * Decides what a consumer may read. A client that asks for everything gets everything it may read, if one line says
 * what that is; one that asks for something is given that or refused. A consumer has one filter, because
 * nats-server enforces no more than the one in the subject of the request: of several, one must include the others.
 *
 * @param consumer  a declared one's name; undefined = numbered
 */
export function decideReading(
  grant: Grant,
  store: Store,
  filters: readonly string[],
  consumer: string | undefined,
): Outcome<Reading> {
  const lines = consumer === undefined ? store.numbered : (store.declared.get(consumer) ?? []);
  const asked = filters.length === 0 ? [">"] : filters;
  const isEverything = asked.some((filter) => filter === ">" || filter === `${store.prefix}>`);
  const filter = isEverything ? widest(lines.map(({ pattern }) => store.prefix + pattern)) : widest(asked);
  if (filter === undefined) {
    const why =
      lines.length === 0
        ? "names a consumer that the policy does not"
        : "reads by several filters; create one consumer for each";
    return refused({ reason: "request_invalid", what: "consumer", why });
  }
  return decideFilter(grant, store, filter, consumer);
}

/** Decides one filter as it stands. */
export function decideFilter(
  grant: Grant,
  store: Store,
  filter: string,
  consumer: string | undefined,
): Outcome<Reading> {
  const action = readingAction(store, filter, consumer);
  const outcome = decide(grant, action);
  return outcome.ok ? allowed({ action, line: outcome.value, filter }) : outcome;
}

/** @param filter  outside the bucket: taken as a key, which nothing grants since no key begins with `$KV` … */
export function readingAction(store: Store, filter: string, consumer?: string): Action {
  const { stream, bucket, prefix } = store;
  if (bucket !== undefined) {
    return { verb: "read-kv", bucket, key: filter.startsWith(prefix) ? filter.slice(prefix.length) : "" };
  }
  return { verb: "read-stream", stream, subject: filter, ...(consumer !== undefined && { consumer }) };
}

/** The one that includes all others; undefined when there is none. */
function widest(patterns: readonly string[]): string | undefined {
  return patterns.find((one) => patterns.every((other) => includes(one, other)));
}
