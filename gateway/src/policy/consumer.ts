import type { Grant, GrantLine } from "./grant.ts";

/**
 * The full name of a user's consumer: what JetStream knows it by.
 *
 * @param name  as declared with `consumers [name]`, or a number below `limits.connections`
 */
export function consumerName(user: string, name: string | number): string {
  return `${user}-${name}`;
}

/** Whether a line reads through numbered consumers, which come and go, rather than through declared ones. */
export function isNumbered(line: GrantLine): boolean {
  return !Array.isArray(line.object?.consumers);
}

/**
 * Every consumer a line allows, written out: NATS has no "names beginning with", and with `*` one would read,
 * re-point and acknowledge other people's consumers.
 */
export function consumerNames(line: GrantLine, grant: Pick<Grant, "user" | "limits">): string[] {
  const declared = line.object?.consumers;
  const names = Array.isArray(declared)
    ? (declared as readonly string[])
    : Array.from({ length: grant.limits.connections }, (_, number) => String(number));
  return names.map((name) => consumerName(grant.user, name));
}
