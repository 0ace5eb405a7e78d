import { comment, indented, lines, type Markup, markup } from "./markup.ts";
import { applicationPathOf, type DeployWish, needsModule, PROOF_MAP } from "./wish.ts";

/** web.config of the site, or of the application below one. It holds no secret. */
export function webConfig(wish: DeployWish): string {
  const inside = lines(
    modules(wish),
    wish.behind === "iis-ancm" ? processOf(wish) : undefined,
    rewriteOf(wish),
    ...ANSWERS,
    FILTERING,
  );
  const configuration = lines(
    markup`<?xml version="1.0" encoding="utf-8"?>`,
    comment(
      `Countersign at ${wish.publicUrl}, ${wish.behind === "iis-ancm" ? "started by IIS" : "behind ARR"}. Written by: countersign iis init. Checked by: countersign iis doctor.`,
    ),
    markup`<configuration>`,
    ...(needsModule(wish) ? [indented(moduleSettings(wish), 2)] : []),
    indented(comment("Applications below this one inherit nothing of it."), 2),
    markup`  <location path="." inheritInChildApplications="false">
    <system.webServer>`,
    indented(inside, 6),
    markup`    </system.webServer>
  </location>
</configuration>`,
  );
  return `${configuration.text}\n`;
}

function moduleSettings({ signIn, groups }: DeployWish): Markup {
  const sends = signIn === "windows" ? "names" : "none";
  return lines(
    comment(
      "For the identity module. Its key stands in a file that is not served and that the pool's account reads.",
    ),
    markup`<appSettings file="App_Data\\countersign-key.config">`,
    indented(comment("none, sids, or names: which groups of a user the gateway is told."), 2),
    markup`  <add key="CountersignGroups" value="${sends}" />`,
    groups.length === 0
      ? undefined
      : markup`  <add key="CountersignOnlyGroups" value="${groups.join(";")}" />`,
    signIn === "certificates" ? markup`  <add key="CountersignCertificate" value="true" />` : undefined,
    markup`</appSettings>`,
    comment("ASP.NET has a bound of its own on the query, in which subjects stand."),
    markup`<system.web>
  <httpRuntime maxQueryStringLength="8192" enableVersionHeader="false" />
</system.web>`,
  );
}

function modules(wish: DeployWish): Markup {
  return lines(
    comment("WebDAV would answer PUT and DELETE itself."),
    markup`<modules>
  <remove name="WebDAVModule" />`,
    ...(needsModule(wish)
      ? [
          indented(comment("From App_Code. No managedHandler: the module has to see every request."), 2),
          markup`  <add name="CountersignIdentity" type="CountersignIdentity" preCondition="" />`,
        ]
      : []),
    markup`</modules>`,
  );
}

function processOf({ node, folder }: DeployWish): Markup {
  const run = `"${folder}\\countersign.js" serve --config "${folder}\\countersign.yaml"`;
  return lines(
    markup`<handlers>
  <add name="countersign" path="*" verb="*" modules="AspNetCoreModuleV2" resourceType="Unspecified" />
</handlers>`,
    comment(
      "forwardWindowsAuthToken: its default gives Node handles that it cannot close. shutdownTimeLimit: longer than limits: drain.",
    ),
    markup`<aspNetCore processPath="${node}"
            arguments="${run}"
            hostingModel="OutOfProcess" forwardWindowsAuthToken="false" processesPerApplication="1"
            requestTimeout="01:00:00" shutdownTimeLimit="20" stdoutLogEnabled="false" />`,
  );
}

function rewriteOf(wish: DeployWish): Markup | undefined {
  const preflight = needsPreflightRule(wish) ? preflightRule(wish) : undefined;
  if (wish.behind === "iis-ancm") {
    return (
      preflight &&
      lines(
        markup`<rewrite>
  <rules>`,
        indented(preflight, 4),
        markup`  </rules>
</rewrite>`,
      )
    );
  }
  return lines(
    markup`<rewrite>
  <rewriteMaps>
    <rewriteMap name="countersign-scheme">
      <add key="on" value="https" />
      <add key="off" value="http" />
    </rewriteMap>
  </rewriteMaps>
  <rules>`,
    preflight && indented(preflight, 4),
    indented(proxyRule(wish), 4),
    markup`  </rules>
</rewrite>`,
  );
}

/** Where Windows signs users in, a browser's preflight from another origin comes without a ticket. */
export function needsPreflightRule({ signIn, origins }: DeployWish): boolean {
  return signIn === "windows" && origins.length > 0;
}

/** The gateway answers a preflight on whatever path, and this one asks nobody who they are. */
function preflightRule({ behind }: DeployWish): Markup {
  return lines(
    comment(
      "A preflight brings no ticket: it goes to a path without Windows authentication, where nobody is anybody.",
    ),
    markup`<rule name="countersign-preflight" stopProcessing="${String(behind === "iis-ancm")}">
  <match url=".*" />
  <conditions>
    <add input="{REQUEST_METHOD}" pattern="^OPTIONS$" />
    <add input="{HTTP_ACCESS_CONTROL_REQUEST_METHOD}" pattern=".+" />
  </conditions>
  <action type="Rewrite" url="healthz" appendQueryString="false" />
</rule>`,
  );
}

function proxyRule(wish: DeployWish): Markup {
  const target = `http://127.0.0.1:${wish.port}${applicationPathOf(wish).replace(/\/$/, "")}/{R:1}`;
  return lines(
    comment(
      "Each variable overwrites what a visitor sends, and is allowed on the server. The secret stands in a map of applicationHost.config. The last one takes compression out of WebSockets, which ARR cannot carry.",
    ),
    markup`<rule name="countersign" stopProcessing="true">
  <match url="(.*)" />
  <serverVariables>
    <set name="HTTP_X_FORWARDED_PROTO" value="{countersign-scheme:{HTTPS}}" />
    <set name="HTTP_COUNTERSIGN_PROOF" value="${`{${PROOF_MAP.name}:${PROOF_MAP.key}}`}" />
    <set name="HTTP_SEC_WEBSOCKET_EXTENSIONS" value="" />
  </serverVariables>
  <action type="Rewrite" url="${target}" />
</rule>`,
  );
}

const ANSWERS: readonly Markup[] = [
  comment("The gateway's errors are JSON, and its events are not to be held back."),
  markup`<httpErrors existingResponse="PassThrough" />
<urlCompression doDynamicCompression="false" />`,
];

const FILTERING: Markup = lines(
  comment("Subjects stand in the query, up to 256 bytes each, escaped three times that."),
  markup`<security>
  <requestFiltering>
    <requestLimits maxQueryString="8192" />
  </requestFiltering>
</security>`,
);

/** The settings of the identity module that nobody else may read. */
export function moduleKeyConfig(key: string): string {
  const settings = lines(
    comment("The key of the identity module: the same as in secrets/iis.key."),
    markup`<appSettings>
  <add key="CountersignKey" value="${key}" />
</appSettings>`,
  );
  return `${settings.text}\n`;
}
