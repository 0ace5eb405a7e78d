/** Whether a section may stand below applicationHost.config, as a server is installed. */
export interface LockFacts {
  readonly overrideMode: "Allow" | "Deny";
  /** `AppHostOnly`: nothing unlocks it. `MachineToApplication`: in an application's root at the deepest. */
  readonly allowDefinition?: "AppHostOnly" | "MachineToApplication";
}

const DENY: LockFacts = { overrideMode: "Deny" };
const ALLOW: LockFacts = { overrideMode: "Allow" };
const HOST_ONLY: LockFacts = { overrideMode: "Deny", allowDefinition: "AppHostOnly" };
const AUTHENTICATION = [
  "anonymousAuthentication",
  "basicAuthentication",
  "clientCertificateMappingAuthentication",
  "digestAuthentication",
  "iisClientCertificateMappingAuthentication",
  "windowsAuthentication",
];

/**
 * Sections as `<configSections>` of a template of IIS declares them; a server's own applicationHost.config, where it was
 * given, counts before this.
 *
 * @source the template of IIS Express 10. That servers are installed the same is reported, and not confirmed
 */
export const LOCKS: Readonly<Record<string, LockFacts>> = {
  ...each("system.applicationHost", HOST_ONLY, [
    ...[
      "applicationPools",
      "configHistory",
      "customMetadata",
      "listenerAdapters",
      "log",
      "sites",
      "webLimits",
    ],
  ]),
  ...each("system.webServer", HOST_ONLY, [
    ...["fastCgi", "globalModules", "rewrite/globalRules", "security/isapiCgiRestriction"],
  ]),
  // Of httpCompression the template says that nothing unlocks it; yet many a web.config in use has it.
  ...each("system.webServer", DENY, [
    "httpCompression",
    ...["asp", "cgi", "handlers", "httpLogging", "httpTracing", "isapiFilters", "modules", "odbcLogging"],
    ...["serverRuntime", "serverSideInclude", "webSocket", "rewrite/allowedServerVariables"],
    ...["security/access", "security/applicationDependencies", "security/ipSecurity"],
    ...["security/dynamicIpSecurity", "tracing/traceProviderDefinitions"],
    ...["webdav/globalSettings", "webdav/authoring", "webdav/authoringRules"],
  ]),
  ...each("system.webServer/security/authentication", DENY, AUTHENTICATION),
  ...each("system.webServer", ALLOW, [
    ...["caching", "defaultDocument", "directoryBrowse", "httpErrors", "httpProtocol", "httpRedirect"],
    ...["staticContent", "urlCompression", "validation", "security/authorization"],
    ...["security/requestFiltering", "tracing/traceFailedRequests", "rewrite/rules"],
    ...["rewrite/outboundRules", "rewrite/providers", "rewrite/rewriteMaps"],
  ]),
};

function each(
  group: string,
  facts: LockFacts,
  names: readonly string[],
): Readonly<Record<string, LockFacts>> {
  return Object.fromEntries(names.map((name) => [`${group}/${name}`, facts]));
}
