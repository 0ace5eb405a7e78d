import { createHash } from "node:crypto";
import { GatewayError } from "../errors.ts";
import type { Identity } from "../identity/identity.ts";
import type { RuleRef } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import { limitsOfBoth, linesOfBoth, type RoleActing, rolesActing } from "./acting.ts";
import { guardsOf, holesOf, subscribes } from "./crude.ts";
import { fillForbidden, fillPattern } from "./fill.ts";
import { type RoleGiven, rolesGiven } from "./given.ts";
import type { Grant, GrantLine, Limits, Withheld } from "./grant.ts";
import { LIMITS } from "./limits.ts";
import { type PolicyLine, parseLine } from "./line.ts";
import { firstToken, includes, overlaps } from "./pattern.ts";
import { permissionsOf } from "./permissions.ts";
import type { Policy } from "./policy.ts";

export const DEFAULT_LIMITS: Limits = {
  credentialSeconds: 600,
  // 1 MiB, nats-server's own default, less what a seal takes of it.
  payloadBytes: 1024 * 1024 - 4 * 1024,
  connections: 20,
};

/**
 * Compiles everything one identity may do; of one that acts for a user, what both may; where a token was asked for
 * less, no more than that. Pure and slow (milliseconds for thousands of lines): cache it by identity and policy
 * version, until `grant.until`.
 *
 * @throws GatewayError POLICY_INVALID when templates make more than `LIMITS.grantRulesMax` (4,000) lines, or the
 *         lines more than `LIMITS.grantPermissionsMax` (8,000) NATS permissions
 */
export function compileGrant(policy: Policy, identity: Identity, now: EpochSeconds): Grant {
  const users = rolesGiven(policy, identity, now);
  if (!identity.actor) {
    const may = allow(users, identity);
    return assemble(policy, identity, { roles: users, involved: users, may, limits: limitsOf(users) });
  }
  const acting = rolesActing(policy, identity, users, now);
  const actors = acting.map(({ given }) => given);
  const standsOn = users.filter((one) => acting.some((role) => role.standsOn.includes(one)));
  return assemble(policy, identity, {
    roles: actors,
    // A `never` of the user's roles holds for whoever acts for it, whichever role it stands in.
    involved: [...actors, ...users],
    may: acting.flatMap((role) => allowActing(role, identity)),
    limits: limitsOfBoth(limitsOf(actors), limitsOf(standsOn)),
  });
}

interface Parts {
  /** The roles that the Grant names. */
  readonly roles: readonly RoleGiven[];
  /** All whose `never` and `until` count. */
  readonly involved: readonly RoleGiven[];
  readonly may: readonly GrantLine[];
  readonly limits: Limits;
}

function assemble(
  policy: Policy,
  identity: Identity,
  { roles, involved, may: granted, limits }: Parts,
): Grant {
  const never = forbid([...policy.never, ...involved.flatMap(({ role }) => role.never)], identity);
  const { may, withheld } = settle(never ? narrowToAsked(granted, identity) : [], never ?? []);
  if (may.length > LIMITS.grantRulesMax) throw tooLarge(identity.user, "lines", may[0]?.rule);
  const until = Math.min(...involved.map((one) => one.until ?? Number.POSITIVE_INFINITY));
  const draft = {
    user: identity.user,
    policy: policy.version,
    roles: roles.map(({ role }) => role.name),
    may,
    never: never ?? [],
    ...(withheld.length > 0 && { withheld }),
    limits,
    ...(until !== Number.POSITIVE_INFINITY && { until }),
  };
  return { ...draft, hash: hashOf({ ...draft, hash: "" }) };
}

/** An ill-formed line asks for nothing. */
function narrowToAsked(granted: readonly GrantLine[], { user, asked }: Identity): readonly GrantLine[] {
  if (!asked) return granted;
  const lines = asked.flatMap((text) => {
    const parsed = parseLine(text, { templates: false });
    const rule = { text, file: "(asked)", line: 0 };
    return parsed.ok ? [grantLine({ ...parsed.line, rule }, parsed.line.pattern)] : [];
  });
  const narrowed = linesOfBoth(granted, lines, LIMITS.grantRulesMax);
  if (!narrowed) throw tooLarge(user, "lines", granted[0]?.rule);
  return narrowed;
}

/** What an actor may do in one role: its own lines, each narrowed to what the user's roles allow. */
function allowActing({ given, standsOn }: RoleActing, identity: Identity): GrantLine[] {
  const lines = linesOfBoth(allow([given], identity), allow(standsOn, identity), LIMITS.grantRulesMax);
  if (!lines) throw tooLarge(identity.user, "lines", given.role.may[0]?.rule);
  return lines;
}

function allow(given: readonly RoleGiven[], identity: Identity): GrantLine[] {
  const granted: GrantLine[] = [];
  for (const line of given.flatMap(({ role }) => role.may)) {
    const patterns = fillPattern(line.pattern, identity, LIMITS.grantRulesMax - granted.length);
    if (!patterns) throw tooLarge(identity.user, "lines", line.rule);
    for (const pattern of patterns) granted.push(grantLine(line, pattern));
  }
  return granted;
}

/** @returns undefined when a line cannot be filled in its first token: then nothing is granted at all */
function forbid(lines: readonly PolicyLine[], identity: Identity): GrantLine[] | undefined {
  const forbidden: GrantLine[] = [];
  for (const line of lines) {
    const patterns = fillForbidden(line.pattern, identity, LIMITS.grantRulesMax - forbidden.length);
    if (!patterns) return undefined;
    for (const pattern of patterns) forbidden.push(grantLine(line, pattern));
  }
  return forbidden;
}

function grantLine(line: PolicyLine, pattern: string): GrantLine {
  const { stream, bucket, consumers, way } = line;
  const object = {
    ...(stream !== undefined && { stream }),
    ...(bucket !== undefined && { bucket }),
    ...(consumers && { consumers }),
    ...(way !== undefined && { way }),
  };
  return {
    verb: line.verb,
    pattern,
    ...(line.queue !== undefined && { queue: line.queue }),
    ...(Object.keys(object).length > 0 && { object }),
    rule: line.rule,
  };
}

interface Settled {
  readonly may: readonly GrantLine[];
  readonly withheld: readonly Withheld[];
}

/** Takes out what is forbidden whole and what nats-server could not be told exactly. */
function settle(granted: readonly GrantLine[], never: readonly GrantLine[]): Settled {
  const withheld: Withheld[] = [];
  const readable = granted.filter((line) => !forbiddenWhole(line, never, withheld));
  const plain = readable.filter((line) => subscribes(line) && line.queue === undefined);
  const groups = Map.groupBy(plain, (line) => firstToken(line.pattern));
  const queued = readable.filter((line) => {
    if (line.queue === undefined) return true;
    const near = groups.get(firstToken(line.pattern)) ?? [];
    const because = near
      .filter((other) => overlaps(other.pattern, line.pattern) && !includes(line.pattern, other.pattern))
      .map(({ rule }) => rule);
    if (because.length > 0) withheld.push({ line, why: "queue_conflict", because });
    return because.length === 0;
  });
  const crude = crudeRules(queued, never);
  const may = queued.filter((line) => {
    const bypasses = line.verb === "connect" && line.object?.way !== "native";
    if (bypasses && crude.length > 0) withheld.push({ line, why: "direct_too_wide", because: crude });
    return !bypasses || crude.length === 0;
  });
  return { may, withheld };
}

/** Rules that only the gateway can apply as they are meant: a client that connects by itself would reach further. */
export function crudeRules(may: readonly GrantLine[], never: readonly GrantLine[]): RuleRef[] {
  const guard = guardsOf(may).find(({ conflicts }) => conflicts.length > 0);
  if (guard) return [guard.line.rule, ...guard.conflicts.slice(0, 1).map(({ rule }) => rule)];
  const [hole] = holesOf(may, never);
  return hole ? [hole.line.rule, hole.never.rule] : [];
}

/** Verbs that no NATS permission could forbid in part. */
function forbiddenWhole(line: GrantLine, never: readonly GrantLine[], withheld: Withheld[]): boolean {
  if (line.verb === "publish" || line.verb === "request" || subscribes(line) || line.verb === "write-kv") {
    return false;
  }
  const because = never
    .filter((one) => one.verb === line.verb && sameObject(one, line))
    .map(({ rule }) => rule);
  if (because.length > 0) withheld.push({ line, why: "never_overlaps", because });
  return because.length > 0;
}

function sameObject(one: GrantLine, line: GrantLine): boolean {
  for (const name of ["stream", "bucket", "way"]) {
    if (one.object?.[name] !== line.object?.[name]) return false;
  }
  return one.pattern === line.pattern || (line.pattern !== "" && overlaps(one.pattern, line.pattern));
}

function limitsOf(given: readonly RoleGiven[]): Limits {
  const stated = given.map(({ role }) => role.limits);
  const values = (field: keyof Limits): number[] =>
    stated.map((limits) => limits[field]).filter((value) => value !== undefined);
  const largest = (field: keyof Limits): number | undefined => {
    const found = values(field);
    return found.length > 0 ? Math.max(...found) : undefined;
  };
  const ratePerSecond = largest("ratePerSecond");
  return {
    credentialSeconds: Math.min(
      ...values("credentialSeconds"),
      ...(values("credentialSeconds").length > 0 ? [] : [DEFAULT_LIMITS.credentialSeconds]),
    ),
    payloadBytes: largest("payloadBytes") ?? DEFAULT_LIMITS.payloadBytes,
    ...(ratePerSecond !== undefined && { ratePerSecond }),
    connections: largest("connections") ?? DEFAULT_LIMITS.connections,
  };
}

/** Over what NATS is told: permissions under a placeholder inbox, ways to connect, limits and the end. */
function hashOf(grant: Grant): string {
  const permissions = permissionsOf(grant, "_INBOX.x");
  const entries = [permissions.pub.allow, permissions.pub.deny, permissions.sub.allow, permissions.sub.deny];
  const count = entries.reduce((sum, list) => sum + (list?.length ?? 0), 0);
  if (count > LIMITS.grantPermissionsMax) throw tooLarge(grant.user, "NATS permissions", grant.may[0]?.rule);
  const ways = grant.may.filter(({ verb }) => verb === "connect").map(({ object }) => object?.way);
  const told = JSON.stringify([permissions, [...new Set(ways)].sort(), grant.limits, grant.until ?? null]);
  return createHash("sha256").update(told).digest("base64url");
}

function tooLarge(user: string, what: "lines" | "NATS permissions", rule: RuleRef | undefined): GatewayError {
  const max = what === "lines" ? LIMITS.grantRulesMax : LIMITS.grantPermissionsMax;
  const at = rule ? `; it grew too large at ${rule.file}:${rule.line} "${rule.text}"` : "";
  return new GatewayError(
    "POLICY_INVALID",
    `Cannot compile the grant of ${user}: more than ${max} ${what}${at}`,
  );
}
