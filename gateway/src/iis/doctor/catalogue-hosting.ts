import type { Entry } from "./entry.ts";

export type HostingCode =
  | "gateway-unrecognised"
  | "http-platform"
  | "iisnode"
  | "proxy-disabled"
  | "handler-missing"
  | "handler-partial"
  | "hosting-in-process"
  | "process-not-node"
  | "process-path-relative"
  | "arguments-unquoted"
  | "token-handles-leak"
  | "start-too-short"
  | "shutdown-too-short"
  | "processes-many"
  | "pool-overlaps"
  | "pool-sleeps"
  | "pool-recycles"
  | "pool-starts-late";

/** How IIS starts and keeps what is behind it. */
export const HOSTING: Readonly<Record<HostingCode, Entry>> = {
  "gateway-unrecognised": {
    severity: "note",
    why: "Nothing here says that the gateway is behind it, so that only what is wrong for any site was reported.",
    fix: "If it is the gateway, run again with --gateway.",
    certainty: "inferred",
  },
  "http-platform": {
    severity: "error",
    elsewhere: "note",
    why: "HttpPlatformHandler holds answers back by 8 KB, so that events come late, and proves nothing to the process: the gateway is not hosted under it.",
    fix: "Use ASP.NET Core Module V2: `countersign iis init --behind iis-ancm` writes what it needs.",
    certainty: "reported",
  },
  iisnode: {
    severity: "error",
    elsewhere: "note",
    why: "iisnode has had no change since 2021 and holds answers back unless flushResponse is set: the gateway is not hosted under it.",
    fix: "Use ASP.NET Core Module V2: `countersign iis init --behind iis-ancm` writes what it needs.",
    certainty: "source",
  },
  "proxy-disabled": {
    severity: "error",
    why: "Application Request Routing proxies nothing until it is switched on for the server: IIS answers with 404.",
    fix: "Switch it on.",
    snippet: 'appcmd set config -section:system.webServer/proxy /enabled:"True" /commit:apphost',
    certainty: "documented",
  },
  "handler-missing": {
    severity: "error",
    why: "No handler gives requests to ASP.NET Core Module, so that the process is never started.",
    fix: "Add the handler.",
    snippet:
      '<add name="countersign" path="*" verb="*" modules="AspNetCoreModuleV2" resourceType="Unspecified" />',
    certainty: "source",
  },
  "handler-partial": {
    severity: "error",
    elsewhere: "hidden",
    why: "The handler takes a part of the paths or methods; the rest is answered by IIS with 404 or 405.",
    fix: 'Write path="*" verb="*" resourceType="Unspecified".',
    certainty: "documented",
  },
  "hosting-in-process": {
    severity: "error",
    why: "In process IIS loads .NET into its own worker; node.exe is another program and is not started.",
    fix: 'Write hostingModel="OutOfProcess".',
    certainty: "source",
  },
  "process-not-node": {
    severity: "error",
    why: "IIS starts this path as a program. A script is none: the start fails with 502.5.",
    fix: "Name node.exe by its whole path, and the script in arguments.",
    snippet: 'processPath="C:\\Program Files\\nodejs\\node.exe"',
    certainty: "source",
  },
  "process-path-relative": {
    severity: "note",
    elsewhere: "hidden",
    why: "The pool's account finds the program by its own PATH, which need not be yours.",
    fix: "Name node.exe by its whole path.",
    certainty: "reported",
  },
  "arguments-unquoted": {
    severity: "error",
    why: "A path with a blank is two arguments unless it stands in quotes: the program does not find its script, and IIS answers with 502.5.",
    fix: "Write &quot; on both sides of it.",
    certainty: "inferred",
  },
  "token-handles-leak": {
    severity: "error",
    why: "For each request of a Windows user the module duplicates a token handle into the process, which Node cannot close; hours later Windows has none left for it. The gateway refuses such requests with 503.",
    fix: 'Write forwardWindowsAuthToken="false"; the default is true.',
    snippet: 'forwardWindowsAuthToken="false"',
    certainty: "source",
  },
  "start-too-short": {
    severity: "warning",
    elsewhere: "hidden",
    why: "The gateway opens its port when NATS is there and waits half a minute for that; IIS ends it before.",
    fix: "Set startupTimeLimit to 60 or more, or leave it out: the default is 120.",
    certainty: "source",
  },
  "shutdown-too-short": {
    severity: "warning",
    elsewhere: "hidden",
    why: "The gateway takes up to 10 seconds (limits: drain) to end its streams and finish what is in flight; IIS kills it before.",
    fix: "Set shutdownTimeLimit to 20.",
    snippet: 'shutdownTimeLimit="20"',
    certainty: "source",
  },
  "processes-many": {
    severity: "error",
    elsewhere: "hidden",
    why: "Several processes at once share one state folder, one audit file and one instance name.",
    fix: "Have one process. Scale by further servers, each with a configuration of its own.",
    certainty: "inferred",
  },
  "pool-overlaps": {
    severity: "error",
    elsewhere: "hidden",
    why: "When the pool recycles, the new gateway starts before the old one has ended: two share one state folder, one audit file and one instance name.",
    fix: "Set recycling.disallowOverlappingRotation to true.",
    certainty: "documented",
  },
  "pool-sleeps": {
    severity: "warning",
    elsewhere: "hidden",
    why: "After idleTimeout without a request IIS ends the pool and the gateway with it: its NATS connections and streams end, and the next request waits for the start.",
    fix: "Set processModel.idleTimeout to 00:00:00.",
    certainty: "documented",
  },
  "pool-recycles": {
    severity: "warning",
    elsewhere: "hidden",
    why: "IIS ends the pool at this interval, by default every 29 hours, and the gateway and all its streams with it.",
    fix: "Set recycling.periodicRestart.time to 00:00:00.",
    certainty: "documented",
  },
  "pool-starts-late": {
    severity: "warning",
    elsewhere: "hidden",
    why: "Nothing starts the pool before its first request, so that whoever comes first waits for the gateway.",
    fix: "Set startMode to AlwaysRunning.",
    certainty: "documented",
  },
};
