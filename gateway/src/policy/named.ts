import type { Identity } from "../identity/identity.ts";
import { didYouMean } from "../near.ts";
import type { EpochSeconds } from "../time.ts";
import type { NamedIdentity, Policy } from "./policy.ts";

/** A named identity of a policy as if it had just been proved; only for asking, since no proof stands behind it. */
export function identityOf({ identity }: NamedIdentity, now: EpochSeconds): Identity {
  return {
    ...identity,
    proof: { kind: "bearer", hash: "A".repeat(43) },
    provedAt: now,
    expiresAt: now + 3600,
  };
}

/** @returns the identity, or what is wrong with the name and which there are */
export function findNamed(policy: Policy, name: string): NamedIdentity | string {
  const names = policy.identities.map((one) => one.name);
  const found = policy.identities.find((one) => one.name === name);
  if (found) return found;
  const there = names.length > 0 ? `there are ${names.slice(0, 20).join(", ")}` : "the policy names none";
  return `"${name}" is not among the identities of the policy${didYouMean(name, names)}; ${there}`;
}
