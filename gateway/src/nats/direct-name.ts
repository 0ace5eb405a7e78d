import type { Identity } from "../identity/identity.ts";
import type { EpochSeconds } from "../time.ts";

/** Whose a direct connection is, as nats-server tells it: what the name in its user JWT says. */
export interface DirectName extends Pick<Identity, "user" | "actor" | "proof" | "provedAt"> {
  /** Which of the gateway's instances judged it, and under which policy: the beginning of its version. */
  readonly instance: string;
  readonly policy: string;
}

/**
 * The name in the user JWT that the auth callout answers with. It is all of that JWT that nats-server shows again,
 * as `authorized_user` in its list of connections: so it names everything that can end one. Blanks stand between,
 * because no part has one.
 */
export function formatDirectName({ user, actor, proof, provedAt, instance, policy }: DirectName): string {
  const who = [user, actor?.user ?? NOBODY, `${proof.kind}:${proof.hash}`, provedAt];
  return [...who, instance, policy.slice(0, POLICY_CHARACTERS)].join(" ");
}

/** @returns undefined for a name of somebody else's making */
export function parseDirectName(name: string): DirectName | undefined {
  const parts = SHAPE.exec(name)?.groups;
  if (!parts) return undefined;
  const { user = "", actor = "", kind, hash = "", provedAt, instance = "", policy = "" } = parts;
  return {
    user,
    ...(actor !== NOBODY && { actor: { user: actor } }),
    proof: { kind: kind as Identity["proof"]["kind"], hash },
    provedAt: Number(provedAt) as EpochSeconds,
    instance,
    policy,
  };
}

/** Whether a connection of this name was judged under this policy. */
export function isOfPolicy({ policy }: DirectName, version: string): boolean {
  return policy === version.slice(0, POLICY_CHARACTERS);
}

const POLICY_CHARACTERS = 12;
/** No user: those have an issuer before their first dash. */
const NOBODY = "-";
const USER = "[a-z0-9]+-[^ ]+";
const SHAPE = new RegExp(
  `^(?<user>${USER}) (?<actor>-|${USER}) (?<kind>[a-z-]+):(?<hash>[A-Za-z0-9_-]{43}) ` +
    "(?<provedAt>\\d+(?:\\.\\d+)?) (?<instance>[A-Za-z0-9_-]{1,64}) (?<policy>[0-9a-f]{12})$",
);
