import { bool, collection, duration, type ElementFacts, flags, integer, oneOf, text } from "./facts.ts";

/**
 * How IIS serves.
 *
 * @source IIS_schema.xml of IIS 10
 */
export const SERVING: Readonly<Record<string, ElementFacts>> = {
  "system.webServer/caching": {
    attributes: {
      enabled: bool("true"),
      enableKernelCache: bool("true"),
      maxCacheSize: integer("0", { min: 0 }),
      maxResponseSize: integer("262144", { min: 0 }),
    },
    children: {
      profiles: {
        attributes: {},
        collections: [
          collection({
            extension: text({ required: true, key: true, notEmpty: true }),
            policy: oneOf(
              ["DontCache", "CacheUntilChange", "CacheForTimePeriod", "DisableCache"],
              "DontCache",
            ),
            kernelCachePolicy: oneOf(
              ["DontCache", "CacheUntilChange", "CacheForTimePeriod", "DisableCache"],
              "DontCache",
            ),
            duration: duration("00:00:30", { min: 1, max: 4_294_967 }),
            location: oneOf(["Any", "Client", "Downstream", "Server", "None", "ServerAndClient"], "Server"),
            varyByHeaders: text(),
            varyByQueryString: text(),
          }),
        ],
      },
    },
  },
  "system.webServer/defaultDocument": {
    attributes: { enabled: bool("true") },
    children: { files: { attributes: {}, collections: [collection({ value: text({ key: true }) })] } },
  },
  "system.webServer/handlers": {
    attributes: {
      accessPolicy: flags(
        [
          "None",
          "Read",
          "Write",
          "Execute",
          "Source",
          "Script",
          "NoRemoteWrite",
          "NoRemoteRead",
          "NoRemoteExecute",
          "NoRemoteScript",
        ],
        "Read",
      ),
    },
    collections: [
      collection({
        name: text({ required: true, key: true, notEmpty: true }),
        path: text({ required: true, notEmpty: true }),
        verb: text({ required: true }),
        type: text(),
        modules: text({ byDefault: "ManagedPipelineHandler" }),
        scriptProcessor: text(),
        resourceType: oneOf(["File", "Directory", "Either", "Unspecified"], "Unspecified"),
        requireAccess: oneOf(["None", "Read", "Write", "Script", "Execute"], "Script"),
        allowPathInfo: bool("false"),
        preCondition: text(),
        responseBufferLimit: integer("4194304", { min: 0 }),
      }),
    ],
  },
  "system.webServer/httpErrors": {
    attributes: {
      errorMode: oneOf(["DetailedLocalOnly", "Custom", "Detailed"], "DetailedLocalOnly"),
      existingResponse: oneOf(["Auto", "Replace", "PassThrough"], "Auto"),
      defaultPath: text(),
      defaultResponseMode: oneOf(["File", "ExecuteURL", "Redirect"], "File"),
      detailedMoreInformationLink: text({ byDefault: "http://go.microsoft.com/fwlink/?LinkID=62293" }),
      allowAbsolutePathsWhenDelegated: bool("false"),
    },
    collections: [
      collection(
        {
          statusCode: integer(undefined, { min: 400, max: 999 }, { required: true, key: true }),
          subStatusCode: integer("-1", { min: -1, max: 999 }, { key: true }),
          prefixLanguageFilePath: text(),
          path: text({ required: true, notEmpty: true }),
          responseMode: oneOf(["File", "ExecuteURL", "Redirect"], "File"),
        },
        {},
        { add: "error" },
      ),
    ],
  },
  "system.webServer/httpLogging": {
    attributes: {
      selectiveLogging: oneOf(["LogAll", "LogSuccessful", "LogError"], "LogAll"),
      dontLog: bool("false"),
    },
  },
  "system.webServer/httpProtocol": {
    attributes: { allowKeepAlive: bool("true") },
    children: {
      customHeaders: {
        attributes: {},
        collections: [collection({ name: text({ key: true }), value: text() })],
      },
      redirectHeaders: {
        attributes: {},
        collections: [collection({ name: text({ key: true }), value: text() })],
      },
    },
  },
  "system.webServer/httpRedirect": {
    attributes: {
      enabled: bool("false"),
      destination: text(),
      exactDestination: bool("false"),
      childOnly: bool("false"),
      httpResponseStatus: oneOf(["Permanent", "Found", "Temporary", "PermRedirect"], "Found"),
    },
    collections: [
      collection({
        wildcard: text({ required: true, key: true, notEmpty: true }),
        destination: text({ required: true, notEmpty: true }),
      }),
    ],
  },
  "system.webServer/modules": {
    attributes: {
      runAllManagedModulesForAllRequests: bool("false"),
      runManagedModulesForWebDavRequests: bool("false"),
    },
    collections: [
      collection({
        name: text({ required: true, key: true, notEmpty: true }),
        type: text(),
        preCondition: text(),
      }),
    ],
  },
  "system.webServer/serverRuntime": {
    attributes: {
      enabled: bool("true"),
      appConcurrentRequestLimit: integer("5000", { min: 0 }),
      maxRequestEntityAllowed: integer("4294967295", { min: 0 }),
      uploadReadAheadSize: integer("49152", { min: 0, max: 2_147_483_647 }),
      alternateHostName: text(),
      enableNagling: bool("false"),
      frequentHitThreshold: integer("2", { min: 1, max: 2_147_483_647 }),
      frequentHitTimePeriod: duration("00:00:10"),
      authenticatedUserOverride: oneOf(
        ["UseAuthenticatedUser", "UseWorkerProcessUser"],
        "UseAuthenticatedUser",
      ),
    },
  },
  "system.webServer/staticContent": {
    attributes: {
      defaultDocFooter: text(),
      isDocFooterFileName: bool("false"),
      enableDocFooter: bool("false"),
    },
    children: {
      clientCache: {
        attributes: {
          cacheControlMode: oneOf(["NoControl", "DisableCache", "UseMaxAge", "UseExpires"], "NoControl"),
          cacheControlMaxAge: duration("1.00:00:00"),
          httpExpires: text(),
          cacheControlCustom: text(),
          setEtag: bool("true"),
        },
      },
    },
    collections: [
      collection(
        {
          fileExtension: text({ required: true, key: true }),
          mimeType: text({ required: true, notEmpty: true }),
        },
        {},
        { add: "mimeMap" },
      ),
    ],
  },
  "system.webServer/urlCompression": {
    attributes: {
      doStaticCompression: bool("true"),
      doDynamicCompression: bool("true"),
      dynamicCompressionBeforeCache: bool("false"),
    },
  },
  "system.webServer/webSocket": {
    attributes: {
      enabled: bool("true"),
      receiveBufferLimit: integer("4194304", { min: 4096, max: 2_147_483_647 }),
      pingInterval: duration("00:00:00", { min: 0, max: 86_400 }),
    },
  },
};
