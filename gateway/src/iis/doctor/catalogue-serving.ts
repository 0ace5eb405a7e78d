import type { Entry } from "./entry.ts";

export type ServingCode =
  | "events-buffered"
  | "events-compressed"
  | "body-rewritten"
  | "websocket-extensions-kept"
  | "websocket-disabled"
  | "websocket-not-installed"
  | "timeout-short"
  | "forwarded-for-renamed"
  | "scheme-not-forwarded"
  | "scheme-constant"
  | "host-not-preserved"
  | "location-rewritten"
  | "query-too-short"
  | "query-dropped"
  | "query-filtered"
  | "path-encoded-twice"
  | "verb-refused"
  | "extension-refused"
  | "body-too-short"
  | "errors-replaced"
  | "localhost-backend"
  | "webdav-takes-verbs"
  | "request-id-not-logged";

/** What happens to requests and answers on their way. */
export const SERVING: Readonly<Record<ServingCode, Entry>> = {
  "events-buffered": {
    severity: "error",
    elsewhere: "hidden",
    why: "ARR holds an answer back until it has this many KB (by default 256): events come late, or all at the end.",
    fix: "Set it to 0.",
    snippet: 'appcmd set config -section:system.webServer/proxy /minResponseBuffer:"0" /commit:apphost',
    certainty: "reported",
  },
  "events-compressed": {
    severity: "warning",
    elsewhere: "hidden",
    why: "Dynamic compression takes text/event-stream for text: each event is held back until the next one comes.",
    fix: "Switch it off for this site.",
    snippet: '<urlCompression doDynamicCompression="false" />',
    certainty: "reported",
  },
  "body-rewritten": {
    severity: "warning",
    elsewhere: "hidden",
    why: "An outbound rule that looks at the body has to hold the answer back, events too.",
    fix: "Give the rule a preCondition that leaves out text/event-stream, such as text/html only.",
    certainty: "inferred",
  },
  "websocket-extensions-kept": {
    severity: "warning",
    elsewhere: "hidden",
    why: "ARR cannot carry compressed WebSocket frames: where both ends agree on permessage-deflate the socket opens with 101 and then dies.",
    fix: "Have the rule take the header out, and allow the variable on the server. The gateway agrees to no compression either.",
    snippet: '<set name="HTTP_SEC_WEBSOCKET_EXTENSIONS" value="" />',
    certainty: "reported",
  },
  "websocket-disabled": {
    severity: "error",
    elsewhere: "hidden",
    why: "With webSocket disabled IIS does not hand upgrades on: native NATS clients cannot connect. The setting is for iisnode only.",
    fix: "Take it out; the default is enabled.",
    certainty: "reported",
  },
  "websocket-not-installed": {
    severity: "warning",
    elsewhere: "hidden",
    why: "The feature WebSocket Protocol is not installed: native NATS clients cannot connect.",
    fix: "Install it.",
    snippet: "Install-WindowsFeature Web-WebSockets",
    certainty: "documented",
  },
  "timeout-short": {
    severity: "warning",
    elsewhere: "hidden",
    why: "IIS cuts what is silent for this long. The gateway sends a comment into streams every 15 seconds and a ping into WebSockets every 30, and a request may wait for its reply.",
    fix: "Set it to an hour.",
    certainty: "inferred",
  },
  "forwarded-for-renamed": {
    severity: "error",
    elsewhere: "hidden",
    why: "The gateway reads X-Forwarded-For; with another name its records have IIS's own address instead of the caller's, or what the caller says.",
    fix: "Leave xForwardedForHeaderName at X-Forwarded-For.",
    certainty: "documented",
  },
  "scheme-not-forwarded": {
    severity: "warning",
    elsewhere: "hidden",
    why: "ARR does not say whether it was reached over https; the gateway cannot warn when somebody comes over http.",
    fix: "Set it in the rule, from the variable HTTPS.",
    snippet: '<set name="HTTP_X_FORWARDED_PROTO" value="{proto:{HTTPS}}" />',
    certainty: "documented",
  },
  "scheme-constant": {
    severity: "warning",
    elsewhere: "hidden",
    why: "The rule says https also for requests that come over http: nobody notices cookies and tokens in the clear.",
    fix: "Set it from the variable HTTPS, through a map of on to https and off to http; or let the site have https bindings only.",
    snippet: '<set name="HTTP_X_FORWARDED_PROTO" value="{proto:{HTTPS}}" />',
    certainty: "inferred",
  },
  "host-not-preserved": {
    severity: "warning",
    elsewhere: "hidden",
    why: "ARR puts its own target in the place of the Host that the visitor asked for.",
    fix: "Set preserveHostHeader.",
    snippet: 'appcmd set config -section:system.webServer/proxy /preserveHostHeader:"True" /commit:apphost',
    certainty: "documented",
  },
  "location-rewritten": {
    severity: "warning",
    elsewhere: "hidden",
    why: "ARR puts this host in the place of the one in Location: the redirect to the identity provider leads back here, and nobody can sign in.",
    fix: "Switch it off.",
    snippet:
      'appcmd set config -section:system.webServer/proxy /reverseRewriteHostInResponseHeaders:"False" /commit:apphost',
    certainty: "reported",
  },
  "query-too-short": {
    severity: "warning",
    elsewhere: "hidden",
    why: "Subjects stand in the query, up to 256 bytes each and three times that when escaped; IIS answers a longer query with 404.15.",
    fix: "Set maxQueryString to 8192.",
    snippet: '<requestLimits maxQueryString="8192" />',
    certainty: "documented",
  },
  "query-dropped": {
    severity: "error",
    elsewhere: "hidden",
    why: "The rule leaves the query out, and with it the subject.",
    fix: 'Take appendQueryString="false" out.',
    certainty: "documented",
  },
  "query-filtered": {
    severity: "warning",
    elsewhere: "hidden",
    why: "Request filtering refuses queries with characters that subjects have: 404.18 or 404.19.",
    fix: "Take the sequence out for this site.",
    certainty: "documented",
  },
  "path-encoded-twice": {
    severity: "warning",
    elsewhere: "hidden",
    why: "{UNENCODED_URL} in the target of a rule is encoded once more.",
    fix: "Match (.*) and write {R:1}; nothing that a caller chooses stands in a path of the gateway.",
    certainty: "reported",
  },
  "verb-refused": {
    severity: "warning",
    elsewhere: "hidden",
    why: "Request filtering refuses a method that the gateway has: 404.6.",
    fix: "Allow GET, POST, PUT, DELETE and OPTIONS.",
    certainty: "documented",
  },
  "extension-refused": {
    severity: "warning",
    elsewhere: "hidden",
    why: "Request filtering refuses /.well-known/jwks.json: 404.7. Nobody can verify a seal.",
    fix: "Allow .json, and paths without an extension.",
    certainty: "documented",
  },
  "body-too-short": {
    severity: "warning",
    elsewhere: "hidden",
    why: "IIS refuses bodies that the gateway takes (limits: body, 1 MiB by default).",
    fix: "Set maxAllowedContentLength to more than limits: body.",
    certainty: "documented",
  },
  "errors-replaced": {
    severity: "warning",
    elsewhere: "hidden",
    why: "IIS puts its own page in the place of an error's body: callers get HTML instead of the problem document.",
    fix: "Let them through.",
    snippet: '<httpErrors existingResponse="PassThrough" />',
    certainty: "reported",
  },
  "localhost-backend": {
    severity: "warning",
    elsewhere: "note",
    why: "localhost may mean ::1, where nothing listens: the first try fails or is slow.",
    fix: "Write 127.0.0.1.",
    certainty: "inferred",
  },
  "webdav-takes-verbs": {
    severity: "warning",
    elsewhere: "hidden",
    why: "WebDAV answers PUT and DELETE itself, with 405.",
    fix: "Take the module out for this site.",
    snippet: '<modules><remove name="WebDAVModule" /></modules>',
    certainty: "reported",
  },
  "request-id-not-logged": {
    severity: "warning",
    elsewhere: "hidden",
    why: "Without the answer's X-Request-Id in IIS's log `countersign trace` cannot join it to the gateway's records.",
    fix: "Add a custom field of the response header.",
    certainty: "documented",
  },
};
