import { formatListed, SubjectAlgebra, type SubjectSet } from "./algebra.ts";
import type { PolicyLine, Verb } from "./line.ts";
import { overlaps } from "./pattern.ts";
import type { Given, Policy, Role, RoleLimits } from "./policy.ts";
import { formatDuration, formatSize } from "./units.ts";

/** The difference between two policies in what they let anybody do, not in their text. */
export interface PolicyDiff {
  /** Whether somebody may do more under the new one. */
  readonly wider: boolean;
  /** In the order of the new policy, then of the old. */
  readonly roles: readonly RoleDiff[];
}

export interface RoleDiff {
  /** Undefined for what the policy itself forbids everybody. */
  readonly role?: string;
  readonly changes: readonly Change[];
}

export interface Change {
  readonly what:
    | "gained"
    | "lost"
    | "forbidden"
    | "no-longer-forbidden"
    | "given"
    | "taken"
    | "limit"
    | "acts-for";
  /** As a policy would write it, with exceptions in words: `publish orders.* except orders.eu`. */
  readonly text: string;
  readonly wider: boolean;
}

/**
 * Compares two policies by exact arithmetic over the subjects that each role reaches, templates standing for
 * themselves. What a role forbids counts by itself too, since it holds for the other roles of whoever has it.
 *
 * @throws GatewayError POLICY_INVALID when the patterns are too entangled to be compared
 */
export function diffPolicies(before: Policy, after: Policy): PolicyDiff {
  const names = [...new Set([...after.roles, ...before.roles].map(({ name }) => name))];
  const roles: RoleDiff[] = names.map((role) => {
    const [was, is] = [findRole(before, role), findRole(after, role)];
    return {
      role,
      changes: [
        ...accessChanges(reachOf(was, before), reachOf(is, after), "gained", "lost"),
        ...accessChanges(
          linesByObject(was?.never),
          linesByObject(is?.never),
          "forbidden",
          "no-longer-forbidden",
        ),
        ...givenChanges(was?.givenTo ?? [], is?.givenTo ?? []),
        ...actsForChanges(was, is),
        ...(was && is ? limitChanges(was.limits, is.limits) : []),
      ],
    };
  });
  const never = accessChanges(
    linesByObject(before.never),
    linesByObject(after.never),
    "forbidden",
    "no-longer-forbidden",
  );
  const changed = [{ changes: never }, ...roles].filter(({ changes }) => changes.length > 0);
  return { wider: changed.some(({ changes }) => changes.some(({ wider }) => wider)), roles: changed };
}

function findRole(policy: Policy, name: string): Role | undefined {
  return policy.roles.find((role) => role.name === name);
}

/** Patterns by what they are about, each list with what is taken from it. */
type Reach = ReadonlyMap<string, { readonly may: readonly string[]; readonly never: readonly string[] }>;

/** What a role reaches: its lines, without what it and the policy forbid. */
function reachOf(role: Role | undefined, policy: Policy): Reach {
  const forbidden = linesByObject([...(role?.never ?? []), ...policy.never]);
  const reach = new Map<string, { may: string[]; never: string[] }>();
  for (const line of role?.may ?? []) {
    for (const object of objectsOf(line)) {
      const never = forbidden.get(familyOf(object))?.may ?? [];
      // What is read is withheld whole when a part of it is forbidden.
      if (
        line.verb.startsWith("read-") &&
        never.some((one) => one === line.pattern || overlaps(one, line.pattern))
      ) {
        continue;
      }
      const entry = reach.get(object) ?? { may: [], never: [...never] };
      entry.may.push(line.pattern);
      reach.set(object, entry);
    }
  }
  return reach;
}

function linesByObject(lines: readonly PolicyLine[] = []): Reach {
  const grouped = Map.groupBy(lines, (line) => familyOf(objectsOf(line)[0] ?? line.verb));
  return new Map(
    [...grouped].map(([object, group]) => [object, { may: group.map(({ pattern }) => pattern), never: [] }]),
  );
}

const FAMILY: Readonly<Partial<Record<Verb, Verb>>> = { request: "publish", respond: "subscribe" };

/** What a line is about, as it is written around the subject: `subscribe … queue q`, `read-stream S …`. */
function objectsOf({ verb, stream, bucket, way, queue, consumers }: PolicyLine): string[] {
  if (queue !== undefined) return [`${verb} … queue ${queue}`];
  const name = stream ?? bucket ?? way;
  const object = name === undefined ? verb : `${verb} ${name}`;
  // A request reaches what a publish does, and an inbox besides.
  if (FAMILY[verb] !== undefined) return [object, FAMILY[verb]];
  return consumers ? consumers.map((consumer) => `${object} … consumers [${consumer}]`) : [object];
}

/** The object as `never` names it: without queue and consumer, and by the verb that NATS knows. */
function familyOf(object: string): string {
  const [plain = object] = object.split(" … ");
  const [verb = "", ...rest] = plain.split(" ");
  return [FAMILY[verb as Verb] ?? verb, ...rest].join(" ");
}

function accessChanges(was: Reach, is: Reach, more: Change["what"], less: Change["what"]): Change[] {
  const algebra = new SubjectAlgebra();
  const setOf = (reach: Reach, object: string): SubjectSet => {
    const { may = [], never = [] } = reach.get(object) ?? {};
    return algebra.without(algebra.union(may.map(spelled)), algebra.union(never.map(spelled)));
  };
  const objects = [...new Set([...is.keys(), ...was.keys()])];
  return objects.flatMap((object) => {
    const [before, after] = [setOf(was, object), setOf(is, object)];
    const change = (what: Change["what"], set: SubjectSet): Change[] =>
      algebra.list(set).map((one) => ({
        what,
        text: written(object, formatListed(one)),
        wider: what === "gained" || what === "no-longer-forbidden",
      }));
    return [...change(more, algebra.without(after, before)), ...change(less, algebra.without(before, after))];
  });
}

/** Verbs without a subject have one subject, so that they go through the same arithmetic. */
function spelled(pattern: string): string {
  return pattern === "" ? NO_SUBJECT : pattern;
}

const NO_SUBJECT = "-";

function written(object: string, subject: string): string {
  if (subject === NO_SUBJECT) return object;
  const [before, after] = object.split(" … ");
  return [before, subject, after].filter((part) => part !== undefined).join(" ");
}

/** A new line widens unless an old one holds for everybody it holds for. */
function givenChanges(was: readonly Given[], is: readonly Given[]): Change[] {
  const covered = (line: Given, by: readonly Given[]): boolean => by.some((other) => holdsFor(other, line));
  return [
    ...is
      .filter((line) => !covered(line, was))
      .map(({ rule }) => ({ what: "given" as const, text: rule.text, wider: true })),
    ...was
      .filter((line) => !covered(line, is))
      .map(({ rule }) => ({ what: "taken" as const, text: rule.text, wider: false })),
  ];
}

/** Whether `general` holds for every identity, at every time, that `special` holds for. */
function holdsFor(general: Given, special: Given): boolean {
  const same = (["user", "client", "service", "acr"] as const).every(
    (key) => general[key] === undefined || general[key] === special[key],
  );
  const attributes = general.attributes.every(({ name, values }) => {
    const asked = special.attributes.filter((other) => other.name === name).flatMap((other) => other.values);
    return values.every((value) => asked.includes(value));
  });
  const until =
    general.until === undefined || (special.until !== undefined && special.until <= general.until);
  return general.issuer === special.issuer && same && attributes && until;
}

function actsForChanges(was: Role | undefined, is: Role | undefined): Change[] {
  const [before, after] = [was?.actsFor ?? [], is?.actsFor ?? []];
  // A role without acts-for is for anybody who acts for itself: to drop the list is as much as to give it to others.
  const turned = was !== undefined && is !== undefined && (before.length === 0) !== (after.length === 0);
  return [
    ...after
      .filter((name) => !before.includes(name))
      .map((name) => ({ what: "acts-for" as const, text: `acts for ${name}`, wider: true })),
    ...before
      .filter((name) => !after.includes(name))
      .map((name) => ({ what: "acts-for" as const, text: `no longer acts for ${name}`, wider: turned })),
  ];
}

function limitChanges(was: RoleLimits, is: RoleLimits): Change[] {
  return LIMIT_TEXTS.filter(({ field }) => was[field] !== is[field]).map(({ name, field, format }) => {
    const text = (value: number | undefined): string =>
      value === undefined ? "as others say" : format(value);
    return {
      what: "limit" as const,
      text: `${name} ${text(was[field])} → ${text(is[field])}`,
      // A limit left out is the other roles' business, or the default: it may be more.
      wider: is[field] === undefined || was[field] === undefined || is[field] > was[field],
    };
  });
}

/** Limits as the policy writes them. */
const LIMIT_TEXTS: readonly {
  readonly name: string;
  readonly field: keyof RoleLimits;
  readonly format: (value: number) => string;
}[] = [
  { name: "credential", field: "credentialSeconds", format: formatDuration },
  { name: "payload", field: "payloadBytes", format: formatSize },
  { name: "rate", field: "ratePerSecond", format: (value) => `${value}/s` },
  { name: "connections", field: "connections", format: String },
];
