import { bool, collection, type ElementFacts, flags, integer, oneOf, text } from "./facts.ts";

const SYNTAX = oneOf(["ECMAScript", "Wildcard", "ExactMatch"], "ECMAScript");
const GROUPING = oneOf(["MatchAll", "MatchAny"], "MatchAll");

/** A check of one input against one pattern; two that agree in all of it are one too many. */
const CHECKS = collection(
  {
    input: text({ key: true }),
    matchType: oneOf(["Pattern"], "Pattern", { key: true }),
    pattern: text({ key: true }),
    ignoreCase: bool("true", { key: true }),
    negate: bool("false", { key: true }),
  },
  {},
  { remove: false, clear: false },
);

function inboundRules(conditions: ElementFacts): ElementFacts {
  const rule: ElementFacts["attributes"] = {
    name: text({ required: true, key: true }),
    enabled: bool("true"),
    patternSyntax: SYNTAX,
    stopProcessing: bool("false"),
    responseCacheDirective: text(),
  };
  const children: ElementFacts["children"] = {
    match: {
      attributes: { url: text({ notEmpty: true }), ignoreCase: bool("true"), negate: bool("false") },
    },
    conditions,
    serverVariables: {
      attributes: {},
      collections: [
        collection(
          { name: text({ required: true, key: true }), value: text(), replace: bool("true") },
          {},
          { add: "set", remove: false, clear: false },
        ),
      ],
    },
    action: {
      attributes: {
        type: oneOf(["None", "Rewrite", "Redirect", "CustomResponse", "AbortRequest"], "None"),
        url: text(),
        appendQueryString: bool("true"),
        logRewrittenUrl: bool("false"),
        redirectType: oneOf(["Permanent", "Found", "SeeOther", "Temporary"], "Permanent"),
        statusCode: integer(undefined, { min: 300, max: 307, outside: true }),
        subStatusCode: integer("0", { min: 0, max: 999 }),
        statusReason: text(),
        statusDescription: text(),
      },
    },
  };
  return {
    attributes: { useOriginalURLEncoding: bool("true") },
    collections: [collection(rule, { children }, { add: "rule" })],
  };
}

/**
 * URL Rewrite.
 *
 * @source the schema of URL Rewrite 2.0; `responseCacheDirective` and `useOriginalURLEncoding` came with 2.1
 */
export const REWRITING: Readonly<Record<string, ElementFacts>> = {
  "system.webServer/rewrite/globalRules": inboundRules({
    attributes: { logicalGrouping: GROUPING, trackAllCaptures: bool("false") },
    collections: [CHECKS],
  }),
  "system.webServer/rewrite/rules": inboundRules({
    attributes: { logicalGrouping: GROUPING, trackAllCaptures: bool("false") },
    collections: [
      collection(
        {
          input: text(),
          matchType: oneOf(["Pattern", "IsFile", "IsDirectory"], "Pattern"),
          pattern: text(),
          ignoreCase: bool("true"),
          negate: bool("false"),
        },
        {},
        { remove: false, clear: false },
      ),
    ],
  }),
  "system.webServer/rewrite/allowedServerVariables": {
    attributes: {},
    collections: [collection({ name: text({ required: true, key: true }) })],
  },
  "system.webServer/rewrite/outboundRules": {
    attributes: { rewriteBeforeCache: bool("false") },
    children: {
      customTags: { attributes: {}, collections: [customTags()] },
      preConditions: {
        attributes: {},
        collections: [
          collection(
            {
              name: text({ required: true, key: true }),
              logicalGrouping: GROUPING,
              patternSyntax: SYNTAX,
            },
            { collections: [CHECKS] },
            { add: "preCondition" },
          ),
        ],
      },
    },
    collections: [outboundRules()],
  },
  "system.webServer/rewrite/providers": {
    attributes: {},
    collections: [
      collection(
        { name: text({ required: true, key: true }), type: text({ required: true }) },
        {
          children: {
            settings: {
              attributes: {},
              collections: [
                collection({
                  key: text({ required: true, key: true, notEmpty: true }),
                  value: text(),
                  encryptedValue: text(),
                }),
              ],
            },
          },
        },
        { add: "provider" },
      ),
    ],
  },
  "system.webServer/rewrite/rewriteMaps": {
    attributes: {},
    collections: [
      collection(
        { name: text({ required: true, key: true }), defaultValue: text(), ignoreCase: bool("true") },
        { collections: [collection({ key: text({ required: true, key: true }), value: text() })] },
        { add: "rewriteMap" },
      ),
    ],
  },
};

function customTags(): ReturnType<typeof collection> {
  const part = text({ required: true, key: true, notEmpty: true });
  return collection(
    { name: text({ required: true, key: true }) },
    { collections: [collection({ name: part, attribute: part }, {}, { add: "tag" })] },
    { add: "tags" },
  );
}

function outboundRules(): ReturnType<typeof collection> {
  const tags = ["None", "A", "Area", "Base", "Form", "Frame", "Head", "IFrame", "Img", "Input", "Link"];
  const children: ElementFacts["children"] = {
    match: {
      attributes: {
        filterByTags: flags([...tags, "Script", "CustomTags"]),
        customTags: text(),
        serverVariable: text(),
        pattern: text(),
        occurrences: integer("0"),
        ignoreCase: bool("true"),
        negate: bool("false"),
      },
    },
    conditions: {
      attributes: { logicalGrouping: GROUPING, trackAllCaptures: bool("true") },
      collections: [CHECKS],
    },
    action: {
      attributes: { type: oneOf(["None", "Rewrite"], "None"), value: text(), replace: bool("true") },
    },
  };
  return collection(
    {
      name: text({ required: true, key: true }),
      preCondition: text(),
      enabled: bool("true"),
      patternSyntax: SYNTAX,
      stopProcessing: bool("false"),
    },
    { children },
    { add: "rule" },
  );
}
