import { parseUserName } from "@countersign/seal";
import type { Identity } from "../identity/identity.ts";
import type { EpochSeconds } from "../time.ts";
import { type RoleGiven, roleGiven } from "./given.ts";
import type { GrantLine, Limits } from "./grant.ts";
import { intersection } from "./pattern.ts";
import type { Policy } from "./policy.ts";

/** A role that an actor has for this user, and those of the user's roles it stands on. */
export interface RoleActing {
  readonly given: RoleGiven;
  readonly standsOn: readonly RoleGiven[];
}

/**
 * Roles with `acts-for` that the actor of an identity has, where the user has one of the roles they act for.
 *
 * @param users  the roles the user has by itself
 */
export function rolesActing(
  policy: Policy,
  identity: Identity,
  users: readonly RoleGiven[],
  now: EpochSeconds,
): RoleActing[] {
  const actor = actorOf(identity);
  if (!actor) return [];
  return policy.roles.flatMap((role) => {
    const given = roleGiven(role, actor, now);
    const standsOn = users.filter((one) => role.actsFor.includes(one.role.name));
    return given && standsOn.length > 0 ? [{ given, standsOn }] : [];
  });
}

/** The actor as an identity of its own: all that is known of it is its name, and that it is a service. */
export function actorOf(identity: Identity): Identity | undefined {
  const named = identity.actor && parseUserName(identity.actor.user);
  if (!named || !identity.actor) return undefined;
  const { proof, provedAt, expiresAt } = identity;
  const attributes = Object.create(null) as Identity["attributes"];
  return { user: identity.actor.user, ...named, kind: "service", attributes, proof, provedAt, expiresAt };
}

/**
 * What both of two lists of lines allow: the first one's lines, each narrowed to what a line of the other's allows. So
 * an actor's to the user's, and anybody's to what was asked for.
 *
 * @returns undefined when there would be more than `limit`
 */
export function linesOfBoth(
  actors: readonly GrantLine[],
  users: readonly GrantLine[],
  limit: number,
): GrantLine[] | undefined {
  const byObject = Map.groupBy(users, objectOf);
  const both: GrantLine[] = [];
  for (const line of actors) {
    for (const other of byObject.get(objectOf(line)) ?? []) {
      const pattern = intersection(line.pattern, other.pattern);
      const consumers = consumersOfBoth(line, other);
      if (pattern === undefined || !consumers) continue;
      both.push({ ...line, ...consumers, verb: verbOfBoth(line.verb, other.verb), pattern });
      if (both.length > limit) return undefined;
    }
  }
  return both;
}

const FAMILY: Readonly<Record<string, string>> = { request: "publish", respond: "subscribe" };

function objectOf({ verb, queue, object }: GrantLine): string {
  return [FAMILY[verb] ?? verb, queue ?? "", object?.stream ?? object?.bucket ?? object?.way ?? ""].join(" ");
}

/** A request is more than a publish, and a response more than a subscription: of two, the lesser is what both allow. */
function verbOfBoth(one: string, other: string): string {
  return one === other ? one : (FAMILY[one] ?? one);
}

/**
 * @returns undefined when no consumer is in both. Numbered ones never are: they belong to the user's own streams,
 *          and an actor that read through them would take the user's messages
 */
function consumersOfBoth(line: GrantLine, other: GrantLine): Pick<GrantLine, "object"> | undefined {
  if (line.verb !== "read-stream") return {};
  const [mine, others] = [line.object?.consumers, other.object?.consumers];
  if (!Array.isArray(mine) || !Array.isArray(others)) return undefined;
  const consumers = mine.filter((name: string) => others.includes(name));
  return consumers.length > 0 ? { object: { ...line.object, consumers } } : undefined;
}

/** The smaller of each limit. */
export function limitsOfBoth(a: Limits, b: Limits): Limits {
  const rate = Math.min(
    a.ratePerSecond ?? Number.POSITIVE_INFINITY,
    b.ratePerSecond ?? Number.POSITIVE_INFINITY,
  );
  return {
    credentialSeconds: Math.min(a.credentialSeconds, b.credentialSeconds),
    payloadBytes: Math.min(a.payloadBytes, b.payloadBytes),
    connections: Math.min(a.connections, b.connections),
    ...(rate !== Number.POSITIVE_INFINITY && { ratePerSecond: rate }),
  };
}
