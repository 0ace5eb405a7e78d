import { ANONYMOUS_PATHS, type DeployWish, needsModule, PROOF_MAP, placeOf } from "./wish.ts";

/** A value, or what the script reads from a file of secrets. */
export type StepValue = string | { readonly secret: "proof" };
export type StepValues = Readonly<Record<string, StepValue>>;

/**
 * What is set on the server, in applicationHost.config, for this site alone where it can be. Two scripts do the same by
 * it: one for appcmd, one for PowerShell. Each step may be done again.
 */
export type ServerStep =
  | { readonly kind: "say"; readonly text: string }
  /** Attributes of a section, or of an element in it. */
  | { readonly kind: "set"; readonly at: string; readonly section: string; readonly values: StepValues }
  /** One entry of a collection; an entry of the same key is replaced. */
  | {
      readonly kind: "entry";
      readonly at: string;
      readonly section: string;
      /** Where in the section, as each tool writes it. */
      readonly inside?: { readonly appcmd: string; readonly filter: string };
      readonly key: string;
      readonly values: StepValues;
    }
  /** An application pool, made if it is not there, and its settings. */
  | { readonly kind: "pool"; readonly name: string; readonly values: Readonly<Record<string, string>> }
  /** A site with its pool, or an application of a site; made if it is not there. */
  | {
      readonly kind: "application";
      readonly site: string;
      /** `/` for a site. */
      readonly path: string;
      readonly pool: string;
      readonly physicalPath: string;
      readonly binding: Binding;
      /** Whether IIS starts it with the pool. */
      readonly preload: boolean;
    }
  /** Who may read a folder, nobody else; rights as icacls writes them. */
  | { readonly kind: "rights"; readonly path: string; readonly grants: readonly string[] };

export interface Binding {
  readonly protocol: "http" | "https";
  readonly port: number;
  readonly host: string;
}

const AUTHENTICATION = "system.webServer/security/authentication";
const ADMINISTRATORS = "*S-1-5-32-544:(OI)(CI)F";
const SYSTEM = "*S-1-5-18:(OI)(CI)F";
/** Whoever IIS lets in anonymously. */
const IIS_USERS = "*S-1-5-32-568:(OI)(CI)RX";
/** The account that the gateway's service runs under. */
const LOCAL_SERVICE = "*S-1-5-19";

export function serverSteps(wish: DeployWish): readonly ServerStep[] {
  return [
    ...applicationSteps(wish),
    ...signInSteps(wish),
    ...(wish.behind === "iis-arr" ? arrSteps(wish) : []),
    ...logSteps(wish),
    ...rightSteps(wish),
  ];
}

function applicationSteps(wish: DeployWish): readonly ServerStep[] {
  const { site, pool, folder, publicUrl, behind } = wish;
  const url = new URL(publicUrl);
  const isAncm = behind === "iis-ancm";
  return [
    {
      kind: "say",
      text: isAncm
        ? "The pool: it starts by itself, never sleeps, is not recycled by the clock, and never runs two gateways at once."
        : "The pool: it never sleeps and is not recycled by the clock, which would cut every stream.",
    },
    {
      kind: "pool",
      name: pool,
      values: {
        managedRuntimeVersion: needsModule(wish) ? "v4.0" : "",
        managedPipelineMode: "Integrated",
        startMode: "AlwaysRunning",
        "processModel.idleTimeout": "00:00:00",
        "recycling.periodicRestart.time": "00:00:00",
        ...(isAncm && { "recycling.disallowOverlappingRotation": "true" }),
      },
    },
    {
      kind: "say",
      text: url.pathname === "/" ? "The site." : "The application of the site, which is there already.",
    },
    {
      kind: "application",
      site,
      path: url.pathname,
      pool,
      physicalPath: `${folder}\\site`,
      binding: {
        protocol: url.protocol === "https:" ? "https" : "http",
        port: Number(url.port || (url.protocol === "https:" ? 443 : 80)),
        host: url.hostname,
      },
      preload: isAncm,
    },
  ];
}

function signInSteps(wish: DeployWish): readonly ServerStep[] {
  const place = placeOf(wish);
  switch (wish.signIn) {
    case "windows":
      return [
        { kind: "say", text: "Windows signs users in." },
        ...authentication(place, { anonymous: false, windows: true }),
        { kind: "say", text: "But not on these, which look at nobody." },
        ...ANONYMOUS_PATHS.flatMap((path) =>
          authentication(`${place}/${path}`, { anonymous: true, windows: false }),
        ),
      ];
    case "oidc":
      return [
        {
          kind: "say",
          text: "The gateway signs users in itself, or takes their tokens: IIS lets everybody through.",
        },
        ...authentication(place, { anonymous: true, windows: false }),
      ];
    case "certificates":
      return [
        { kind: "say", text: "IIS asks for client certificates, and verifies them." },
        ...authentication(place, { anonymous: true, windows: false }),
        {
          kind: "set",
          at: place,
          section: "system.webServer/security/access",
          values: { sslFlags: "Ssl, SslNegotiateCert" },
        },
      ];
  }
}

function authentication(
  at: string,
  { anonymous, windows }: { readonly anonymous: boolean; readonly windows: boolean },
): readonly ServerStep[] {
  return [
    {
      kind: "set",
      at,
      section: `${AUTHENTICATION}/anonymousAuthentication`,
      values: { enabled: String(anonymous) },
    },
    {
      kind: "set",
      at,
      section: `${AUTHENTICATION}/windowsAuthentication`,
      values: { enabled: String(windows) },
    },
  ];
}

const VARIABLES = ["HTTP_X_FORWARDED_PROTO", "HTTP_COUNTERSIGN_PROOF", "HTTP_SEC_WEBSOCKET_EXTENSIONS"];

function arrSteps(wish: DeployWish): readonly ServerStep[] {
  const at = placeOf(wish);
  const maps = "system.webServer/rewrite/rewriteMaps";
  return [
    {
      kind: "say",
      text: "ARR, for the whole server: it proxies, keeps the Host and Location, and holds nothing back.",
    },
    {
      kind: "set",
      at: "",
      section: "system.webServer/proxy",
      values: {
        enabled: "true",
        preserveHostHeader: "true",
        reverseRewriteHostInResponseHeaders: "false",
        minResponseBuffer: "0",
        timeout: "01:00:00",
      },
    },
    { kind: "say", text: "What the site's rule may set." },
    ...VARIABLES.map(
      (name): ServerStep => ({
        kind: "entry",
        at: "",
        section: "system.webServer/rewrite/allowedServerVariables",
        key: "name",
        values: { name },
      }),
    ),
    { kind: "say", text: "The secret by which the gateway knows that a request came through this site." },
    { kind: "entry", at, section: maps, key: "name", values: { name: PROOF_MAP.name } },
    {
      kind: "entry",
      at,
      section: maps,
      inside: { appcmd: `[name='${PROOF_MAP.name}']`, filter: `rewriteMap[@name='${PROOF_MAP.name}']` },
      key: "key",
      values: { key: PROOF_MAP.key, value: { secret: "proof" } },
    },
  ];
}

function logSteps({ site }: DeployWish): readonly ServerStep[] {
  return [
    { kind: "say", text: "The answer's X-Request-Id in the log, by which `countersign trace` joins it." },
    {
      kind: "entry",
      at: "",
      section: "system.applicationHost/sites",
      inside: {
        appcmd: `[name='${site}'].logFile.customFields`,
        filter: `site[@name='${site}']/logFile/customFields`,
      },
      key: "logFieldName",
      values: { logFieldName: "x-request-id", sourceName: "X-Request-Id", sourceType: "ResponseHeader" },
    },
  ];
}

function rightSteps({ behind, folder, pool }: DeployWish): readonly ServerStep[] {
  const poolAccount = `IIS AppPool\\${pool}`;
  const gateway = behind === "iis-ancm" ? poolAccount : LOCAL_SERVICE;
  const rights = (path: string, ...grants: readonly string[]): ServerStep => ({
    kind: "rights",
    path,
    grants: [ADMINISTRATORS, SYSTEM, ...grants],
  });
  return [
    { kind: "say", text: "Who reads what. Nobody but the gateway reads its secrets and writes its records." },
    rights(folder, `${gateway}:(OI)(CI)RX`),
    rights(`${folder}\\secrets`, `${gateway}:(OI)(CI)R`),
    rights(`${folder}\\state`, `${gateway}:(OI)(CI)M`),
    rights(`${folder}\\logs`, `${gateway}:(OI)(CI)M`),
    rights(`${folder}\\site`, `${poolAccount}:(OI)(CI)RX`, IIS_USERS),
    rights(`${folder}\\site\\App_Data`, `${poolAccount}:(OI)(CI)R`),
  ];
}
