import { bool, collection, type ElementFacts, flags, integer, oneOf, text } from "./facts.ts";

/**
 * Who may come in, by what, and with which requests.
 *
 * @source IIS_schema.xml of IIS 10
 */
export const SECURITY: Readonly<Record<string, ElementFacts>> = {
  "system.webServer/security/access": {
    attributes: { sslFlags: flags(["None", "Ssl", "SslNegotiateCert", "SslRequireCert", "Ssl128"], "None") },
  },
  "system.webServer/security/authentication/anonymousAuthentication": {
    attributes: {
      enabled: bool("true"),
      userName: text({ byDefault: "IUSR" }),
      password: text(),
      logonMethod: oneOf(["Interactive", "Batch", "Network", "ClearText"], "ClearText"),
    },
  },
  "system.webServer/security/authentication/basicAuthentication": {
    attributes: {
      enabled: bool("false"),
      realm: text(),
      defaultLogonDomain: text(),
      logonMethod: oneOf(["Interactive", "Batch", "Network", "ClearText"], "ClearText"),
    },
  },
  "system.webServer/security/authentication/clientCertificateMappingAuthentication": {
    attributes: { enabled: bool("false") },
  },
  "system.webServer/security/authentication/digestAuthentication": {
    attributes: { enabled: bool("false"), realm: text() },
  },
  "system.webServer/security/authentication/iisClientCertificateMappingAuthentication": {
    attributes: {
      enabled: bool("false"),
      oneToOneCertificateMappingsEnabled: bool("true"),
      manyToOneCertificateMappingsEnabled: bool("true"),
      defaultLogonDomain: text(),
      logonMethod: oneOf(["Interactive", "Batch", "Network", "ClearText"], "ClearText"),
    },
    children: {
      manyToOneMappings: {
        attributes: {},
        collections: [
          collection(
            {
              name: text({ required: true, key: true, notEmpty: true }),
              description: text(),
              enabled: bool("true"),
              permissionMode: oneOf(["Allow", "Deny"], "Allow"),
              userName: text({ notEmpty: true }),
              password: text(),
            },
            {
              children: {
                rules: {
                  attributes: {},
                  collections: [
                    collection(
                      {
                        certificateField: oneOf(["Subject", "Issuer"], undefined, {
                          required: true,
                          key: true,
                        }),
                        certificateSubField: text({ required: true, key: true }),
                        matchCriteria: text({ required: true, key: true }),
                        compareCaseSensitive: bool("true", { key: true }),
                      },
                      {},
                      { remove: false },
                    ),
                  ],
                },
              },
            },
            { remove: false },
          ),
        ],
      },
      oneToOneMappings: {
        attributes: {},
        collections: [
          collection(
            {
              enabled: bool("true"),
              userName: text(),
              password: text(),
              certificate: text({ required: true, key: true }),
            },
            {},
            { remove: false },
          ),
        ],
      },
    },
  },
  "system.webServer/security/authentication/windowsAuthentication": {
    attributes: {
      enabled: bool("false"),
      authPersistSingleRequest: bool("false"),
      authPersistNonNTLM: bool("false"),
      useKernelMode: bool("true"),
      useAppPoolCredentials: bool("false"),
    },
    children: {
      providers: { attributes: {}, collections: [collection({ value: text({ key: true }) })] },
      extendedProtection: {
        attributes: {
          tokenChecking: oneOf(["None", "Allow", "Require"], "None"),
          flags: flags(["None", "Proxy", "NoServiceNameCheck", "AllowDotlessSpn", "ProxyCohosting"], "None"),
        },
        collections: [
          collection(
            { name: text({ key: true, notEmpty: true }) },
            {},
            { add: "spn", remove: "removeSpn", clear: "clearSpns" },
          ),
        ],
      },
    },
  },
  "system.webServer/security/authorization": {
    attributes: { bypassLoginPages: bool("true") },
    collections: [
      collection({
        accessType: oneOf(["Allow", "Deny"], undefined, { required: true }),
        users: text({ key: true }),
        roles: text({ key: true }),
        verbs: text({ key: true }),
      }),
    ],
  },
  "system.webServer/security/requestFiltering": {
    attributes: {
      allowDoubleEscaping: bool("false"),
      allowHighBitCharacters: bool("true"),
      unescapeQueryString: bool("true"),
      removeServerHeader: bool(),
    },
    children: {
      fileExtensions: {
        attributes: { allowUnlisted: bool("true"), applyToWebDAV: bool("true") },
        collections: [
          collection({
            fileExtension: text({ required: true, key: true, notEmpty: true }),
            allowed: bool("true"),
          }),
        ],
      },
      requestLimits: {
        attributes: {
          maxAllowedContentLength: integer("30000000", { min: 0 }),
          maxUrl: integer("4096", { min: 0 }),
          maxQueryString: integer("2048", { min: 0 }),
        },
        children: {
          headerLimits: {
            attributes: {},
            collections: [
              collection({
                header: text({ required: true, key: true, notEmpty: true }),
                sizeLimit: integer(undefined, { min: 0 }, { required: true }),
              }),
            ],
          },
        },
      },
      verbs: {
        attributes: { allowUnlisted: bool("true"), applyToWebDAV: bool("true") },
        collections: [
          collection({
            verb: text({ required: true, key: true, notEmpty: true }),
            allowed: bool(undefined, { required: true }),
          }),
        ],
      },
      hiddenSegments: {
        attributes: { applyToWebDAV: bool("true") },
        collections: [collection({ segment: text({ required: true, key: true, notEmpty: true }) })],
      },
      alwaysAllowedUrls: {
        attributes: {},
        collections: [collection({ url: text({ required: true, key: true, notEmpty: true }) })],
      },
      alwaysAllowedQueryStrings: {
        attributes: {},
        collections: [collection({ queryString: text({ required: true, key: true, notEmpty: true }) })],
      },
      denyUrlSequences: {
        attributes: {},
        collections: [collection({ sequence: text({ required: true, key: true, notEmpty: true }) })],
      },
      denyQueryStringSequences: {
        attributes: {},
        collections: [collection({ sequence: text({ required: true, key: true, notEmpty: true }) })],
      },
      filteringRules: {
        attributes: {},
        collections: [
          collection(
            {
              name: text({ required: true, key: true }),
              scanUrl: bool("false"),
              scanQueryString: bool("false"),
              scanAllRaw: bool("false"),
              denyUnescapedPercent: bool("true"),
            },
            {
              children: {
                scanHeaders: {
                  attributes: {},
                  collections: [
                    collection({ requestHeader: text({ required: true, key: true, notEmpty: true }) }),
                  ],
                },
                appliesTo: {
                  attributes: {},
                  collections: [
                    collection({ fileExtension: text({ required: true, key: true, notEmpty: true }) }),
                  ],
                },
                denyStrings: {
                  attributes: {},
                  collections: [collection({ string: text({ required: true, key: true, notEmpty: true }) })],
                },
              },
            },
            { add: "filteringRule" },
          ),
        ],
      },
    },
  },
};
