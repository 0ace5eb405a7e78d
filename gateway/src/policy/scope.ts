import type { GrantLine } from "./grant.ts";

/** What a seal says of the right by which a message was sent: the verb, and the subjects that the line allows. */
export function sealScopeOf({ verb, pattern, object }: GrantLine): string {
  return verb === "write-kv" ? `${verb}:$KV.${object?.bucket}.${pattern}` : `${verb}:${pattern}`;
}
