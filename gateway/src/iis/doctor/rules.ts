import type { Element } from "@xmldom/xmldom";
import { GatewayError } from "../../errors.ts";
import { below, entriesAt, type Found, isFalse, isTrue, type View } from "../config/view.ts";
import { type Attribute, attributeNodeOf, attributeOf, childrenOf } from "../config/xml.ts";

/** A server variable that a rule sets. */
export interface SetVariable {
  /** Upper case, as IIS compares it: `HTTP_COUNTERSIGN_PROOF`. */
  readonly name: string;
  readonly value: string;
  /** Whether it takes the place of what the visitor sent. */
  readonly replaces: boolean;
  readonly element: Element;
}

/** An inbound rule that is switched on. */
export interface Rule extends Found {
  readonly name: string;
  /** Rules of the server as a whole, which may set any variable. */
  readonly isGlobal: boolean;
  readonly sets: readonly SetVariable[];
  readonly conditions: readonly Element[];
  readonly matchUrl: string;
  readonly action: { readonly type: string; readonly url: string; readonly element: Element } | undefined;
  /** Where it sends requests to, for a rule that proxies. */
  readonly backend?: Backend;
}

export interface Backend {
  /** `http`, `https`, `ws`, `wss`, or a reference that is known only at run time. */
  readonly scheme: string;
  readonly host: string;
  /** As it stands there; absent: the scheme's own. */
  readonly port?: string;
  readonly attribute: Attribute;
}

/** A proxying rule. */
export type ProxyRule = Rule & { readonly backend: Backend };

/** @throws GatewayError CONFIG_INVALID  more than are examined */
export function rulesOf(view: View): readonly Rule[] {
  const sections = [
    { path: "system.webServer/rewrite/globalRules", isGlobal: true },
    { path: "system.webServer/rewrite/rules", isGlobal: false },
  ];
  const rules = sections.flatMap(({ path, isGlobal }) =>
    entriesAt(view, path, { add: "rule", key: "name" })
      .filter(({ element }) => !isFalse(attributeOf(element, "enabled")))
      .map((found) => ruleOf(found, isGlobal)),
  );
  if (rules.length <= RULES_MAX) return rules;
  throw new GatewayError(
    "CONFIG_INVALID",
    `Cannot examine ${rules.length} rewrite rules at one place, at most ${RULES_MAX}`,
  );
}

/** Each is compared with each. Sites with long lists of redirects have hundreds; better lists are rewrite maps. */
const RULES_MAX = 2_000;

function ruleOf(found: Found, isGlobal: boolean): Rule {
  const { element } = found;
  const [actionElement] = childrenOf(element, "action");
  const action = actionElement && {
    type: attributeOf(actionElement, "type") ?? "None",
    url: attributeOf(actionElement, "url") ?? "",
    element: actionElement,
  };
  const backend = action?.type.toLowerCase() === "rewrite" ? backendOf(action.element) : undefined;
  const [match] = childrenOf(element, "match");
  return {
    ...found,
    name: attributeOf(element, "name") ?? "",
    isGlobal,
    sets: below(element, "serverVariables/set").map((set) => ({
      name: (attributeOf(set, "name") ?? "").trim().toUpperCase().replaceAll("-", "_"),
      value: attributeOf(set, "value") ?? "",
      replaces: !isFalse(attributeOf(set, "replace")),
      element: set,
    })),
    conditions: below(element, "conditions/add"),
    matchUrl: (match && attributeOf(match, "url")) ?? "",
    action,
    ...(backend && { backend }),
  };
}

/** An absolute target is another server's, and ARR takes the request there. */
function backendOf(action: Element): Backend | undefined {
  const attribute = attributeNodeOf(action, "url");
  const [, scheme, host, port] =
    /^((?:https?|wss?)|\{[^/]*\}):\/\/(\[[^\]]*\]|\{(?:[^{}]|\{[^{}]*\})*\}|[^/:?{}]+)(?::([^/?]+))?/i.exec(
      attribute?.value.trim() ?? "",
    ) ?? [];
  if (!attribute || scheme === undefined || host === undefined) return undefined;
  return {
    scheme: scheme.toLowerCase(),
    host: host.toLowerCase(),
    ...(port !== undefined && { port }),
    attribute,
  };
}

export function isProxying(rule: Rule): rule is ProxyRule {
  return rule.backend !== undefined;
}

/** Two rules lead to the same place whatever the scheme: `ws` and `http` are one server's. */
export function isSameBackend(a: Backend, b: Backend): boolean {
  return loopbackAs(a.host) === loopbackAs(b.host) && (a.port ?? "") === (b.port ?? "");
}

function loopbackAs(host: string): string {
  return isLoopbackHost(host) ? "127.0.0.1" : host;
}

export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || /^127(?:\.\d{1,3}){3}$/.test(host) || /^\[(?:0*:)*:?0*1\]$/.test(host);
}

/** The value of a variable that the rule sets, if it does. */
export function setOf({ sets }: Rule, name: string): SetVariable | undefined {
  return sets.find((set) => set.name === name);
}

/** Whether anything about the rule says that it carries WebSockets. */
export function carriesWebSockets({ name, conditions, matchUrl, backend }: ProxyRule): boolean {
  return (
    /^wss?$/.test(backend.scheme) ||
    /web-?\s?socket|signalr|socket\.io|_blazor/i.test(`${name} ${matchUrl}`) ||
    conditions.some((condition) =>
      /\{HTTP_(?:UPGRADE|CONNECTION|SEC_WEBSOCKET[A-Z_]*)\}/i.test(attributeOf(condition, "input") ?? ""),
    )
  );
}

/** A reference to a rewrite map, such as `{countersign:proof}`: the map's name. Functions are none. */
export function mapsIn(value: string): readonly string[] {
  return [...value.matchAll(/\{([^{}:]+):/g)]
    .map(([, name = ""]) => name)
    .filter((name) => !/^(?:R|C|ToLower|UrlEncode|UrlDecode|HtmlEncode)$/i.test(name));
}

export function stops({ element }: Rule): boolean {
  return isTrue(attributeOf(element, "stopProcessing"));
}

/** Whether no request passes the rule by. */
export function takesEverything({ conditions, matchUrl, element }: Rule): boolean {
  const [match] = childrenOf(element, "match");
  const isNegated = match !== undefined && isTrue(attributeOf(match, "negate"));
  return conditions.length === 0 && !isNegated && /^(?:|\(?\^?\.\*\$?\)?|\*)$/.test(matchUrl);
}
