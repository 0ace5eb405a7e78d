import { allowed, type Outcome, refused } from "../refusal.ts";
import { type Action, formatAction } from "./action.ts";
import { subscribes } from "./crude.ts";
import type { Grant, GrantLine } from "./grant.ts";
import { includes, overlaps } from "./pattern.ts";
import { PatternTrie } from "./pattern-trie.ts";
import { needsInbox } from "./permissions.ts";

/** A Grant arranged for deciding. Kept beside the Grant, so that the Grant stays plain data. */
interface Matcher {
  readonly publish: Side;
  /** Subscriptions by queue group, those without one under "". */
  readonly subscribe: ReadonlyMap<string, PatternTrie<GrantLine>>;
  /** The same, of `respond` lines only. */
  readonly respond: ReadonlyMap<string, PatternTrie<GrantLine>>;
  readonly neverSubscribe: { readonly trie: PatternTrie<GrantLine>; readonly lines: readonly GrantLine[] };
  /** By `read-stream ORDERS`, `read-stream ORDERS billing` (a declared consumer), `read-kv carts`, `write-kv carts`. */
  readonly stores: ReadonlyMap<string, Side>;
  /** By `connect direct`, `read-audit`. */
  readonly others: ReadonlyMap<string, GrantLine>;
  readonly hasInbox: boolean;
}

interface Side {
  readonly may: PatternTrie<GrantLine>;
  readonly never: PatternTrie<GrantLine>;
}

const matchers = new WeakMap<Grant, Matcher>();
const LITERAL = /^[\x21-\x7e]{1,256}$/;

/**
 * Decides one action under a Grant, exactly as nats-server does under `permissionsOf` of the same Grant. `never`
 * wins, then the most specific line that matches; none refuses. Microseconds, whatever the number of lines: the
 * first call builds a matcher, which lives as long as the Grant.
 *
 * A wildcard subscription is allowed where one line includes all of it, unless it touches a `never` in a way
 * that nats-server would refuse, or would not filter.
 *
 * @returns the line that allows it, `never` with the rule that forbids it, or `not_granted`
 */
export function decide(grant: Grant, action: Action): Outcome<GrantLine> {
  const matcher = matcherOf(grant);
  switch (action.verb) {
    case "publish":
      return decideLiteral(action, action.subject, matcher.publish);
    case "request":
      // nats-server cannot tell a request from a message that is published; what it needs besides is an inbox.
      return matcher.hasInbox ? decideLiteral(action, action.subject, matcher.publish) : notGranted(action);
    case "subscribe":
      return decideSubscribe(matcher, action, matcher.subscribe);
    case "respond":
      return decideSubscribe(matcher, action, matcher.respond);
    case "write-kv":
      return decideLiteral(action, action.key, matcher.stores.get(`write-kv ${action.bucket}`));
    case "read-kv":
      return decideRead(action, action.key, matcher.stores.get(`read-kv ${action.bucket}`));
    case "read-stream":
      return decideRead(action, action.subject, matcher.stores.get(storeOf(action)));
    case "connect":
      return fromLine(matcher.others.get(`connect ${action.way}`), action);
    case "read-audit":
    case "end-sessions":
    case "push-policy":
      return fromLine(matcher.others.get(action.verb), action);
  }
}

function decideLiteral(action: Action, subject: string, side: Side | undefined): Outcome<GrantLine> {
  const tokens = tokensOf(subject);
  if (!tokens || tokens.includes("*") || tokens.includes(">")) return notGranted(action);
  const forbidden = side?.never.covering(tokens);
  if (forbidden) return never(action, forbidden);
  return fromLine(side?.may.covering(tokens), action, side?.may.nearest(tokens));
}

function decideRead(action: Action, subject: string, side: Side | undefined): Outcome<GrantLine> {
  const tokens = tokensOf(subject);
  if (!tokens) return notGranted(action);
  return fromLine(side?.may.covering(tokens), action, side?.may.nearest(tokens));
}

function decideSubscribe(
  matcher: Matcher,
  action: Extract<Action, { readonly queue?: string }>,
  lines: Matcher["subscribe"],
): Outcome<GrantLine> {
  const tokens = tokensOf(action.subject);
  if (!tokens) return notGranted(action);
  const forbidden = neverOf(matcher, action.subject, tokens);
  if (forbidden) return never(action, forbidden);
  const may = lines.get(action.queue ?? "");
  return fromLine(may?.covering(tokens), action, may?.nearest(tokens));
}

/**
 * The forbidden line that a subscription runs into: one that nats-server would refuse it for, or one that it
 * touches without holding it (or another) whole, which nats-server would deliver.
 */
function neverOf(matcher: Matcher, subject: string, tokens: readonly string[]): GrantLine | undefined {
  const refusing = matcher.neverSubscribe.trie.matchingCrudely(tokens);
  if (refusing || !(tokens.includes("*") || tokens.at(-1) === ">")) return refusing;
  const touching = matcher.neverSubscribe.lines.filter((line) => overlaps(line.pattern, subject));
  return touching.find((line) => !includes(subject, line.pattern));
}

/** Tokens of a well-formed subject; undefined for anything else, which nothing can have granted. */
function tokensOf(subject: string): readonly string[] | undefined {
  if (!LITERAL.test(subject)) return undefined;
  const tokens = subject.split(".");
  return tokens.includes("") ? undefined : tokens;
}

function storeOf(action: Extract<Action, { readonly verb: "read-stream" }>): string {
  const numbered = action.consumer === undefined;
  return numbered ? `read-stream ${action.stream}` : `read-stream ${action.stream} ${action.consumer}`;
}

function fromLine(line: GrantLine | undefined, action: Action, near?: GrantLine): Outcome<GrantLine> {
  return line ? allowed(line) : notGranted(action, near);
}

function notGranted(action: Action, near?: GrantLine): Outcome<GrantLine> {
  return refused({
    reason: "not_granted",
    action: formatAction(action),
    ...(near && { nearest: near.rule }),
  });
}

function never(action: Action, line: GrantLine): Outcome<GrantLine> {
  return refused({ reason: "never", action: formatAction(action), rule: line.rule });
}

function matcherOf(grant: Grant): Matcher {
  const known = matchers.get(grant);
  if (known) return known;
  const built = buildMatcher(grant);
  matchers.set(grant, built);
  return built;
}

function buildMatcher(grant: Grant): Matcher {
  const publish = emptySide();
  const subscribe = new Map<string, PatternTrie<GrantLine>>();
  const respond = new Map<string, PatternTrie<GrantLine>>();
  const stores = new Map<string, Side>();
  const others = new Map<string, GrantLine>();
  for (const line of grant.may) {
    if (line.verb === "publish" || line.verb === "request") publish.may.put(line.pattern, line);
    else if (line.pattern === "") mapped(others, otherOf(line), () => line);
    else if (!subscribes(line)) {
      for (const store of storesOf(line)) mapped(stores, store, emptySide).may.put(line.pattern, line);
    }
    if (subscribes(line)) trieOf(subscribe, line.queue).put(line.pattern, line);
    if (line.verb === "respond") trieOf(respond, line.queue).put(line.pattern, line);
  }
  for (const line of grant.never) {
    if (line.verb === "publish" || line.verb === "request") publish.never.put(line.pattern, line);
    if (line.verb !== "write-kv") continue;
    for (const store of storesOf(line)) mapped(stores, store, emptySide).never.put(line.pattern, line);
  }
  const neverSubscribe = grant.never.filter(subscribes);
  const forbidden = new PatternTrie<GrantLine>();
  for (const line of neverSubscribe) forbidden.put(line.pattern, line);
  return {
    publish,
    subscribe,
    respond,
    stores,
    others,
    neverSubscribe: { trie: forbidden, lines: neverSubscribe },
    hasInbox: needsInbox(grant),
  };
}

function emptySide(): Side {
  return { may: new PatternTrie(), never: new PatternTrie() };
}

function trieOf(
  tries: Map<string, PatternTrie<GrantLine>>,
  queue: string | undefined,
): PatternTrie<GrantLine> {
  return mapped(tries, queue ?? "", () => new PatternTrie());
}

/** The stores a line opens, as `storeOf` and the verbs of buckets look them up. */
function storesOf({ verb, object }: GrantLine): string[] {
  if (verb !== "read-stream") return [`${verb} ${object?.bucket}`];
  const stream = `read-stream ${object?.stream}`;
  const consumers = object?.consumers;
  return Array.isArray(consumers) ? consumers.map((name: string) => `${stream} ${name}`) : [stream];
}

function otherOf({ verb, object }: GrantLine): string {
  return verb === "connect" ? `connect ${object?.way}` : verb;
}

function mapped<V>(map: Map<string, V>, key: string, create: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const created = create();
  map.set(key, created);
  return created;
}
