/**
 * Headers by which what stands in front of the gateway proves itself and says who the caller is, and what IIS gives
 * the process it starts. Lower case: compare with lower-cased names.
 *
 * @source ASP.NET Core Module V2 (dotnet/aspnetcore, src/Servers/IIS/AspNetCoreModuleV2); ARR's Proxy page; URL
 *   Rewrite 2.0 configuration reference; App Service, "Work with user identities"
 */

/** The identity that our module in IIS signs: `v1.<payload>.<mac>`. */
export const IDENTITY_HEADER = "countersign-identity";
/** The secret that a rewrite rule of ARR adds. */
export const PROOF_HEADER = "countersign-proof";

/** ASP.NET Core Module V2 deletes all of a client's headers with this prefix, and then sets its own. */
export const ANCM_PREFIX = "ms-aspnetcore";
export const ANCM_HEADERS = {
  /** The pairing token, a GUID for the life of one process. */
  token: "ms-aspnetcore-token",
  /** `shutdown ` on the request that asks the process to end. */
  event: "ms-aspnetcore-event",
  /** The client certificate, DER in base64. */
  clientCertificate: "ms-aspnetcore-clientcert",
  /** A handle to the user's token, which somebody must close; Node cannot. */
  windowsToken: "ms-aspnetcore-winauthtoken",
} as const;

/** What ASP.NET Core Module V2 gives its process; it is its host only if all three are set. */
export const ANCM_ENVIRONMENT = {
  port: "ASPNETCORE_PORT",
  token: "ASPNETCORE_TOKEN",
  applicationPath: "ASPNETCORE_APPL_PATH",
} as const;

/** Below the application path; the module posts here when the process is to end. */
export const ANCM_SHUTDOWN_PATH = "/iisintegration";
export const ANCM_SHUTDOWN_EVENT = "shutdown";

/** ARR's default name for the client certificate, DER in base64. */
export const ARR_CERTIFICATE_HEADER = "x-arr-clientcert";

/** App Service with authentication switched on; `x-ms-client-principal` is base64 of JSON. */
export const EASY_AUTH_PREFIXES: readonly string[] = ["x-ms-client-principal", "x-ms-token-"];
export const EASY_AUTH_PRINCIPAL_HEADER = "x-ms-client-principal";
/** Set inside App Service while its authentication is on. */
export const EASY_AUTH_ENVIRONMENT = "WEBSITE_AUTH_ENABLED";

/** HttpPlatformHandler's handle to the user's token. We are not hosted by it. */
const HTTP_PLATFORM_TOKEN_HEADER = "x-iis-windowsauthtoken";

const CLAIMS: ReadonlySet<string> = new Set([
  IDENTITY_HEADER,
  PROOF_HEADER,
  ARR_CERTIFICATE_HEADER,
  HTTP_PLATFORM_TOKEN_HEADER,
]);
const CLAIM_PREFIXES = [ANCM_PREFIX, ...EASY_AUTH_PREFIXES];

/**
 * Whether a header claims to come from what stands in front: to prove it, or to say who the caller is. IIS reads
 * `Countersign_Identity` and `Countersign-Identity` as one variable, so the one claims what the other does.
 *
 * @returns its name as we compare it, lower case with `-`; undefined for all other headers
 */
export function claimOf(name: string): string | undefined {
  // c, m, x: most headers of a request are past after one character.
  const initial = name.charCodeAt(0) | 0x20;
  if (initial !== 0x63 && initial !== 0x6d && initial !== 0x78) return undefined;
  const plain = name.toLowerCase().replaceAll("_", "-");
  const claims = CLAIMS.has(plain) || CLAIM_PREFIXES.some((prefix) => plain.startsWith(prefix));
  return claims ? plain : undefined;
}
