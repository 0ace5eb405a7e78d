import type { Identity } from "../identity/identity.ts";
import type { EpochSeconds } from "../time.ts";
import type { Given, Policy, Role } from "./policy.ts";

/** What a `given-to` line asks for and an identity lacks. */
export type Lack =
  | {
      readonly what: "issuer" | "user" | "client" | "service" | "acr";
      readonly expected: string;
      readonly found?: string;
    }
  | {
      readonly what: "attribute";
      readonly name: string;
      readonly expected: string;
      readonly found: readonly string[];
    }
  | { readonly what: "until"; readonly until: EpochSeconds };

export interface RoleGiven {
  readonly role: Role;
  /** When the last of its matching lines ends; absent when one of them does not. */
  readonly until?: EpochSeconds;
}

/** The roles an identity has by itself: one matching line is enough, and within a line all must hold. */
export function rolesGiven(policy: Policy, identity: Identity, now: EpochSeconds): RoleGiven[] {
  return policy.roles.flatMap((role) => {
    if (role.actsFor.length > 0) return [];
    const given = roleGiven(role, identity, now);
    return given ? [given] : [];
  });
}

export function roleGiven(role: Role, identity: Identity, now: EpochSeconds): RoleGiven | undefined {
  const holding = role.givenTo.filter((given) => lacksOf(given, identity, now).length === 0);
  if (holding.length === 0) return undefined;
  const untils = holding.map(({ until }) => until ?? Number.POSITIVE_INFINITY);
  const until = Math.max(...untils);
  return until === Number.POSITIVE_INFINITY ? { role } : { role, until };
}

/** Everything an identity lacks for one line; empty when the line holds. */
export function lacksOf(given: Given, identity: Identity, now: EpochSeconds): Lack[] {
  const lacks: Lack[] = [];
  const ask = (what: "issuer" | "user" | "client" | "service" | "acr", found: string | undefined): void => {
    const expected = given[what];
    if (expected === undefined || expected === found) return;
    lacks.push({ what, expected, ...(found !== undefined && { found }) });
  };
  const { kind } = identity;
  ask("issuer", identity.issuer);
  // A client may bear the name of a user; a token that does not tell what it is may still name its user.
  ask("user", kind === "service" ? undefined : identity.id);
  ask("client", kind === "user" ? identity.client : undefined);
  ask("service", kind === "service" ? (identity.client ?? identity.id) : undefined);
  ask("acr", identity.acr);
  for (const { name, values } of given.attributes) {
    const found = attributeOf(identity, name);
    for (const expected of values) {
      if (!found.includes(expected)) lacks.push({ what: "attribute", name, expected, found });
    }
  }
  if (given.until !== undefined && now >= given.until) lacks.push({ what: "until", until: given.until });
  return lacks;
}

/** Values of an attribute, none when it is missing; names like `__proto__` are attributes like any other. */
export function attributeOf(identity: Identity, name: string): readonly string[] {
  return Object.hasOwn(identity.attributes, name) ? (identity.attributes[name] ?? []) : [];
}
