import { allowed, type Outcome, refused } from "../refusal.ts";
import { isJsonObject, type Json, type JsonObject } from "./strict-json.ts";

/** Values of all attributes together. */
const VALUES_MAX = 5_000;
/** UTF-8 bytes of one value. */
const VALUE_BYTES_MAX = 256;

/**
 * Which claims feed which attribute: by attribute name, one claim or several whose values are united. A name
 * with `:` or `/` is one claim (`https://example.com/groups`); in any other, dots descend (`realm_access.roles`).
 */
export type AttributeMap = Readonly<Record<string, string | readonly string[]>>;

export const DEFAULT_ATTRIBUTES: AttributeMap = { groups: "groups", roles: "roles" };

/**
 * Reads a token's attributes. A claim that is absent, null or empty feeds nothing, so that rules which need it
 * grant nothing.
 *
 * @param issuer  its name, for the refusal
 * @returns null-prototype, every value a list without duplicates; `proof_invalid` for a claim that is neither text
 *   nor a list of texts, or beyond 5,000 values of 256 bytes; `groups_overage` when the provider left out a claim
 *   that an attribute is configured to come from, since a user without groups is not a user whose groups are unknown
 * @source  Entra's overage (`_claim_names`, `hasgroups`); distributed claims: OpenID Connect Core §5.6.2
 */
export function readAttributes(
  claims: JsonObject,
  map: AttributeMap,
  issuer: string,
): Outcome<Readonly<Record<string, readonly string[]>>> {
  const attributes: Record<string, readonly string[]> = Object.create(null);
  let total = 0;
  for (const [attribute, names] of Object.entries(map)) {
    const values = new Set<string>();
    for (const name of typeof names === "string" ? [names] : names) {
      if (isLeftOut(claims, name)) return refused({ reason: "groups_overage", issuer, claim: name });
      const found = textsOf(claimAt(claims, name));
      if (!found) return refused({ reason: "proof_invalid", why: `claim ${name} is not text, or too long` });
      for (const value of found) values.add(value);
    }
    total += values.size;
    if (total > VALUES_MAX) return refused({ reason: "proof_invalid", why: "too many attribute values" });
    if (values.size > 0) attributes[attribute] = [...values];
  }
  return allowed(attributes);
}

function isLeftOut(claims: JsonObject, name: string): boolean {
  const [top = ""] = pathOf(name);
  const elsewhere = claims._claim_names;
  if (isJsonObject(elsewhere) && top in elsewhere) return true;
  const flag = claims.hasgroups;
  return top === "groups" && (flag === true || flag === "true");
}

function pathOf(name: string): readonly string[] {
  return /[:/]/.test(name) ? [name] : name.split(".");
}

function claimAt(claims: JsonObject, name: string): Json | undefined {
  let found: Json | undefined = claims;
  for (const step of pathOf(name)) found = isJsonObject(found) ? found[step] : undefined;
  return found;
}

function textsOf(claim: Json | undefined): readonly string[] | undefined {
  if (claim === undefined || claim === null) return [];
  const list: readonly Json[] = Array.isArray(claim) ? claim : [claim as Json];
  const texts = list.filter((value) => typeof value === "string");
  const fits =
    texts.length === list.length && texts.every((text) => Buffer.byteLength(text) <= VALUE_BYTES_MAX);
  return fits ? texts.filter((text) => text !== "") : undefined;
}
