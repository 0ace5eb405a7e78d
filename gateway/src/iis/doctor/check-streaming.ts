import { attributeAt, elementsAt, entriesAt, isFalse, isTrue, keyOf, type View } from "../config/view.ts";
import { attributeNodeOf, attributeOf, childrenOf } from "../config/xml.ts";
import { durationSeconds } from "./check-value.ts";
import type { Examination } from "./examination.ts";
import { farmOf, type ProxiedRule, proxySetting } from "./hosts.ts";
import { hasModule } from "./installed.ts";
import { type Place, quoted } from "./report.ts";
import { carriesWebSockets, setOf } from "./rules.ts";

/** Whether answers come through as they are sent: events, WebSockets, errors. */
export function checkStreaming(examination: Examination): void {
  for (const proxy of examination.hosts.proxies) {
    checkProxyOn(proxy, examination);
    checkProxySettings(proxy, examination);
    checkExtensions(proxy, examination);
    checkScheme(proxy, examination);
    checkQuery(proxy, examination);
  }
  checkCompression(examination);
  checkOutbound(examination);
  checkWebSocket(examination);
  checkErrors(examination);
}

/** The place to speak of what is not set: the process, or the rule that is nearest to the gateway. */
function placeOf({ hosts }: Examination): (Place & { readonly gateway: boolean }) | undefined {
  const { process, proxies } = hosts;
  if (process) return { layer: process.layer, node: process.element, gateway: process.isGateway };
  const proxy = proxies.find(({ isGateway }) => isGateway) ?? proxies[0];
  return proxy && { layer: proxy.rule.layer, node: proxy.rule.element, gateway: proxy.isGateway };
}

function checkProxyOn({ rule }: ProxiedRule, { view, report }: Examination): void {
  if (!view.knowsHost || farmOf(view, rule)) return;
  const enabled = proxySetting(view, rule, "enabled");
  if (isTrue(enabled?.value)) return;
  const place: Place = enabled
    ? {
        layer: enabled.found.layer,
        node: attributeNodeOf(enabled.found.element, "enabled") ?? enabled.found.element,
      }
    : { layer: rule.layer, node: rule.element };
  const found = `The rule ${quoted(rule.name)} leads to another server, and <proxy> is not enabled.`;
  report("proxy-disabled", place, { found });
}

/** Two pings of a WebSocket. */
const SILENCE_SECONDS_MIN = 60;

function checkProxySettings({ rule, isGateway: gateway }: ProxiedRule, { view, report }: Examination): void {
  if (!view.knowsHost) return;
  const place = (name: string): Place => {
    const found = proxySetting(view, rule, name)?.found;
    const node = found && attributeNodeOf(found.element, name);
    return found && node ? { layer: found.layer, node } : { layer: rule.layer, node: rule.element };
  };
  const value = (name: string): string | undefined => proxySetting(view, rule, name)?.value;

  if (value("minResponseBuffer") !== "0") {
    const found = `minResponseBuffer is ${value("minResponseBuffer") ?? "not set, so that it is 256"} KB.`;
    report("events-buffered", place("minResponseBuffer"), { found, gateway });
  }
  const seconds = durationSeconds(value("timeout") ?? "00:02:00");
  if (seconds !== undefined && seconds < SILENCE_SECONDS_MIN) {
    report("timeout-short", place("timeout"), { found: `timeout is ${value("timeout")}.`, gateway });
  }
  if (!isTrue(value("preserveHostHeader"))) {
    const found = `preserveHostHeader is ${value("preserveHostHeader") ?? "false, the default"}.`;
    report("host-not-preserved", place("preserveHostHeader"), { found, gateway });
  }
  if (!isFalse(value("reverseRewriteHostInResponseHeaders"))) {
    const found = `reverseRewriteHostInResponseHeaders is ${value("reverseRewriteHostInResponseHeaders") ?? "true, the default"}.`;
    report("location-rewritten", place("reverseRewriteHostInResponseHeaders"), { found, gateway });
  }
  const header = value("xForwardedForHeaderName");
  if (header !== undefined && header.toLowerCase() !== "x-forwarded-for") {
    const found = `xForwardedForHeaderName is ${quoted(header)}.`;
    report("forwarded-for-renamed", place("xForwardedForHeaderName"), { found, gateway });
  }
}

function checkExtensions({ rule, isGateway }: ProxiedRule, { report }: Examination): void {
  const set = setOf(rule, "HTTP_SEC_WEBSOCKET_EXTENSIONS");
  if (set && set.value === "" && set.replaces) return;
  const found = `The rule ${quoted(rule.name)} leaves Sec-WebSocket-Extensions as it is.`;
  const gateway = isGateway || carriesWebSockets(rule);
  report("websocket-extensions-kept", { layer: rule.layer, node: rule.element }, { found, gateway });
}

function checkScheme({ rule, isGateway: gateway }: ProxiedRule, examination: Examination): void {
  const { report } = examination;
  const set = setOf(rule, "HTTP_X_FORWARDED_PROTO");
  if (!set || set.value === "") {
    const found = `The rule ${quoted(rule.name)} does not set HTTP_X_FORWARDED_PROTO.`;
    return void report("scheme-not-forwarded", { layer: rule.layer, node: rule.element }, { found, gateway });
  }
  if (set.value.includes("{") || isHttpsOnly(rule.conditions, examination)) return;
  const node = attributeNodeOf(set.element, "value") ?? set.element;
  const found = `HTTP_X_FORWARDED_PROTO is always ${quoted(set.value)}.`;
  report("scheme-constant", { layer: rule.layer, node }, { found, gateway });
}

/** Requests over http do not come this far: by a condition, a redirect before it, or because there is no such binding. */
function isHttpsOnly(
  conditions: ProxiedRule["rule"]["conditions"],
  { application, hosts, view }: Examination,
): boolean {
  const asks = (elements: ProxiedRule["rule"]["conditions"]): boolean =>
    elements.some((condition) =>
      /\{(?:HTTPS|SERVER_PORT(?:_SECURE)?)\}/i.test(attributeOf(condition, "input") ?? ""),
    );
  if (asks(conditions)) return true;
  if (hosts.rules.some((rule) => /^redirect$/i.test(rule.action?.type ?? "") && asks(rule.conditions)))
    return true;
  const access = attributeAt(view, "system.webServer/security/access", "sslFlags")?.value ?? "";
  if (/(?:^|[,\s])Ssl(?:128)?(?:$|[,\s])/i.test(access)) return true;
  const bindings =
    application && childrenOf(application.site, "bindings").flatMap((each) => childrenOf(each, "binding"));
  return (
    bindings !== undefined &&
    bindings.length > 0 &&
    bindings.every((each) => attributeOf(each, "protocol") === "https")
  );
}

function checkQuery({ rule, isGateway: gateway }: ProxiedRule, { view, report }: Examination): void {
  const { action, layer } = rule;
  if (!action) return;
  const append = attributeNodeOf(action.element, "appendQueryString");
  if (append && isFalse(append.value) && !/\{QUERY_STRING\}/i.test(action.url)) {
    report(
      "query-dropped",
      { layer, node: append },
      { found: `appendQueryString=${quoted(append.value)}.`, gateway },
    );
  }
  const section = `system.webServer/rewrite/${rule.isGlobal ? "globalRules" : "rules"}`;
  const keepsEncoding = isFalse(attributeAt(view, section, "useOriginalURLEncoding")?.value);
  if (/\{UNENCODED_URL\}/i.test(action.url) && !keepsEncoding) {
    const node = attributeNodeOf(action.element, "url") ?? action.element;
    report("path-encoded-twice", { layer, node }, { found: `url=${quoted(action.url)}.`, gateway });
  }
}

function checkCompression(examination: Examination): void {
  const { view, report } = examination;
  const place = placeOf(examination);
  if (!place) return;
  const setting = attributeAt(view, "system.webServer/urlCompression", "doDynamicCompression");
  if (isFalse(setting?.value) || !compressesEvents(view)) return;
  const at: Place = setting ? { layer: setting.layer, node: setting.attribute } : place;
  const found = `doDynamicCompression is ${setting ? quoted(setting.value) : "true, the default"}.`;
  report("events-compressed", at, { found, gateway: place.gateway });
}

function compressesEvents(view: View): boolean {
  if (!hasModule(view, "DynamicCompressionModule")) return false;
  const types = elementsAt(view, "system.webServer/httpCompression/dynamicTypes")
    .flatMap(({ element }) => childrenOf(element, "add"))
    .map((element) => ({ type: keyOf(element, "mimeType"), on: !isFalse(attributeOf(element, "enabled")) }));
  // The most exact entry counts.
  for (const type of ["text/event-stream", "text/*", "*/*"]) {
    const found = types.findLast((each) => each.type === type);
    if (found) return found.on;
  }
  return types.length === 0;
}

function checkOutbound(examination: Examination): void {
  const { view, report } = examination;
  const place = placeOf(examination);
  if (!place) return;
  for (const { element, layer } of entriesAt(view, "system.webServer/rewrite/outboundRules", {
    add: "rule",
    key: "name",
  })) {
    const [match] = childrenOf(element, "match");
    if (!match || isFalse(attributeOf(element, "enabled")) || attributeOf(match, "serverVariable")) continue;
    if (attributeOf(element, "preCondition")) continue;
    const found = `The outbound rule ${quoted(attributeOf(element, "name") ?? "")} looks at the body of every answer.`;
    report("body-rewritten", { layer, node: element }, { found, gateway: place.gateway });
  }
}

function checkWebSocket(examination: Examination): void {
  const { view, hosts, report } = examination;
  const place = placeOf(examination);
  if (!place) return;
  const gateway = place.gateway || hosts.proxies.some(({ rule }) => carriesWebSockets(rule));
  const setting = attributeAt(view, "system.webServer/webSocket", "enabled");
  if (setting && isFalse(setting.value)) {
    const found = `<webSocket enabled=${quoted(setting.value)} />.`;
    report("websocket-disabled", { layer: setting.layer, node: setting.attribute }, { found, gateway });
  } else if (!hasModule(view, "WebSocketModule")) {
    const found = "WebSocketModule is not among the server's modules.";
    report("websocket-not-installed", place, { found, gateway });
  }
}

/** ASP.NET Core Module tells IIS to leave its errors alone, which only `Replace` overrules. */
function checkErrors(examination: Examination): void {
  const { view, hosts, report } = examination;
  const place = placeOf(examination);
  if (!place) return;
  const setting = attributeAt(view, "system.webServer/httpErrors", "existingResponse");
  const value = setting?.value ?? "Auto";
  const isReplaced = hosts.process ? /^replace$/i.test(value) : !/^passthrough$/i.test(value);
  if (!isReplaced) return;
  const at: Place = setting ? { layer: setting.layer, node: setting.attribute } : place;
  const found = `existingResponse is ${setting ? quoted(value) : "Auto, the default"}.`;
  report("errors-replaced", at, { found, gateway: place.gateway });
}
