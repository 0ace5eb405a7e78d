/**
 * A real IIS in the place of the stand-in, on a Windows runner that is thrown away: `.github/workflows/windows-iis.yml`. It
 * changes server-level sections, and its scenarios are those of test/60-behind-iis.test.ts.
 *
 * **Not yet run.** It was written from the documentation of appcmd and of the sections it sets.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { AncmBackend, ArrBackend, IisSite, IisSiteOptions } from "./iis/site.ts";
import { findFreePort } from "./ports.ts";

const GATEWAY = fileURLToPath(new URL("../../gateway/src/main.ts", import.meta.url));
const MODULE = fileURLToPath(new URL("../../gateway/src/iis/module/CountersignIdentity.cs", import.meta.url));
const APPCMD = join(process.env.windir ?? "C:\\Windows", "system32", "inetsrv", "appcmd.exe");
const AUTHENTICATION = "system.webServer/security/authentication";
const STOP_TIMEOUT_MS = 60_000;
const LOOK_MS = 250;

/** Makes a site with a pool of its own and starts it; `stop` takes both away. */
export async function startRealIis(options: IisSiteOptions): Promise<IisSite> {
  const port = options.port ?? (await findFreePort());
  const site = new RealSite(options, port);
  site.deploy();
  return site;
}

class RealSite implements IisSite {
  readonly port: number;
  readonly #options: IisSiteOptions;
  readonly #name: string;
  readonly #folder: string;

  constructor(options: IisSiteOptions, port: number) {
    this.#options = options;
    this.port = port;
    this.#name = `countersign-${port}`;
    this.#folder = join(options.logFolder, "site");
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** IIS numbers its sites; this one has a folder of its own for its only log. */
  get logFile(): string {
    const [site = ""] = readdirSync(join(this.#options.logFolder, "iis-logs"));
    const folder = join(this.#options.logFolder, "iis-logs", site);
    return join(folder, readdirSync(folder).findLast((name) => name.endsWith("_x.log")) ?? "");
  }

  readonly flushLog = (): void => {
    execFileSync("netsh", ["http", "flush", "logbuffer"]);
  };

  deploy(): void {
    const { backend, identityModule, windowsAuthentication = false } = this.#options;
    mkdirSync(join(this.#folder, "App_Code"), { recursive: true });
    if (identityModule) copyFileSync(MODULE, join(this.#folder, "App_Code", "CountersignIdentity.cs"));
    writeFileSync(join(this.#folder, "web.config"), webConfigOf(this.#options, this.#stdoutFile));
    appcmd(
      "add",
      "apppool",
      `/name:${this.#name}`,
      "/managedRuntimeVersion:v4.0",
      "/managedPipelineMode:Integrated",
    );
    appcmd(
      ...["set", "apppool", this.#name, "/startMode:AlwaysRunning", "/processModel.idleTimeout:00:00:00"],
      ...["/recycling.periodicRestart.time:00:00:00", "/recycling.disallowOverlappingRotation:true"],
    );
    const logs = join(this.#options.logFolder, "iis-logs");
    mkdirSync(logs, { recursive: true });
    appcmd(
      ...["add", "site", `/name:${this.#name}`, `/bindings:http/127.0.0.1:${this.port}:`],
      ...[`/physicalPath:${this.#folder}`, `/logFile.directory:${logs}`],
    );
    appcmd("set", "app", `${this.#name}/`, `/applicationPool:${this.#name}`);
    appcmd(
      ...["set", "config", "-section:system.applicationHost/sites"],
      `/+[name='${this.#name}'].logFile.customFields.[logFieldName='x-request-id',sourceName='X-Request-Id',sourceType='ResponseHeader']`,
      "/commit:apphost",
    );
    // The pool's account writes the gateway's state and records; that it reads the checkout is the workflow's affair.
    const account = `IIS AppPool\\${this.#name}:(OI)(CI)M`;
    execFileSync("icacls", [this.#options.logFolder, "/grant", account, "/T", "/Q"]);
    if (backend.kind === "arr") prepareArr(backend);
    this.setWindowsAuthentication(windowsAuthentication);
    for (const path of this.#options.anonymousPaths ?? []) {
      const place = `${this.#name}${path}`;
      appcmd(
        "set",
        "config",
        place,
        `-section:${AUTHENTICATION}/anonymousAuthentication`,
        "/enabled:true",
        "/commit:apphost",
      );
    }
  }

  /** What the process writes, which IIS keeps only because `stdoutLogEnabled` is set here. */
  get #stdoutFile(): string {
    return join(this.#folder, "stdout");
  }

  #gatewayLog(): string {
    const names = readdirSync(this.#folder).filter((name) => name.startsWith("stdout_"));
    return names.map((name) => readFileSync(join(this.#folder, name), "utf8")).join("");
  }

  readonly process = (): { readonly port: number; readonly pid: number } | undefined => {
    const found = [...this.#gatewayLog().matchAll(/"address":"127\.0\.0\.1:(\d+)"/g)].at(-1)?.[1];
    if (this.#options.backend.kind === "arr" || found === undefined) return undefined;
    const holder = execFileSync("netstat", ["-ano", "-p", "TCP"], { encoding: "utf8" });
    const pid = new RegExp(`127\\.0\\.0\\.1:${found}\\s+\\S+\\s+LISTENING\\s+(\\d+)`).exec(holder)?.[1];
    return pid === undefined ? undefined : { port: Number(found), pid: Number(pid) };
  };

  readonly setWindowsAuthentication = (isOn: boolean): void => {
    for (const [kind, enabled] of [
      ["anonymousAuthentication", !isOn],
      ["windowsAuthentication", isOn],
    ] as const) {
      appcmd(
        "set",
        "config",
        this.#name,
        `-section:${AUTHENTICATION}/${kind}`,
        `/enabled:${enabled}`,
        "/commit:apphost",
      );
    }
  };

  readonly recycle = async (): Promise<boolean> => {
    const before = this.#gatewayLog().length;
    appcmd("stop", "apppool", this.#name);
    const giveUpAt = performance.now() + STOP_TIMEOUT_MS;
    while (this.process() !== undefined && performance.now() < giveUpAt) await delay(LOOK_MS);
    appcmd("start", "apppool", this.#name);
    return this.#gatewayLog().slice(before).includes('"msg":"ending"');
  };

  /** For whoever wants real ones to read. */
  #keepLog(): void {
    const folder = process.env.COUNTERSIGN_IIS_LOGS;
    if (folder === undefined) return;
    this.flushLog();
    copyFileSync(this.logFile, join(folder, `${this.#name}.log`));
  }

  readonly stop = async (): Promise<void> => {
    appcmd("stop", "site", this.#name);
    this.#keepLog();
    await this.recycle().catch(() => {});
    appcmd("delete", "site", this.#name);
    appcmd("delete", "apppool", this.#name);
  };
}

function appcmd(...args: readonly string[]): void {
  execFileSync(APPCMD, [...args], { stdio: ["ignore", "ignore", "inherit"] });
}

/** Server-level sections: no site may set them. */
function prepareArr({ minResponseBuffer = 0 }: ArrBackend): void {
  const proxy = ["enabled:True", "preserveHostHeader:True", "reverseRewriteHostInResponseHeaders:False"];
  const settings = [...proxy, `minResponseBuffer:${Math.ceil(minResponseBuffer / 1_024)}`];
  appcmd(
    "set",
    "config",
    "-section:system.webServer/proxy",
    ...settings.map((each) => `/${each}`),
    "/commit:apphost",
  );
  for (const name of ["HTTP_X_FORWARDED_PROTO", "HTTP_COUNTERSIGN_PROOF", "HTTP_SEC_WEBSOCKET_EXTENSIONS"]) {
    try {
      const section = "-section:system.webServer/rewrite/allowedServerVariables";
      appcmd("set", "config", section, `/+[name='${name}']`, "/commit:apphost");
    } catch {
      // It is there already: a second one would break every site.
    }
  }
}

function webConfigOf({ backend, identityModule }: IisSiteOptions, stdoutFile: string): string {
  const settings = identityModule
    ? `<appSettings>
    <add key="CountersignKey" value="${identityModule.key}" />
    <add key="CountersignGroups" value="${identityModule.groups ?? "names"}" />
  </appSettings>`
    : "";
  const modules = identityModule
    ? '<modules><add name="CountersignIdentity" type="CountersignIdentity" preCondition="" /></modules>'
    : "";
  return `<?xml version="1.0" encoding="utf-8"?>
<configuration>
  ${settings}
  <system.webServer>
    ${modules}
    <httpErrors existingResponse="PassThrough" />
    <urlCompression doDynamicCompression="false" />
    ${backend.kind === "ancm" ? ancmOf(backend, stdoutFile) : arrOf(backend)}
  </system.webServer>
</configuration>
`;
}

function ancmOf({ configFile, forwardWindowsAuthToken = false }: AncmBackend, stdoutFile: string): string {
  return `<handlers>
      <add name="countersign" path="*" verb="*" modules="AspNetCoreModuleV2" resourceType="Unspecified" />
    </handlers>
    <aspNetCore processPath="${process.execPath}" arguments="&quot;${GATEWAY}&quot; serve --config &quot;${configFile}&quot;"
                hostingModel="OutOfProcess" forwardWindowsAuthToken="${forwardWindowsAuthToken}" processesPerApplication="1"
                requestTimeout="01:00:00" shutdownTimeLimit="20" stdoutLogEnabled="true" stdoutLogFile="${stdoutFile}" />`;
}

function arrOf({ port, proof, removesExtensions = true }: ArrBackend): string {
  const variables = [
    '<set name="HTTP_X_FORWARDED_PROTO" value="{proto:{HTTPS}}" />',
    ...(proof === undefined ? [] : [`<set name="HTTP_COUNTERSIGN_PROOF" value="${proof}" />`]),
    ...(removesExtensions ? ['<set name="HTTP_SEC_WEBSOCKET_EXTENSIONS" value="" />'] : []),
  ];
  return `<rewrite>
      <rewriteMaps><rewriteMap name="proto"><add key="on" value="https" /><add key="off" value="http" /></rewriteMap></rewriteMaps>
      <rules>
        <rule name="countersign" stopProcessing="true">
          <match url="(.*)" />
          <serverVariables>${variables.join("")}</serverVariables>
          <action type="Rewrite" url="http://127.0.0.1:${port}/{R:1}" />
        </rule>
      </rules>
    </rewrite>`;
}
