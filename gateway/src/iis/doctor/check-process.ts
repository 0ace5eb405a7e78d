import { attributeAt, below, elementsAt, type Found, isTrue } from "../config/view.ts";
import { type Attribute, attributeNodeOf, attributeOf } from "../config/xml.ts";
import { durationSeconds } from "./check-value.ts";
import type { Examination } from "./examination.ts";
import { handlersAt, type NodeProcess } from "./hosts.ts";
import { quoted } from "./report.ts";

const ASPNETCORE = "system.webServer/aspNetCore";
const HTTP_PLATFORM = "system.webServer/httpPlatform";

/** ASP.NET Core Module and what it starts, when that is Node. */
export function checkProcess(examination: Examination): void {
  const { hosts, report, isGateway: gateway } = examination;
  const { httpPlatform, iisnode, process } = hosts;
  if (httpPlatform) reportHost(httpPlatform, "http-platform");
  if (iisnode) reportHost(iisnode, "iisnode");
  // Whatever HttpPlatformHandler starts, in whatever language; of .NET's own module only Node is ours to judge.
  const started = [
    ...elementsAt(examination.view, HTTP_PLATFORM),
    ...(process ? sectionsOf(examination) : []),
  ];
  for (const section of started) checkEnvironment(section, examination);
  if (!process) return;
  checkProgram(process, examination);
  checkHandler(process, examination);
  checkLimits(process, examination);
  checkTokenHandles(process, examination);

  function reportHost({ element, layer }: Found, code: "http-platform" | "iisnode"): void {
    const found = `Requests are handed on by ${attributeOf(element, "modules") ?? element.tagName}.`;
    report(code, { layer, node: element }, { found, gateway });
  }
}

function sectionsOf({ view }: Examination): readonly Found[] {
  return elementsAt(view, ASPNETCORE);
}

/** The value in force, or the element where it would stand. */
function settingOf(
  { element, layer }: NodeProcess,
  { view }: Examination,
  name: string,
): {
  readonly value?: string;
  readonly place: Pick<Found, "layer"> & { readonly node: Attribute | Found["element"] };
} {
  const found = attributeAt(view, ASPNETCORE, name);
  return found
    ? { value: found.value, place: { layer: found.layer, node: found.attribute } }
    : { place: { layer, node: element } };
}

function checkProgram(process: NodeProcess, examination: Examination): void {
  const { report } = examination;
  const { isGateway: gateway, processPath, arguments: args } = process;
  const program = settingOf(process, examination, "processPath").place;
  const found = `processPath=${quoted(processPath)}.`;
  if (/\.(?:[cm]?[jt]s|cmd|bat|ps1)"?\s*$/i.test(processPath)) report("process-not-node", program, { found });
  else if (!/^"?(?:[A-Za-z]:[\\/]|\\\\|%)/.test(processPath.trim())) {
    report("process-path-relative", program, { found, gateway });
  }
  const model = settingOf(process, examination, "hostingModel");
  if (/^inprocess$/i.test(model.value ?? "")) {
    report("hosting-in-process", model.place, { found: `hostingModel=${quoted(model.value ?? "")}.` });
  }
  const unquoted = unquotedPathIn(args);
  if (unquoted !== undefined) {
    const { place } = settingOf(process, examination, "arguments");
    report("arguments-unquoted", place, { found: `arguments has the path ${quoted(unquoted)}.` });
  }
}

/** Windows starts nothing with a longer one. */
const COMMAND_CHARACTERS_MAX = 32_767;

/** A path with a blank before the name of a script, outside quotes. */
function unquotedPathIn(args: string): string | undefined {
  const plain = args
    .slice(0, COMMAND_CHARACTERS_MAX)
    .replace(/"[^"]*"/g, (quotedPart) => "_".repeat(quotedPart.length));
  const [, path] = /(?:^|\s)([A-Za-z]:\\[^\s"]* [^"]*?\.[cm]?js)(?:\s|$)/.exec(plain) ?? [];
  // Two arguments that are each whole, such as a module to load before the script, are none.
  return path !== undefined && !/\.[cm]?js .|\s[A-Za-z]:\\|\s-/.test(path) ? path : undefined;
}

/** `0.0.0.0` and `::`, where programs are told to listen. */
const EVERYWHERE = /(?:^|[\s=/"'])(?:0\.0\.0\.0|\[::\])(?::|$|[\s"'])/;

/** What a section hands to the process it starts. */
function checkEnvironment({ element, layer }: Found, { report }: Examination): void {
  const args = attributeNodeOf(element, "arguments");
  if (args && EVERYWHERE.test(args.value)) {
    report("listens-everywhere", { layer, node: args }, { found: `arguments=${quoted(args.value)}.` });
  }
  for (const variable of below(element, "environmentVariables/environmentVariable")) {
    const name = attributeOf(variable, "name") ?? "";
    const value = attributeOf(variable, "value") ?? "";
    const node = attributeNodeOf(variable, "name") ?? variable;
    if (/^ASPNETCORE_TOKEN$/i.test(name)) {
      report(
        "pairing-token-set",
        { layer, node },
        { found: "ASPNETCORE_TOKEN is set in environmentVariables." },
      );
    }
    if (/^NODE_TLS_REJECT_UNAUTHORIZED$/i.test(name) && value.trim() === "0") {
      report("tls-unverified", { layer, node }, { found: `${quoted(name)} is "0".` });
    }
    if (EVERYWHERE.test(value) || (/HOST|BIND|ADDRESS/i.test(name) && /^(?:0|::|\*|\+)$/.test(value))) {
      report("listens-everywhere", { layer, node }, { found: `${quoted(name)} is ${quoted(value)}.` });
    }
  }
}

function checkHandler(
  { element, layer, isGateway: gateway }: NodeProcess,
  { view, report }: Examination,
): void {
  const handlers = handlersAt(view, /^AspNetCoreModule(?:V2)?$/i);
  if (handlers.length === 0) {
    const found = "There is <aspNetCore>, and no handler of AspNetCoreModuleV2.";
    return void report("handler-missing", { layer, node: element }, { found });
  }
  const takesAll = handlers.some(
    ({ element: handler }) =>
      attributeOf(handler, "path") === "*" &&
      attributeOf(handler, "verb") === "*" &&
      /^(?:unspecified)?$/i.test(attributeOf(handler, "resourceType") ?? ""),
  );
  const [first] = handlers;
  if (takesAll || !first) return;
  const path = attributeOf(first.element, "path") ?? "";
  const verb = attributeOf(first.element, "verb") ?? "";
  const found = `The handler takes path=${quoted(path)} verb=${quoted(verb)} resourceType=${quoted(attributeOf(first.element, "resourceType") ?? "Unspecified")}.`;
  report("handler-partial", { layer: first.layer, node: first.element }, { found, gateway });
}

/** The gateway waits half a minute for NATS, and drains for ten seconds. */
const START_SECONDS_MIN = 35;
const SHUTDOWN_SECONDS_MIN = 11;
/** Two pings of a WebSocket. */
const SILENCE_SECONDS_MIN = 60;

function checkLimits(process: NodeProcess, examination: Examination): void {
  const { report } = examination;
  const { isGateway: gateway } = process;
  const start = settingOf(process, examination, "startupTimeLimit");
  if (Number(start.value ?? 120) < START_SECONDS_MIN) {
    report("start-too-short", start.place, { found: `startupTimeLimit is ${start.value} seconds.`, gateway });
  }
  const shutdown = settingOf(process, examination, "shutdownTimeLimit");
  if (Number(shutdown.value ?? 10) < SHUTDOWN_SECONDS_MIN) {
    const found = `shutdownTimeLimit is ${shutdown.value ?? "not set, so that it is 10"} seconds.`;
    report("shutdown-too-short", shutdown.place, { found, gateway });
  }
  const silence = settingOf(process, examination, "requestTimeout");
  if ((durationSeconds(silence.value ?? "00:02:00") ?? SILENCE_SECONDS_MIN) < SILENCE_SECONDS_MIN) {
    report("timeout-short", silence.place, { found: `requestTimeout is ${silence.value}.`, gateway });
  }
  const processes = settingOf(process, examination, "processesPerApplication");
  if (Number(processes.value ?? 1) > 1) {
    report("processes-many", processes.place, {
      found: `processesPerApplication is ${processes.value}.`,
      gateway,
    });
  }
}

/** Where Windows signs nobody in there are no handles; where that is not known, there may be. */
function checkTokenHandles(process: NodeProcess, examination: Examination): void {
  const { view, report } = examination;
  const setting = settingOf(process, examination, "forwardWindowsAuthToken");
  if (setting.value !== undefined && !isTrue(setting.value)) return;
  const path = "system.webServer/security/authentication/windowsAuthentication";
  const isOn = isTrue(attributeAt(view, path, "enabled")?.value);
  if (view.knowsHost && !isOn) return;
  const found = `forwardWindowsAuthToken is ${setting.value ?? "true, the default"}${isOn ? ", and Windows authentication is on" : ""}.`;
  report("token-handles-leak", setting.place, { found, ...(!isOn && { severity: "warning" }) });
}
