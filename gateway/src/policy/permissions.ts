import assert from "node:assert";
import { consumerNames, isNumbered } from "./consumer.ts";
import { guardsOf, subscribes } from "./crude.ts";
import type { Grant, GrantLine, NatsPermissions } from "./grant.ts";
import { firstToken, includes, intersection, overlaps } from "./pattern.ts";

/** A responder answers a request once, within a minute: longer than any request of ours waits. */
const RESPONSE = { max: 1, ttlNanoseconds: 60_000_000_000 } as const;

/**
 * What nats-server is told of a Grant. Where a Grant has nothing to allow, everything is denied, because an
 * empty or absent `allow` means everything (server/auth.go; facts tested in test/policy-law.test.ts).
 *
 * @param inboxPrefix  of this connection, such as `_INBOX.3f…`, without a final dot
 */
export function permissionsOf(grant: Grant, inboxPrefix: string): NatsPermissions {
  const publishing = new Set(grant.may.flatMap((line) => publishPatterns(line, grant)));
  const subscribing = new Set(grant.may.filter(subscribes).map(subscribeEntry));
  if (needsInbox(grant)) subscribing.add(`${inboxPrefix}.>`);
  const responds = grant.may.some(({ verb }) => verb === "respond");
  return {
    pub: listsOf([...publishing], publishDenies(grant, publishing)),
    sub: listsOf([...subscribing], subscribeDenies(grant)),
    ...(responds && { resp: RESPONSE }),
  };
}

/** Whether replies come to an inbox: then whoever may publish may request, since nats-server sees no difference. */
export function needsInbox(grant: Grant): boolean {
  return grant.may.some(({ verb }) => REPLIED.has(verb));
}

/**
 * What nats-server is told besides of a connection that nobody but this process speaks on: that acknowledgements of
 * streams come to it. A publisher who speaks for himself does not get that, since nats-server cannot tell an
 * acknowledgement from any other reply, and whoever receives replies may request.
 */
export function withAcknowledgements(permissions: NatsPermissions, inboxPrefix: string): NatsPermissions {
  const { pub, sub } = permissions;
  if (!pub.allow || sub.allow?.includes(`${inboxPrefix}.>`)) return permissions;
  const entry = `${acknowledgementPrefixOf(inboxPrefix)}.>`;
  return { ...permissions, sub: sub.allow ? { ...sub, allow: [...sub.allow, entry] } : { allow: [entry] } };
}

/** Where acknowledgements of streams arrive, below an identity's inbox. */
export function acknowledgementPrefixOf(inboxPrefix: string): string {
  return `${inboxPrefix}.ack`;
}

const REPLIED: ReadonlySet<string> = new Set(["request", "read-stream", "read-kv", "write-kv"]);

function listsOf(allow: readonly string[], deny: readonly string[]): NatsPermissions["pub"] {
  if (allow.length === 0) return { deny: [">"] };
  assert(
    allow.every((entry) => entry !== ""),
    "a permission is never empty",
  );
  return deny.length === 0 ? { allow } : { allow, deny };
}

/** The subjects that a line lets its holder publish to: of JetStream and buckets no more than the verb needs. */
function publishPatterns(line: GrantLine, grant: Grant): string[] {
  const { verb, pattern } = line;
  switch (verb) {
    case "publish":
    case "request":
      return [pattern];
    case "read-stream":
      return consumerNames(line, grant).flatMap((name) => {
        const consumer = `${line.object?.stream}.${name}`;
        return [
          // With the filter in the subject, nats-server refuses any other filter in the payload.
          `$JS.API.CONSUMER.CREATE.${consumer}.${pattern}`,
          `$JS.API.CONSUMER.INFO.${consumer}`,
          `$JS.API.CONSUMER.MSG.NEXT.${consumer}`,
          `$JS.ACK.${consumer}.>`,
          ...(isNumbered(line) ? upkeepOf(consumer) : []),
        ];
      });
    case "read-kv": {
      const bucket = line.object?.bucket;
      const keys = `$KV.${bucket}.${pattern}`;
      const watching = consumerNames(line, grant).flatMap((name) => [
        `$JS.API.CONSUMER.CREATE.KV_${bucket}.${name}.${keys}`,
        `$JS.API.CONSUMER.INFO.KV_${bucket}.${name}`,
        `$JS.API.CONSUMER.MSG.NEXT.KV_${bucket}.${name}`,
        ...upkeepOf(`KV_${bucket}.${name}`),
      ]);
      return [`$JS.API.DIRECT.GET.KV_${bucket}.${keys}`, ...watching];
    }
    case "write-kv":
      return [`$KV.${line.object?.bucket}.${pattern}`];
    default:
      return [];
  }
}

/**
 * What a numbered consumer needs besides: it lives no longer than whoever reads, so that its number must come free
 * again, and one that is pushed to says when it may be sent more. A declared one keeps its place in the stream:
 * it is not its reader's to delete.
 */
function upkeepOf(consumer: string): string[] {
  return [`$JS.API.CONSUMER.DELETE.${consumer}`, `$JS.FC.${consumer}.*`];
}

/** Denies that touch nothing allowed are left out: they would change the connection of everybody they do not concern. */
function publishDenies(grant: Grant, allowed: ReadonlySet<string>): string[] {
  const denied = grant.never.flatMap(({ verb, pattern, object }) => {
    if (verb === "publish" || verb === "request") return [pattern];
    return verb === "write-kv" ? [`$KV.${object?.bucket}.${pattern}`] : [];
  });
  const groups = Map.groupBy(allowed, firstToken);
  return [...new Set(denied)].filter((pattern) =>
    (groups.get(firstToken(pattern)) ?? []).some((other) => overlaps(other, pattern)),
  );
}

function subscribeEntry(line: GrantLine): string {
  return line.queue === undefined ? line.pattern : `${line.pattern} ${line.queue}`;
}

function subscribeDenies(grant: Grant): string[] {
  const lines = grant.may.filter(subscribes);
  const groups = Map.groupBy(lines, (line) => firstToken(line.pattern));
  const denied: string[] = [];
  for (const { verb, pattern } of grant.never) {
    if (verb !== "subscribe" && verb !== "respond") continue;
    for (const line of groups.get(firstToken(pattern)) ?? []) {
      const both = intersection(line.pattern, pattern);
      // The part inside the line is named as well: nats-server filters deliveries only by what lies wholly inside.
      if (both !== undefined) denied.push(pattern, both);
    }
  }
  for (const { deny, conflicts } of guardsOf(grant.may)) if (conflicts.length === 0) denied.push(deny);
  for (const { pattern } of plainOnly(grant)) denied.push(`${pattern} >`);
  return [...new Set(denied)];
}

/**
 * Lines without a queue that need a deny for every queue: without it a plain subscription admits any queue group,
 * and its holder takes other people's work. Where a line with a queue includes all of the pattern, nats-server
 * asks for that queue by itself.
 */
function plainOnly(grant: Pick<Grant, "may">): GrantLine[] {
  const lines = grant.may.filter(subscribes);
  const queued = lines.filter(({ queue }) => queue !== undefined);
  const groups = Map.groupBy(queued, (line) => firstToken(line.pattern));
  return lines.filter((line) => {
    const near = groups.get(firstToken(line.pattern)) ?? [];
    return line.queue === undefined && !near.some((other) => includes(other.pattern, line.pattern));
  });
}
