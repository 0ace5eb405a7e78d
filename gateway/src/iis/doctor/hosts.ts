import { attributeAt, below, elementsAt, entriesAt, type Found, type View } from "../config/view.ts";
import { attributeOf } from "../config/xml.ts";
import { isProxying, isSameBackend, type ProxyRule, type Rule, rulesOf, setOf } from "./rules.ts";

export const PROOF_VARIABLE = "HTTP_COUNTERSIGN_PROOF";
export const IDENTITY_MODULE = "CountersignIdentity";
export const MODULE_KEY = "CountersignKey";

/** A process that IIS starts, or requests that it hands on. */
export interface Hosts {
  /** `<aspNetCore>` in force, when it runs Node. */
  readonly process?: NodeProcess;
  readonly rules: readonly Rule[];
  readonly proxies: readonly ProxiedRule[];
  readonly httpPlatform?: Found;
  readonly iisnode?: Found;
  /** `CountersignIdentity` in `<modules>`. */
  readonly identityModule?: Found;
}

export interface NodeProcess extends Found {
  readonly processPath: string;
  readonly arguments: string;
  readonly isGateway: boolean;
}

export interface ProxiedRule {
  readonly rule: ProxyRule;
  readonly isGateway: boolean;
}

/**
 * Recognises what stands behind a place. It is the gateway when its name, the secret it asks for, or its identity module
 * says so; or, with `assume`, whenever it could be.
 */
export function recogniseHosts(view: View, assume: boolean): Hosts {
  const rules = rulesOf(view);
  const identityModule = identityModuleAt(view);
  const isMarked = identityModule !== undefined || moduleKeyAt(view) !== undefined;
  const process = processAt(view, assume || isMarked);
  const httpPlatform =
    handlerAt(view, /^httpPlatformHandler$/i) ?? elementsAt(view, "system.webServer/httpPlatform").at(-1);
  const iisnode = handlerAt(view, /^iisnode$/i);
  return {
    rules,
    proxies: proxiesOf(rules, { assume, isMarked: isMarked && process === undefined }),
    ...(process && { process }),
    ...(httpPlatform && { httpPlatform }),
    ...(iisnode && { iisnode }),
    ...(identityModule && { identityModule }),
  };
}

export function moduleKeyAt(view: View): Found | undefined {
  return entriesAt(view, "appSettings", { add: "add", key: "key" }).findLast(
    ({ element }) => attributeOf(element, "key")?.toLowerCase() === MODULE_KEY.toLowerCase(),
  );
}

function identityModuleAt(view: View): Found | undefined {
  return entriesAt(view, "system.webServer/modules", { add: "add", key: "name" }).findLast(({ element }) =>
    [attributeOf(element, "name"), attributeOf(element, "type")].some((name) =>
      name?.toLowerCase().startsWith(IDENTITY_MODULE.toLowerCase()),
    ),
  );
}

/** Handlers that IIS gives requests to, by their module. */
export function handlersAt(view: View, module: RegExp): readonly Found[] {
  return entriesAt(view, "system.webServer/handlers", { add: "add", key: "name" }).filter(({ element }) =>
    (attributeOf(element, "modules") ?? "").split(",").some((name) => module.test(name.trim())),
  );
}

function handlerAt(view: View, module: RegExp): Found | undefined {
  return handlersAt(view, module).at(-1);
}

/** .NET closes the handles it is given and comes with its own ways: only Node is ours to judge. */
function processAt(view: View, isMarked: boolean): NodeProcess | undefined {
  const path = "system.webServer/aspNetCore";
  const processPath = attributeAt(view, path, "processPath")?.value ?? "";
  const args = attributeAt(view, path, "arguments")?.value ?? "";
  const found = elementsAt(view, path).at(-1);
  if (!found || !runsNode(processPath, args)) return undefined;
  const names = /countersign/i.test(`${processPath} ${args}`);
  return { ...found, processPath, arguments: args, isGateway: names || isMarked };
}

function runsNode(processPath: string, args: string): boolean {
  const program = processPath.split(/[\\/]/).at(-1)?.replaceAll('"', "").trim() ?? "";
  if (/^(?:node|nodejs|npm|npx|yarn|pnpm|tsx|bun|deno)(?:\.exe|\.cmd|\.bat|\.ps1)?$/i.test(program))
    return true;
  return /\.[cm]?[jt]s$/i.test(program) || /\.[cm]?js(?:["\s]|$)/i.test(args);
}

function proxiesOf(
  rules: readonly Rule[],
  { assume, isMarked }: { readonly assume: boolean; readonly isMarked: boolean },
): readonly ProxiedRule[] {
  const proxying = rules.filter(isProxying);
  const named = proxying.filter((rule) => setOf(rule, PROOF_VARIABLE) || /countersign/i.test(rule.name));
  // Where the module says that the gateway is here, and no rule says which, it is behind all of them.
  const all = assume || (isMarked && named.length === 0);
  return proxying.map((rule) => ({
    rule,
    isGateway: all || named.some((each) => isSameBackend(each.backend, rule.backend)),
  }));
}

/** The server farm of ARR that a rule sends requests to; its settings count instead of the server's. */
export function farmOf(view: View, { backend }: ProxyRule): Found | undefined {
  return elementsAt(view, "webFarms/webFarm").find(
    ({ element }) => attributeOf(element, "name")?.toLowerCase() === backend.host,
  );
}

/** A setting of ARR for a rule: its farm's, or the server's. */
export function proxySetting(
  view: View,
  rule: ProxyRule,
  name: string,
): { readonly value: string; readonly found: Found } | undefined {
  const farm = farmOf(view, rule);
  const holders = farm
    ? below(farm.element, "applicationRequestRouting/protocol").map((element) => ({ ...farm, element }))
    : elementsAt(view, "system.webServer/proxy");
  for (const found of holders.toReversed()) {
    const value = attributeOf(found.element, name);
    if (value !== undefined) return { value, found };
  }
  return undefined;
}
