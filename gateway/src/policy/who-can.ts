import { parseUserName, unescapeToken } from "@countersign/seal";
import type { RuleRef } from "../refusal.ts";
import type { Action } from "./action.ts";
import { templateOf } from "./fill.ts";
import type { PolicyLine, Verb } from "./line.ts";
import { includes } from "./pattern.ts";
import type { Policy, Role } from "./policy.ts";

/** A way to an action: a line, who has its role, and what must be true of them besides. */
export interface Reach {
  readonly role: string;
  readonly rule: RuleRef;
  /** The lines of `given-to`, as written; any of them is enough. */
  readonly givenTo: readonly string[];
  /** For one who acts for users with one of these roles, and no further than they may. */
  readonly actsFor: readonly string[];
  /** Values that the line's templates must have: `{ name: "region", value: "eu" }`. */
  readonly where: readonly { readonly name: string; readonly value: string }[];
}

export interface WhoCan {
  readonly reaches: readonly Reach[];
  /** The lines that forbid it to everybody (`role` absent), or to all who have the role. */
  readonly never: readonly RuleRef[];
}

const FAMILY: Readonly<Partial<Record<Verb, Verb>>> = { request: "publish" };

/**
 * The roles and conditions that reach an action, whoever has them. What the policy forbids everybody is reached by
 * nobody; what a role forbids is named, since it holds for whoever has that role as well.
 */
export function whoCan(policy: Policy, action: Action): WhoCan {
  const forbids = policy.never.filter((line) => lineReaches(line, action, true)).map(({ rule }) => rule);
  const roleForbids = policy.roles.flatMap(({ never }) =>
    never.filter((line) => lineReaches(line, action, true)).map(({ rule }) => rule),
  );
  const reaches = forbids.length > 0 ? [] : policy.roles.flatMap((role) => reachesOf(role, action));
  return { reaches, never: [...forbids, ...roleForbids] };
}

function reachesOf(role: Role, action: Action): Reach[] {
  if (role.never.some((line) => lineReaches(line, action, true))) return [];
  return role.may
    .filter((line) => lineReaches(line, action, false))
    .flatMap((line) => {
      const where = conditionsOf(line.pattern, subjectOf(action) ?? "");
      if (!where) return [];
      const givenTo = role.givenTo.map(({ rule }) => rule.text);
      return [{ role: role.name, rule: line.rule, givenTo, actsFor: role.actsFor, where }];
    });
}

/** Whether a line reaches the action for somebody, or (`surely`) for everybody, whatever their attributes. */
function lineReaches(line: PolicyLine, action: Action, surely: boolean): boolean {
  const verbs = surely ? [action.verb, FAMILY[action.verb] ?? twinOf(action.verb)] : verbsFor(action.verb);
  if (!verbs.includes(line.verb)) return false;
  if (action.verb === "connect") return line.way === action.way;
  if ("bucket" in action && line.bucket !== action.bucket) return false;
  if (action.verb === "read-stream") {
    const consumer =
      surely ||
      (line.consumers ? line.consumers.includes(action.consumer ?? "") : action.consumer === undefined);
    if (line.stream !== action.stream || !consumer) return false;
  }
  if (!surely && (action.verb === "subscribe" || action.verb === "respond") && line.queue !== action.queue)
    return false;
  const asked = subjectOf(action);
  if (asked === undefined) return true;
  const open = line.pattern
    .split(".")
    .map((token) => (templateOf(token) === undefined || surely ? token : "*"));
  return includes(open.join("."), asked);
}

/** Lines of these verbs grant the verb asked for. */
function verbsFor(verb: Verb): readonly Verb[] {
  if (verb === "publish") return ["publish", "request"];
  return verb === "subscribe" ? ["subscribe", "respond"] : [verb];
}

/** What is forbidden under one verb is forbidden under the one that NATS cannot tell from it. */
function twinOf(verb: Verb): Verb {
  const twins: Readonly<Partial<Record<Verb, Verb>>> = {
    publish: "request",
    subscribe: "respond",
    respond: "subscribe",
  };
  return twins[verb] ?? verb;
}

function subjectOf(action: Action): string | undefined {
  if ("subject" in action) return action.subject;
  return "key" in action ? action.key : undefined;
}

/** @returns undefined when no value could ever make these tokens: nobody is named `*`, nor two things at once */
function conditionsOf(pattern: string, asked: string): Reach["where"] | undefined {
  const tokens = asked.split(".");
  const where = new Map<string, string>();
  for (const [position, token] of pattern.split(".").entries()) {
    const name = templateOf(token);
    if (name === undefined) continue;
    const found = tokens[position] ?? "";
    const value = name === "user" ? userOf(found) : unescapeToken(found, { first: position === 0 });
    if (value === undefined || (where.has(name) && where.get(name) !== value)) return undefined;
    where.set(name, value);
  }
  return [...where].map(([name, value]) => ({ name, value }));
}

function userOf(token: string): string | undefined {
  return parseUserName(token) ? token : undefined;
}
