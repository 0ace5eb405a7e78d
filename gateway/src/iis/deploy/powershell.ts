import type { ServerStep, StepValue, StepValues } from "./server-steps.ts";
import { FILES } from "./wish.ts";

const HEAD = `#Requires -RunAsAdministrator
# What is set on the server for Countersign, written by: countersign iis init. Run it again if need be.
# ${FILES.appcmd} does the same without PowerShell. What it is all for: ${FILES.checklist}.
$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 3
Import-Module WebAdministration

# Where: applicationHost.config, in the <location> of a site or path, or for the whole server.
function Get-Place([string] $At) {
  $place = @{ PSPath = 'MACHINE/WEBROOT/APPHOST' }
  if ($At) { $place.Location = $At }
  $place
}

function Set-Attributes([string] $At, [string] $Filter, [hashtable] $Values) {
  $place = Get-Place $At
  foreach ($name in $Values.Keys) { Set-WebConfigurationProperty @place -Filter $Filter -Name $name -Value $Values[$name] }
}

# An entry of the same key is replaced.
function Set-Entry([string] $At, [string] $Filter, [string] $Key, [hashtable] $Values) {
  $place = Get-Place $At
  Remove-WebConfigurationProperty @place -Filter $Filter -Name '.' -AtElement @{ $Key = $Values[$Key] } -ErrorAction SilentlyContinue
  Add-WebConfigurationProperty @place -Filter $Filter -Name '.' -Value $Values
}

function Set-Rights([string] $Path, [string[]] $Grants) {
  New-Item -ItemType Directory -Force $Path | Out-Null
  $arguments = @($Path, '/inheritance:r') + ($Grants | ForEach-Object { '/grant:r'; $_ }) + '/Q'
  & icacls.exe @arguments
  if ($LASTEXITCODE -ne 0) { throw "the rights of $Path could not be set" }
}
`;

/** The steps as a script for Windows PowerShell 5.1, which every server has. */
export function powershellScript(steps: readonly ServerStep[]): string {
  const needsProof = steps.some((step) => "values" in step && Object.values(step.values).some(isSecret));
  const proof = needsProof
    ? [
        `$proof = (Get-Content -TotalCount 1 (Join-Path $PSScriptRoot ${quote(FILES.proof.replaceAll("/", "\\"))})).Trim()`,
      ]
    : [];
  return `${[HEAD, ...proof, ...steps.flatMap(linesOf), "", "Write-Host 'Done. Go on with the checklist.'"].join("\n")}\n`;
}

function linesOf(step: ServerStep): readonly string[] {
  switch (step.kind) {
    case "say":
      return ["", `Write-Host ${quote(step.text)}`];
    case "set":
      return [`Set-Attributes ${quote(step.at)} ${quote(step.section)} ${table(step.values)}`];
    case "entry": {
      const { at, section, inside, key, values } = step;
      const filter = inside === undefined ? section : `${section}/${inside.filter}`;
      return [`Set-Entry ${quote(at)} ${quote(filter)} ${quote(key)} ${table(values)}`];
    }
    case "pool":
      return [
        `if (-not (Test-Path ${quote(`IIS:\\AppPools\\${step.name}`)})) { New-WebAppPool -Name ${quote(step.name)} | Out-Null }`,
        ...Object.entries(step.values).map(
          ([name, value]) =>
            `Set-ItemProperty ${quote(`IIS:\\AppPools\\${step.name}`)} -Name ${quote(name)} -Value ${quote(value)}`,
        ),
      ];
    case "application":
      return applicationLines(step);
    case "rights":
      return [`Set-Rights ${quote(step.path)} @(${step.grants.map(quote).join(", ")})`];
  }
}

function applicationLines(step: Extract<ServerStep, { kind: "application" }>): readonly string[] {
  const { site, path, pool, physicalPath, binding, preload } = step;
  const drive = `IIS:\\Sites\\${site}${path === "/" ? "" : path.replaceAll("/", "\\")}`;
  const ssl = binding.protocol === "https" ? " -Ssl -SslFlags 1" : "";
  const make =
    path === "/"
      ? `New-Website -Name ${quote(site)} -PhysicalPath ${quote(physicalPath)} -ApplicationPool ${quote(pool)} -Port ${binding.port} -HostHeader ${quote(binding.host)}${ssl}`
      : `New-WebApplication -Site ${quote(site)} -Name ${quote(path.slice(1))} -PhysicalPath ${quote(physicalPath)} -ApplicationPool ${quote(pool)}`;
  return [
    `New-Item -ItemType Directory -Force ${quote(physicalPath)} | Out-Null`,
    `if (-not (Test-Path ${quote(drive)})) { ${make} | Out-Null }`,
    `Set-ItemProperty ${quote(drive)} -Name 'applicationPool' -Value ${quote(pool)}`,
    path === "/"
      ? `Set-ItemProperty ${quote(drive)} -Name 'applicationDefaults.preloadEnabled' -Value $${preload}`
      : `Set-ItemProperty ${quote(drive)} -Name 'preloadEnabled' -Value $${preload}`,
  ];
}

function table(values: StepValues): string {
  const pairs = Object.entries(values).map(([name, value]) => `${name} = ${shown(value)}`);
  return `@{ ${pairs.join("; ")} }`;
}

function shown(value: StepValue): string {
  return isSecret(value) ? "$proof" : quote(value);
}

function isSecret(value: StepValue): value is Exclude<StepValue, string> {
  return typeof value !== "string";
}

/** Within single quotes nothing is read but the quote itself. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
