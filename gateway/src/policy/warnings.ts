import type { Mistake, Policy } from "./policy.ts";

/** What a policy says that it can hardly mean. */
export function warningsOf(policy: Policy): Mistake[] {
  return policy.roles
    .filter((role) => role.givenTo.length === 0)
    .map(({ name, file, line }) => ({ file, line, column: 1, message: `role "${name}" is given to nobody` }));
}
