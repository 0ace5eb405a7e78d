import type { Identity } from "../identity/identity.ts";
import type { RuleRef } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { actorOf } from "./acting.ts";
import { type Action, formatAction } from "./action.ts";
import { compileGrant } from "./compile.ts";
import { decide } from "./decide.ts";
import { fillPattern, templateOf } from "./fill.ts";
import { attributeOf, type Lack, lacksOf } from "./given.ts";
import type { Grant, GrantLine, Withheld } from "./grant.ts";
import { LIMITS } from "./limits.ts";
import type { PolicyLine, Verb } from "./line.ts";
import type { Policy, Role } from "./policy.ts";

/** Why an action is allowed or refused, for people; the decision itself is `decide`'s. */
export interface Explanation {
  readonly outcome: "allowed" | "refused";
  readonly action: string;
  readonly user: string;
  readonly roles: readonly string[];
  readonly policy: string;
  /** The line that allows it, or the `never` that forbids it. */
  readonly rule?: RuleRef;
  /** Of a refusal without `never`: the lines that came nearest, at most three, the nearest first. */
  readonly near: readonly Near[];
}

export interface Near {
  readonly rule: RuleRef;
  readonly missing: readonly Missing[];
}

export type Missing =
  | Lack
  /** A token of the object differs; `template` when the line has one there. Positions count from 1. */
  | {
      readonly what: "token";
      readonly position: number;
      readonly expected: string;
      readonly found: string;
      readonly template?: string;
    }
  | { readonly what: "tokens"; readonly expected: number; readonly found: number }
  /** The line's template stands for an attribute that the identity does not have. */
  | { readonly what: "template"; readonly template: string }
  | {
      readonly what: "stream" | "bucket" | "queue" | "consumer" | "way";
      readonly expected: string;
      readonly found: string;
    }
  /** `publish` is granted; a request needs the inbox that only `request` lines and stores bring. */
  | { readonly what: "inbox" }
  | { readonly what: "withheld"; readonly why: Withheld["why"]; readonly because: readonly RuleRef[] }
  /** Roles with `acts-for` count only for one who acts for a user. */
  | { readonly what: "acting" }
  /** One who acts for a user has only roles with `acts-for`. */
  | { readonly what: "own" }
  /** The user has none of the roles that this one acts for. */
  | { readonly what: "acts-for"; readonly roles: readonly string[] }
  /** The actor's line would do, and the user's own roles do not allow it. */
  | { readonly what: "user-lacks" };

const NEAR_MAX = 3;
const NEAR_RANGE = 1;

/** @throws GatewayError as `compileGrant` */
export function explain(policy: Policy, identity: Identity, action: Action, now: EpochSeconds): Explanation {
  const grant = compileGrant(policy, identity, now);
  const decision = decide(grant, action);
  const facts = {
    action: formatAction(action),
    user: identity.user,
    roles: grant.roles,
    policy: policy.version,
  };
  if (decision.ok) return { outcome: "allowed", ...facts, rule: decision.value.rule, near: [] };
  if (decision.refusal.reason === "never") {
    return { outcome: "refused", ...facts, rule: decision.refusal.rule, near: [] };
  }
  return { outcome: "refused", ...facts, near: nearLines(policy, identity, grant, action, now) };
}

/** Verbs that one line can stand for: to nats-server a request is a publish, and a responder subscribes. */
const FAMILY: Readonly<Partial<Record<Verb, readonly Verb[]>>> = {
  publish: ["publish", "request"],
  request: ["request", "publish"],
  subscribe: ["subscribe", "respond"],
};

function nearLines(
  policy: Policy,
  identity: Identity,
  grant: Grant,
  action: Action,
  now: EpochSeconds,
): readonly Near[] {
  const verbs = FAMILY[action.verb] ?? [action.verb];
  const found: Near[] = [];
  for (const role of policy.roles) {
    const lines = role.may.filter(({ verb }) => verbs.includes(verb));
    if (lines.length === 0) continue;
    const lacks = roleLacks(role, identity, grant, now);
    for (const line of lines) {
      const missing = [...lacks, ...lineLacks(line, identity, grant, action)];
      // A line that lacks nothing by itself is not enough: alone among the actor's, or without the inbox of a request.
      const alone: Missing = { what: identity.actor ? "user-lacks" : "inbox" };
      found.push({ rule: line.rule, missing: missing.length > 0 ? missing : [alone] });
    }
  }
  found.sort((a, b) => distanceOf(a) - distanceOf(b));
  const [nearest] = found;
  // Lines that are much further away than the nearest only distract from it.
  const within = nearest ? distanceOf(nearest) + NEAR_RANGE : 0;
  return found.filter((near) => distanceOf(near) <= within).slice(0, NEAR_MAX);
}

/** Another object is further away than another value in it, and another issuer than another group. */
function distanceOf({ missing }: Near): number {
  const weights: Partial<Record<Missing["what"], number>> = {
    issuer: 3,
    stream: 3,
    bucket: 3,
    way: 3,
    tokens: 2,
    acting: 2,
  };
  return missing.reduce((sum, one) => {
    const firstDiffers = one.what === "token" && one.position === 1;
    return sum + (firstDiffers ? 3 : (weights[one.what] ?? 1));
  }, 0);
}

function roleLacks(role: Role, identity: Identity, grant: Grant, now: EpochSeconds): readonly Missing[] {
  if (grant.roles.includes(role.name)) return [];
  if (identity.actor && role.actsFor.length === 0) return [{ what: "own" }];
  const holder = identity.actor ? actorOf(identity) : identity;
  if (!holder) return [{ what: "own" }];
  const lacks = role.givenTo.map((given) => lacksOf(given, holder, now)).sort((a, b) => a.length - b.length);
  const [fewest = []] = lacks;
  if (role.actsFor.length > 0 && !identity.actor) return [{ what: "acting" }, ...fewest];
  return identity.actor && fewest.length === 0 ? [{ what: "acts-for", roles: role.actsFor }] : fewest;
}

function lineLacks(line: PolicyLine, identity: Identity, grant: Grant, action: Action): readonly Missing[] {
  const lacks = [...objectLacks(line, action), ...subjectLacks(line, identity, action)];
  if (lacks.length > 0) return lacks;
  const withheld = grant.withheld?.find((one) => one.line.rule === line.rule);
  return withheld ? [{ what: "withheld", why: withheld.why, because: withheld.because }] : [];
}

function subjectLacks({ pattern }: PolicyLine, identity: Identity, action: Action): readonly Missing[] {
  const asked = subjectOf(action);
  if (asked === undefined) return [];
  const absent = absentTemplates(pattern, identity);
  // What cannot be filled is left open, so that the rest of the subject is compared all the same.
  const open = pattern.split(".").map((token) => (absent.includes(templateOf(token) ?? "") ? "*" : token));
  const filled = fillPattern(open.join("."), identity, LIMITS.grantRulesMax) ?? [];
  const lacks = filled.map((one) => tokenLacks(pattern, one, asked)).sort((a, b) => a.length - b.length);
  return [...absent.map((template) => ({ what: "template" as const, template })), ...(lacks[0] ?? [])];
}

function subjectOf(action: Action): string | undefined {
  if ("subject" in action) return action.subject;
  return "key" in action ? action.key : undefined;
}

function absentTemplates(pattern: string, identity: Identity): string[] {
  const names = pattern.split(".").map(templateOf);
  const absent = names.filter((name) => name !== undefined && name !== "user");
  return [...new Set(absent)].filter(
    (name) => name !== undefined && attributeOf(identity, name).length === 0,
  ) as string[];
}

function objectLacks(line: PolicyLine, action: Action): Missing[] {
  const lacks: Missing[] = [];
  const compare = (what: "stream" | "bucket" | "queue" | "way", expected?: string, found?: string): void => {
    if (expected === found) return;
    lacks.push({ what, expected: expected ?? "none", found: found ?? "none" });
  };
  if (action.verb === "subscribe" || action.verb === "respond") compare("queue", line.queue, action.queue);
  if (action.verb === "connect") compare("way", line.way, action.way);
  if ("bucket" in action) compare("bucket", line.bucket, action.bucket);
  if (action.verb !== "read-stream") return lacks;
  compare("stream", line.stream, action.stream);
  const right = line.consumers
    ? line.consumers.includes(action.consumer ?? "")
    : action.consumer === undefined;
  if (!right) {
    const expected = line.consumers?.join(", ") ?? "none";
    lacks.push({ what: "consumer", expected, found: action.consumer ?? "none" });
  }
  return lacks;
}

/** Where a subject asked for leaves a pattern; `written` is the pattern with its templates. */
function tokenLacks(written: string, pattern: string, asked: string): Missing[] {
  const lacks: Missing[] = [];
  const templates = written.split(".");
  const expected = pattern.split(".");
  const found = asked.split(".");
  for (const [index, token] of expected.entries()) {
    const other = found[index];
    if (token === ">" && other !== undefined) return lacks;
    if (other === undefined || (other === ">" && token !== "*")) break;
    if (token === other || (token === "*" && other !== ">")) continue;
    const template = templateOf(templates[index] ?? "");
    lacks.push({
      what: "token",
      position: index + 1,
      expected: token,
      found: other,
      ...(template !== undefined && { template }),
    });
  }
  if (found.at(-1) === ">") {
    const index = found.length - 1;
    const template = templateOf(templates[index] ?? "");
    const token = expected[index] ?? "nothing";
    lacks.push({
      what: "token",
      position: index + 1,
      expected: token,
      found: ">",
      ...(template !== undefined && { template }),
    });
  } else if (found.length !== expected.length) {
    lacks.push({ what: "tokens", expected: expected.length, found: found.length });
  }
  return lacks;
}

/** The line a Grant has, as people read it. */
export function formatGrantLine({ verb, pattern, queue, object }: GrantLine): string {
  const consumers = object?.consumers;
  const words = [
    verb,
    object?.stream,
    object?.bucket,
    object?.way,
    pattern,
    queue === undefined ? "" : `queue ${queue}`,
    Array.isArray(consumers) ? `consumers [${consumers.join(", ")}]` : "",
  ];
  return words.filter(Boolean).join(" ");
}
