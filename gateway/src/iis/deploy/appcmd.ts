import type { Binding, ServerStep, StepValue, StepValues } from "./server-steps.ts";
import { FILES } from "./wish.ts";

/**
 * The steps as a batch file with appcmd. Names and paths in it have been checked to have no character that cmd reads
 * within quotes.
 */
export function appcmdScript(steps: readonly ServerStep[]): string {
  const needsProof = steps.some((step) => "values" in step && Object.values(step.values).some(isSecret));
  return `${[
    "@echo off",
    "rem What is set on the server for Countersign, written by: countersign iis init. Run it as administrator; again if need be.",
    `rem ${FILES.powershell} does the same, and keeps the secret off command lines: prefer it. What it is all for: ${FILES.checklist}.`,
    "setlocal",
    "set A=%windir%\\system32\\inetsrv\\appcmd.exe",
    ...(needsProof ? [`set /p PROOF=<"%~dp0${windowsPath(FILES.proof)}" || goto :failed`] : []),
    ...steps.flatMap(linesOf),
    "",
    "echo Done. Go on with the checklist.",
    "exit /b 0",
    "",
    ":failed",
    "echo FAILED at the step above. Mend it and run this again: what is done already is done again. 1>&2",
    "exit /b 1",
  ].join("\n")}\n`;
}

function linesOf(step: ServerStep): readonly string[] {
  switch (step.kind) {
    case "say":
      return ["", `rem ${step.text}`, `echo ${forEcho(step.text)}`];
    case "set":
      return [
        orFail(
          `%A% set config ${place(step.at)}-section:${step.section}${attributes(step.values)} /commit:apphost`,
        ),
      ];
    case "entry": {
      const { at, section, inside, key, values } = step;
      const target = `%A% set config ${place(at)}-section:${section}`;
      const path = inside === undefined ? "" : `${inside.appcmd}.`;
      const all = Object.entries(values).map(([name, value]) => `${name}='${shown(value)}'`);
      return [
        `${target} /-"${path}[${key}='${shown(values[key] ?? "")}']" /commit:apphost >nul 2>nul`,
        orFail(`${target} /+"${path}[${all.join(",")}]" /commit:apphost`),
      ];
    }
    case "pool":
      return [
        orFail(
          `%A% list apppool /name:"${step.name}" | find """${step.name}""" >nul || %A% add apppool /name:"${step.name}"`,
        ),
        orFail(`%A% set apppool "${step.name}"${attributes(step.values)}`),
      ];
    case "application":
      return applicationLines(step);
    case "rights":
      return [
        `if not exist "${step.path}" mkdir "${step.path}"`,
        orFail(
          `icacls "${step.path}" /inheritance:r ${step.grants.map((grant) => `/grant:r "${grant}"`).join(" ")} /Q`,
        ),
      ];
  }
}

function applicationLines(step: Extract<ServerStep, { kind: "application" }>): readonly string[] {
  const { site, path, pool, physicalPath, binding, preload } = step;
  const application = `${site}${path}`;
  const make =
    path === "/"
      ? `%A% list site /name:"${site}" | find """${site}""" >nul || %A% add site /name:"${site}" /physicalPath:"${physicalPath}" /bindings:${bindingOf(binding)}`
      : `%A% list app "${application}" | find """${application}""" >nul || %A% add app /site.name:"${site}" /path:"${path}" /physicalPath:"${physicalPath}"`;
  return [
    `if not exist "${physicalPath}" mkdir "${physicalPath}"`,
    orFail(make),
    orFail(`%A% set app "${application}" /applicationPool:"${pool}" /preloadEnabled:${preload}`),
  ];
}

function bindingOf({ protocol, port, host }: Binding): string {
  return `${protocol}/*:${port}:${host}`;
}

function orFail(command: string): string {
  return `${command} || goto :failed`;
}

function place(at: string): string {
  return at === "" ? "" : `"${at}" `;
}

function attributes(values: StepValues): string {
  return Object.entries(values)
    .map(([name, value]) => ` /${name}:"${shown(value)}"`)
    .join("");
}

function shown(value: StepValue): string {
  return isSecret(value) ? "%PROOF%" : value;
}

function isSecret(value: StepValue): value is Exclude<StepValue, string> {
  return typeof value !== "string";
}

function windowsPath(path: string): string {
  return path.replaceAll("/", "\\");
}

/** Outside quotes these are read by cmd. */
function forEcho(text: string): string {
  return text.replace(/[&|<>^()]/g, (character) => `^${character}`);
}
