import type { Grant, NatsPermissions } from "../policy/grant.ts";
import { permissionsOf } from "../policy/permissions.ts";
import { DIRECT_API_PREFIX } from "./crossings.ts";
import type { SubjectLists } from "./nats-jwt.ts";

const API = "$JS.API.";
/** An MQTT client's own subscriptions for deliveries that it acknowledges; each has a name nobody can know. */
const MQTT_DELIVERIES = ["$MQTT.sub.>", "$MQTT.deliver.pubrel.>"];

/**
 * What nats-server is told of a Grant whose holder connects by itself, past the gateway and its filters, into an
 * account of its own. JetStream is the other account's, under the name it is imported by, and only to read: a consumer
 * that is created delivers wherever its payload says, and what is written to a bucket or stream carries headers.
 */
export function directPermissionsOf(
  grant: Grant,
  inboxPrefix: string,
  way: "direct" | "mqtt",
): NatsPermissions {
  const { pub, sub, resp } = permissionsOf(grant, inboxPrefix);
  const publish = (pub.allow ?? []).flatMap(crossing);
  const subscribe = [...(sub.allow ?? []), ...(way === "mqtt" ? MQTT_DELIVERIES : [])];
  return {
    pub: listsOf(publish, pub.deny),
    sub: sub.allow ? listsOf(subscribe, sub.deny) : sub,
    ...(resp && { resp }),
  };
}

function crossing(subject: string): readonly string[] {
  if (subject.startsWith("$KV.") || /^\$JS\.API\.CONSUMER\.(?:CREATE|DELETE)\./.test(subject)) return [];
  return [subject.startsWith(API) ? `${DIRECT_API_PREFIX}.${subject.slice(API.length)}` : subject];
}

function listsOf(allow: readonly string[], deny: readonly string[] | undefined): SubjectLists {
  return allow.length === 0 ? { deny: [">"] } : { allow, ...(deny && { deny }) };
}
