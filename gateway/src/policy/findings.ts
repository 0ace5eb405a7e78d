import { GatewayError } from "../errors.ts";
import type { RuleRef } from "../refusal.ts";
import { SubjectAlgebra } from "./algebra.ts";
import { compileGrant } from "./compile.ts";
import { subscribes } from "./crude.ts";
import { templateOf } from "./fill.ts";
import type { Withheld } from "./grant.ts";
import type { PolicyLine, Verb } from "./line.ts";
import { identityOf } from "./named.ts";
import { firstToken, includes, overlaps } from "./pattern.ts";
import type { Mistake, Policy, Role } from "./policy.ts";

/** What a policy says that it can hardly mean, and what it says that cannot be. */
export interface Findings {
  readonly mistakes: readonly Mistake[];
  readonly warnings: readonly Mistake[];
}

/**
 * Looks at a policy that is well-formed. Roles are judged by themselves, with templates as tokens of their own,
 * and then together, as the named identities have them.
 */
export function findingsOf(policy: Policy): Findings {
  const asNamed = policy.identities.map((named) => withheldFor(policy, named.name));
  return {
    mistakes: distinct([
      ...policy.roles.flatMap(queueConflicts),
      ...asNamed.flatMap(({ mistakes }) => mistakes),
    ]),
    warnings: distinct([
      ...policy.roles.flatMap(givenToNobody),
      ...shadowed(policy),
      ...samePosition(policy),
      ...listTimesList(policy),
      ...asNamed.flatMap(({ warnings }) => warnings),
    ]),
  };
}

function givenToNobody({ name, givenTo, file, line }: Role): Mistake[] {
  if (givenTo.length > 0) return [];
  return [{ file, line, column: 1, message: `role "${name}" is given to nobody` }];
}

/** Lines that a `never` of their own role, or of the policy, takes away entirely. */
function shadowed(policy: Policy): Mistake[] {
  return policy.roles.flatMap((role) => {
    const never = [...role.never, ...policy.never];
    if (never.length === 0) return [];
    // Templates stand as tokens that nothing else spells: what is shadowed then is so for everybody.
    const algebra = new SubjectAlgebra();
    const forbidden = Map.groupBy(never, objectOf);
    return role.may.flatMap((line) => {
      const against = forbidden.get(objectOf(line)) ?? [];
      if (against.length === 0) return [];
      if (line.pattern === "") return [shadowedBy(line, against[0])];
      const near = against.filter((other) => overlaps(other.pattern, line.pattern));
      const reads = line.verb === "read-stream" || line.verb === "read-kv";
      const set = algebra.of(line.pattern);
      const whole = algebra.includes(algebra.union(near.map(({ pattern }) => pattern)), set);
      return near.length > 0 && (reads || whole) ? [shadowedBy(line, near[0])] : [];
    });
  });
}

function shadowedBy({ rule }: PolicyLine, never: PolicyLine | undefined): Mistake {
  const by = never ? `"${never.rule.text}" (${placeOf(never.rule)})` : "a never";
  return at(rule, `"${rule.text}" can never apply: ${by} forbids it`);
}

const FAMILY: Readonly<Partial<Record<Verb, string>>> = { request: "publish", respond: "subscribe" };

/** Lines of one object are about the same things: a subject to publish to, the keys of one bucket. */
function objectOf({ verb, stream, bucket, way }: PolicyLine): string {
  return [FAMILY[verb] ?? verb, stream ?? bucket ?? way ?? ""].join(" ");
}

/** Templates where a value could come to spell what another line has there. */
function samePosition(policy: Policy): Mistake[] {
  const seen = new Map<string, { readonly token: string; readonly rule: RuleRef }[]>();
  const found: Mistake[] = [];
  for (const line of policy.roles.flatMap((role) => role.may)) {
    const tokens = line.pattern.split(".");
    for (const [index, token] of tokens.entries()) {
      if (token === "*" || token === ">" || token === "") continue;
      const key = `${objectOf(line)} ${tokens.slice(0, index).join(".")} ${index}`;
      const others = seen.get(key) ?? [];
      seen.set(key, others);
      if (others.some((other) => other.token === token)) continue;
      const clash = others.find((other) => mayMeet(token, other.token));
      others.push({ token, rule: line.rule });
      if (!clash) continue;
      const message = `"${token}" here and "${clash.token}" of "${clash.rule.text}" (${placeOf(clash.rule)}) fill the same position: a value may spell the other`;
      found.push(at(line.rule, message));
    }
  }
  return found;
}

function mayMeet(a: string, b: string): boolean {
  const templates = [templateOf(a), templateOf(b)];
  if (templates.every((name) => name === undefined)) return false;
  const literal = [a, b].find((token) => templateOf(token) === undefined);
  if (literal === undefined) return true;
  // A user's name has its issuer and a dash in front; other values are escaped into these characters.
  return templates.includes("user") ? /^[a-z0-9]+-./.test(literal) : /^[A-Za-z0-9_=-]+$/.test(literal);
}

/** Two templates that both stand for lists grant every combination of their values. */
function listTimesList(policy: Policy): Mistake[] {
  const lists = new Set(["groups"]);
  for (const { identity } of policy.identities) {
    for (const [name, values] of Object.entries(identity.attributes)) if (values.length > 1) lists.add(name);
  }
  return policy.roles
    .flatMap((role) => role.may)
    .flatMap(({ pattern, rule }) => {
      const names = new Set(pattern.split(".").map(templateOf));
      const both = [...names].filter((name) => name !== undefined && lists.has(name));
      if (both.length < 2) return [];
      return [
        at(
          rule,
          `"${rule.text}" grants every combination of the lists ${both.join(" and ")}, not only pairs`,
        ),
      ];
    });
}

/** Subscriptions with and without a queue, on patterns that overlap and differ: nats-server cannot keep them apart. */
function queueConflicts(role: Role): Mistake[] {
  const lines = role.may.filter(subscribes);
  const groups = Map.groupBy(lines, (line) => firstToken(line.pattern));
  return lines.flatMap((line) => {
    if (line.queue === undefined) return [];
    const near = groups.get(firstToken(line.pattern)) ?? [];
    const plain = near.find(
      (other) =>
        other.queue === undefined &&
        overlaps(other.pattern, line.pattern) &&
        !includes(line.pattern, other.pattern),
    );
    if (!plain) return [];
    return [at(line.rule, conflictText(line.rule, [plain.rule]))];
  });
}

function conflictText(rule: RuleRef, because: readonly RuleRef[]): string {
  return `"${rule.text}" and ${namesOf(because)} overlap on different patterns, one with a queue and one without, and nats-server cannot keep them apart; give both the same pattern`;
}

function withheldFor(policy: Policy, name: string): Findings {
  const named = policy.identities.find((one) => one.name === name);
  if (!named) return { mistakes: [], warnings: [] };
  try {
    // At the beginning of time every `until` is still to come.
    const { withheld = [] } = compileGrant(policy, identityOf(named, 0), 0);
    const [conflicts, others] = [
      withheld.filter(({ why }) => why === "queue_conflict"),
      withheld.filter(({ why }) => why === "direct_too_wide"),
    ];
    return {
      mistakes: conflicts.map(({ line, because }) => at(line.rule, conflictText(line.rule, because))),
      warnings: others.map(directText),
    };
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return {
      mistakes: [{ file: named.file, line: named.line, column: 1, message: error.message }],
      warnings: [],
    };
  }
}

function directText({ line, because }: Withheld): Mistake {
  const message = `"${line.rule.text}" is withheld from whoever has ${namesOf(because)}: nats-server could not keep a client that connects by itself to them`;
  return at(line.rule, message);
}

function namesOf(rules: readonly RuleRef[]): string {
  return rules.map((rule) => `"${rule.text}" (${placeOf(rule)})`).join(" and ");
}

function placeOf({ file, line }: RuleRef): string {
  return `${file}:${line}`;
}

function at({ file, line }: RuleRef, message: string): Mistake {
  return { file, line, column: 1, message };
}

function distinct(findings: readonly Mistake[]): Mistake[] {
  const known = new Set<string>();
  return findings.filter((one) => {
    const key = JSON.stringify(one);
    return !known.has(key) && known.add(key);
  });
}
