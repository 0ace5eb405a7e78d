import type { NotBeforeKey, Session } from "../identity/session.ts";
import type { EpochSeconds } from "../time.ts";

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads a session as the bucket holds it.
 *
 * @returns undefined for anything else: it is then no session, and whoever presents it signs in again
 */
export function parseSession(text: string, hash: string): Session | undefined {
  const value = parseObject(text);
  const identity = value && isObject(value.identity) ? parseIdentity(value.identity) : undefined;
  if (!value || !identity || value.hash !== hash) return undefined;
  const { signedInAt, lastSeenAt, endsAt, refreshAt, sealedRefreshToken, upstreamSid } = value;
  if (!isTime(signedInAt) || !isTime(lastSeenAt) || !isTime(endsAt)) return undefined;
  if (!isAbsentOr(isTime, refreshAt)) return undefined;
  if (!isAbsentOr(isText, sealedRefreshToken) || !isAbsentOr(isText, upstreamSid)) return undefined;
  return {
    hash,
    identity,
    signedInAt,
    lastSeenAt,
    endsAt,
    ...(refreshAt !== undefined && { refreshAt }),
    ...(sealedRefreshToken !== undefined && { sealedRefreshToken }),
    ...(upstreamSid !== undefined && { upstreamSid }),
  };
}

function parseIdentity(value: Json): Session["identity"] | undefined {
  const { user, issuer, id, name, kind, client, acr, actor, provedAt } = value;
  const attributes = parseAttributes(value.attributes);
  if (!isText(user) || !isText(issuer) || !isText(id) || !attributes || !isTime(provedAt)) return undefined;
  if (kind !== "user" && kind !== "service" && kind !== "unknown") return undefined;
  if (!isAbsentOr(isText, name) || !isAbsentOr(isText, client) || !isAbsentOr(isText, acr)) return undefined;
  // An actor that cannot be read must not turn the agent's session into the user's own.
  const actorUser = isObject(actor) ? actor.user : undefined;
  if (actor !== undefined && !isText(actorUser)) return undefined;
  return {
    user,
    issuer,
    id,
    kind,
    attributes,
    provedAt,
    ...(name !== undefined && { name }),
    ...(client !== undefined && { client }),
    ...(acr !== undefined && { acr }),
    ...(isText(actorUser) && { actor: { user: actorUser } }),
  };
}

function parseAttributes(value: unknown): Record<string, readonly string[]> | undefined {
  if (!isObject(value)) return undefined;
  const attributes: Record<string, readonly string[]> = Object.create(null);
  for (const [name, values] of Object.entries(value)) {
    if (!Array.isArray(values) || !values.every((each) => typeof each === "string")) return undefined;
    attributes[name] = values;
  }
  return attributes;
}

export interface NotBefore {
  readonly key: NotBeforeKey;
  readonly at: EpochSeconds;
}

export function formatNotBefore({ key, at }: NotBefore): string {
  return JSON.stringify({ ...key, at });
}

/** @returns undefined when it is not one; its reader must then refuse everybody rather than nobody */
export function parseNotBefore(text: string): NotBefore | undefined {
  const value = parseObject(text);
  if (!value || !isTime(value.at)) return undefined;
  const { user, session, at } = value;
  if (isText(user) && session === undefined) return { key: { user }, at };
  if (isText(session) && user === undefined) return { key: { session }, at };
  return undefined;
}

function parseObject(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function isTime(value: unknown): value is EpochSeconds {
  return typeof value === "number" && Number.isFinite(value);
}

function isAbsentOr<T>(is: (value: unknown) => value is T, value: unknown): value is T | undefined {
  return value === undefined || is(value);
}
