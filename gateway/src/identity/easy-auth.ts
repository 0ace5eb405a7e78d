import { hash } from "node:crypto";
import { userName } from "@countersign/seal";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { EpochSeconds } from "../time.ts";
import type { Identity } from "./identity.ts";
import { WORD_SECONDS } from "./shared-identity.ts";
import { isJsonObject, type JsonObject, parseStrictJson } from "./strict-json.ts";

/** Characters; the platform's own headers are bounded to 64 KB together. */
const PRINCIPAL_MAX = 32_768;
const CLAIMS_MAX = 1_000;

const ID = "http://schemas.microsoft.com/identity/claims/objectidentifier";
const TENANT = "http://schemas.microsoft.com/identity/claims/tenantid";

export type VerifyEasyAuth = (principal: string, now: EpochSeconds) => Outcome<Identity>;

/**
 * Makes the verifier of what App Service says of a user of Entra. It is only ever reached inside App Service with
 * authentication on; anywhere else the header is a visitor's, and refused before.
 *
 * @param issuer  its name in the configuration
 * @param tenant  the one whose users are believed
 * @source App Service, "Work with user identities": base64 of `{auth_typ, claims: [{typ, val}], name_typ, role_typ}`
 */
export function createVerifyEasyAuth({
  issuer,
  tenant,
}: {
  readonly issuer: string;
  readonly tenant: string;
}): VerifyEasyAuth {
  return function verifyEasyAuth(principal, now) {
    if (principal.length > PRINCIPAL_MAX) return invalid("a principal over the size limit");
    const found = parseStrictJson(Buffer.from(principal, "base64").toString("utf8"));
    const claims = found?.auth_typ === "aad" ? claimsOf(found) : undefined;
    if (!claims) return invalid("it is no principal of Entra");
    if (singleOf(claims, TENANT) !== tenant) return invalid("it is another tenant's");
    const id = singleOf(claims, ID);
    const user = id === undefined ? undefined : userName(issuer, id);
    if (id === undefined || user === undefined) return invalid("its user id is missing or cannot be a name");
    const attributes: Record<string, readonly string[]> = Object.create(null);
    for (const name of ["groups", "roles"]) {
      const values = claims.get(name);
      if (values) attributes[name] = [...new Set(values)];
    }
    return allowed({
      user,
      issuer,
      id,
      kind: "user",
      attributes,
      proof: { kind: "easy-auth", hash: hash("sha256", principal, "base64url") },
      provedAt: now,
      expiresAt: now + WORD_SECONDS,
    });
  };
}

function claimsOf({ claims }: JsonObject): ReadonlyMap<string, readonly string[]> | undefined {
  if (!Array.isArray(claims) || claims.length > CLAIMS_MAX) return undefined;
  const byType = new Map<string, string[]>();
  for (const claim of claims) {
    if (!isJsonObject(claim)) return undefined;
    const { typ, val } = claim;
    if (typeof typ !== "string" || typeof val !== "string" || val.length > 256) continue;
    const values = byType.get(typ) ?? [];
    values.push(val);
    byType.set(typ, values);
  }
  return byType;
}

function singleOf(claims: ReadonlyMap<string, readonly string[]>, type: string): string | undefined {
  const values = claims.get(type);
  return values?.length === 1 ? values[0] : undefined;
}

function invalid(why: string): Outcome<never> {
  return refused({ reason: "proof_invalid", why });
}
