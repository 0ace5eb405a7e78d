import { bool, collection, duration, type ElementFacts, integer, text } from "./facts.ts";

/**
 * What runs a process behind IIS, or hands requests to one.
 *
 * @source aspnetcore_schema_v2 (dotnet/aspnetcore); the schemas of HttpPlatformHandler 1.2 and of iisnode 0.2.26
 */
export const HOSTS: Readonly<Record<string, ElementFacts>> = {
  "system.webServer/aspNetCore": {
    attributes: {
      processPath: text(),
      arguments: text(),
      startupTimeLimit: integer("120", { min: 0, max: 3600 }),
      shutdownTimeLimit: integer("10", { min: 0, max: 600 }),
      rapidFailsPerMinute: integer("10", { min: 0, max: 100 }),
      requestTimeout: duration("00:02:00", { min: 0, max: 1_296_000 }),
      stdoutLogEnabled: bool("false"),
      stdoutLogFile: text({ byDefault: ".\\aspnetcore-stdout" }),
      processesPerApplication: integer("1", { min: 1, max: 100 }),
      forwardWindowsAuthToken: bool("true"),
      disableStartUpErrorPage: bool("false"),
      hostingModel: text(),
    },
    children: {
      recycleOnFileChange: {
        attributes: {},
        collections: [
          collection({ path: text({ required: true, notEmpty: true }) }, {}, { add: "file", remove: false }),
        ],
      },
      environmentVariables: {
        attributes: {},
        collections: [
          collection(
            { name: text({ required: true, notEmpty: true }), value: text({ required: true }) },
            {},
            { add: "environmentVariable", remove: false },
          ),
        ],
      },
      handlerSettings: {
        attributes: {},
        collections: [
          collection(
            { name: text({ required: true, notEmpty: true }), value: text({ required: true }) },
            {},
            { add: "handlerSetting", remove: false },
          ),
        ],
      },
    },
  },
  "system.webServer/httpPlatform": {
    attributes: {
      processPath: text(),
      arguments: text(),
      startupTimeLimit: integer("120", { min: 0, max: 3600 }),
      startupRetryCount: integer("10", { min: 0, max: 100 }),
      rapidFailsPerMinute: integer("10", { min: 0, max: 100 }),
      requestTimeout: duration("00:02:00", { min: 0, max: 2_592_000, step: 60 }),
      stdoutLogEnabled: bool("false"),
      stdoutLogFile: text({ byDefault: ".\\httpplatform-stdout" }),
      processesPerApplication: integer("1", { min: 1, max: 100 }),
      forwardWindowsAuthToken: bool("false"),
    },
    children: {
      recycleOnFileChange: {
        attributes: {},
        collections: [
          collection({ path: text({ required: true, notEmpty: true }) }, {}, { add: "file", remove: false }),
        ],
      },
      environmentVariables: {
        attributes: {},
        collections: [
          collection(
            { name: text({ required: true, notEmpty: true }), value: text({ required: true }) },
            {},
            { add: "environmentVariable", remove: false },
          ),
        ],
      },
    },
  },
  "system.webServer/iisnode": {
    attributes: {
      node_env: text({ byDefault: "%node_env%" }),
      asyncCompletionThreadCount: integer("0", { min: 0 }),
      nodeProcessCountPerApplication: integer("1", { min: 0 }),
      nodeProcessCommandLine: text({ byDefault: "node.exe" }),
      interceptor: text({ byDefault: '"%programfiles%\\iisnode\\interceptor.js"' }),
      maxConcurrentRequestsPerProcess: integer("1024", { min: 0 }),
      maxNamedPipeConnectionRetry: integer("100", { min: 0 }),
      namedPipeConnectionRetryDelay: integer("250", { min: 0 }),
      maxNamedPipeConnectionPoolSize: integer("512", { min: 0 }),
      maxNamedPipePooledConnectionAge: integer("30000", { min: 0 }),
      initialRequestBufferSize: integer("4096", { min: 0 }),
      maxRequestBufferSize: integer("65536", { min: 0 }),
      uncFileChangesPollingInterval: integer("5000", { min: 0 }),
      gracefulShutdownTimeout: integer("60000", { min: 0 }),
      logDirectory: text({ byDefault: "iisnode" }),
      debuggingEnabled: bool("true"),
      debuggerExtensionDll: text({ byDefault: "iisnode-inspector-0.7.3.dll" }),
      debugHeaderEnabled: bool("false"),
      debuggerVirtualDir: text(),
      debuggerPathSegment: text({ byDefault: "debug" }),
      debuggerPortRange: text({ byDefault: "5058-6058" }),
      maxLogFileSizeInKB: integer("128", { min: 0 }),
      maxTotalLogFileSizeInKB: integer("1024", { min: 0 }),
      maxLogFiles: integer("20", { min: 0 }),
      loggingEnabled: bool("true"),
      devErrorsEnabled: bool("true"),
      flushResponse: bool("false"),
      watchedFiles: text({ byDefault: "*.js;iisnode.yml" }),
      enableXFF: bool("false"),
      promoteServerVars: text(),
      configOverrides: text({ byDefault: "iisnode.yml" }),
      recycleSignalEnabled: bool("false"),
      idlePageOutTimePeriod: integer("0", { min: 0 }),
      nodeProcessStickySessions: bool("false"),
    },
  },
};
