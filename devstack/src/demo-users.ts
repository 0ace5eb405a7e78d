/** Somebody who can sign in at the demo identity provider. */
export interface DemoUser {
  /** The id, which becomes `sub`. */
  readonly id: DemoUserId;
  readonly name: string;
  readonly groups: readonly string[];
  readonly region: string;
  /** Authentication context class (OpenID Connect Core §2). */
  readonly acr: string;
  /** For the sign-in page. */
  readonly what: string;
}

export type DemoUserId = "alice" | "bob" | "carol";

/** The machine client that asks for tokens of its own (RFC 6749 §4.4). */
export const DEMO_SERVICE = "inventory";

export const DEMO_USERS: Readonly<Record<DemoUserId, DemoUser>> = {
  alice: {
    id: "alice",
    name: "Alice Ambrose",
    groups: ["Orders.Clerks"],
    region: "eu",
    acr: "pwd",
    what: "an order clerk in region eu",
  },
  bob: {
    id: "bob",
    name: "Bob Berger",
    groups: ["Orders.Clerks"],
    region: "us",
    acr: "pwd",
    what: "an order clerk in region us",
  },
  carol: {
    id: "carol",
    name: "Carol Castell",
    groups: ["Audit"],
    region: "eu",
    acr: "mfa",
    what: "an auditor",
  },
};

export function findDemoUser(id: string | undefined): DemoUser | undefined {
  return id !== undefined && Object.hasOwn(DEMO_USERS, id) ? DEMO_USERS[id as DemoUserId] : undefined;
}
