import { elementsAt, entriesAt, type Found, keyOf, type View } from "../config/view.ts";
import { attributeNodeOf, childrenOf } from "../config/xml.ts";
import type { Examination } from "./examination.ts";
import { PROOF_VARIABLE, type ProxiedRule } from "./hosts.ts";
import { quoted } from "./report.ts";
import {
  isLoopbackHost,
  isSameBackend,
  mapsIn,
  type ProxyRule,
  type Rule,
  type SetVariable,
  setOf,
  stops,
  takesEverything,
} from "./rules.ts";

/** What rules set, and whether a visitor could set it instead. */
export function checkTrust(examination: Examination): void {
  const { hosts } = examination;
  for (const rule of hosts.rules) {
    checkUserVariables(rule, examination);
    checkAllowed(rule, examination);
    checkMaps(rule, examination);
  }
  checkIdentityHeaders(examination);
  for (const proxy of hosts.proxies) {
    checkProof(proxy, examination);
    checkPlace(proxy, examination);
  }
}

/** Rules run before authentication, where these are empty. */
const USER_VARIABLE = /\{(?:LOGON_USER|AUTH_USER|REMOTE_USER|UNMAPPED_REMOTE_USER|AUTH_TYPE)\}/i;

function checkUserVariables(rule: Rule, { report }: Examination): void {
  const { layer, sets, conditions, action, name } = rule;
  for (const condition of conditions) {
    const node = attributeNodeOf(condition, "input");
    const variable = USER_VARIABLE.exec(node?.value ?? "")?.[0];
    if (!node || variable === undefined) continue;
    const found = `The rule ${quoted(name)} asks for ${variable}.`;
    report(rule.backend ? "user-variable-in-condition" : "user-variable-empty", { layer, node }, { found });
  }
  const used = [
    ...sets.map(({ element }) => attributeNodeOf(element, "value")),
    action && attributeNodeOf(action.element, "url"),
  ];
  for (const node of used) {
    const variable = USER_VARIABLE.exec(node?.value ?? "")?.[0];
    if (!node || variable === undefined) continue;
    report("user-variable-empty", { layer, node }, { found: `The rule ${quoted(name)} uses ${variable}.` });
  }
}

/** The rules of the server as a whole may set anything. */
function checkAllowed(rule: Rule, { view, report }: Examination): void {
  if (rule.isGlobal || !view.knowsHost) return;
  const allowed = new Set(
    entriesAt(view, "system.webServer/rewrite/allowedServerVariables", { add: "add", key: "name" }).map(
      ({ element }) => keyOf(element, "name").toUpperCase().replaceAll("-", "_"),
    ),
  );
  for (const { name, element } of rule.sets) {
    if (allowed.has(name)) continue;
    report(
      "variable-not-allowed",
      { layer: rule.layer, node: attributeNodeOf(element, "name") ?? element },
      {
        found: `The rule ${quoted(rule.name)} sets ${name}.`,
        snippet: `appcmd set config -section:system.webServer/rewrite/allowedServerVariables /+"[name='${name}']" /commit:apphost`,
      },
    );
  }
}

function checkMaps(rule: Rule, { view, report }: Examination): void {
  if (!view.knowsHost) return;
  const known = new Set([
    ...namesAt(view, "rewriteMaps", "rewriteMap"),
    ...namesAt(view, "providers", "provider"),
  ]);
  for (const { element, value } of rule.sets) {
    const missing = mapsIn(value).find((name) => !known.has(name.toLowerCase()));
    const node = attributeNodeOf(element, "value");
    if (missing === undefined || !node) continue;
    const found = `The rule ${quoted(rule.name)} reads the map ${quoted(missing)}.`;
    report("map-missing", { layer: rule.layer, node }, { found });
  }
}

function namesAt(view: View, section: string, add: string): readonly string[] {
  return entriesAt(view, `system.webServer/rewrite/${section}`, { add, key: "name" }).map(({ element }) =>
    keyOf(element, "name"),
  );
}

/** Parts of a header's name by which something behind IIS is likely to take it for who the caller is. */
const IDENTITY_WORDS = new Set([
  ...[
    "USER",
    "USERNAME",
    "USERID",
    "IDENTITY",
    "PRINCIPAL",
    "LOGON",
    "LOGIN",
    "EMAIL",
    "MAIL",
    "UPN",
    "ACCOUNT",
  ],
  ...["GROUP", "GROUPS", "ROLE", "ROLES", "SID", "CERT", "CLIENTCERT", "CERTIFICATE", "SECRET", "CLAIMS"],
]);
/** What a visitor sends: every header of a request is such a variable. */
const VISITORS = /\{HTTP_[^{}]*\}/i;

function saysWho({ name, value }: SetVariable): boolean {
  if (name === PROOF_VARIABLE || !name.startsWith("HTTP_")) return false;
  return (
    name
      .replace("USER_AGENT", "")
      .split("_")
      .some((word) => IDENTITY_WORDS.has(word)) || USER_VARIABLE.test(value)
  );
}

/** Each header that says who the caller is must be set on every way to where it is believed. */
function checkIdentityHeaders({ hosts, report }: Examination): void {
  const { rules, proxies } = hosts;
  const indexes = new Map(rules.map((rule, index) => [rule, index]));
  const setForAll = firstForAll(rules);
  for (const [index, rule] of rules.entries()) {
    for (const set of rule.sets.filter(saysWho)) {
      const node = attributeNodeOf(set.element, "name") ?? set.element;
      if (!set.replaces) {
        const found = `The rule ${quoted(rule.name)} sets ${set.name} only where it is not there.`;
        report("identity-header-kept", { layer: rule.layer, node }, { found });
      }
      const copied = VISITORS.exec(set.value)?.[0];
      if (copied !== undefined) {
        const found = `The rule ${quoted(rule.name)} sets ${set.name} from ${quoted(copied)}.`;
        const place = { layer: rule.layer, node: attributeNodeOf(set.element, "value") ?? node };
        const gateway = proxies.some((proxy) => proxy.rule === rule && proxy.isGateway);
        report("identity-header-copied", place, { found, gateway });
      }
      for (const { rule: other } of proxies) {
        const otherIndex = indexes.get(other) ?? 0;
        // A rule that goes on to the next ones sets nothing for those before it.
        if (!believesWith(rule, other) || (!rule.backend && otherIndex < index)) continue;
        if (setOf(other, set.name) || (setForAll.get(set.name) ?? rules.length) < otherIndex) continue;
        const found = `The rule ${quoted(other.name)} does not set ${set.name}, which ${quoted(rule.name)} does.`;
        report("identity-header-not-everywhere", { layer: other.layer, node: other.element }, { found });
      }
    }
  }
}

/** A rule that proxies speaks for its own target; one that only sets headers, for whatever comes after it. */
function believesWith(rule: Rule, other: ProxyRule): boolean {
  return rule.backend ? isSameBackend(other.backend, rule.backend) : !stops(rule);
}

/** By variable, the first rule that sets it on every request that goes on to the next rules. */
function firstForAll(rules: readonly Rule[]): ReadonlyMap<string, number> {
  const first = new Map<string, number>();
  for (const [index, rule] of rules.entries()) {
    if (stops(rule) || !takesEverything(rule)) continue;
    for (const { name, replaces } of rule.sets) if (replaces && !first.has(name)) first.set(name, index);
  }
  return first;
}

const SECRET_MIN = 32;
const SECRET_MAX = 256;

function checkProof({ rule, isGateway: gateway }: ProxiedRule, { view, hosts, report }: Examination): void {
  const proof = setOf(rule, PROOF_VARIABLE);
  const { layer } = rule;
  const isVisitors = proof !== undefined && VISITORS.test(proof.value);
  if (!proof || proof.value === "" || isVisitors) {
    if (hosts.identityModule) return;
    const does = isVisitors ? "takes it from the visitor:" : "does not set";
    const found = `The rule ${quoted(rule.name)} ${does} ${PROOF_VARIABLE}.`;
    report("proof-missing", { layer, node: proof?.element ?? rule.element }, { found, gateway });
    return;
  }
  const place = { layer, node: attributeNodeOf(proof.element, "value") ?? proof.element };
  const [map] = mapsIn(proof.value);
  const holder = map === undefined ? { ...place, value: proof.value } : mapValue(view, map, proof.value);
  if (!holder) return;
  const { value } = holder;
  if (holder.layer.config.kind === "web") {
    const found = `The secret of the rule ${quoted(rule.name)} stands in this file.`;
    report("proof-in-web-config", holder, { found, gateway });
  }
  if (value.length < SECRET_MIN || value.length > SECRET_MAX || !/^[\x21-\x7e]+$/.test(value)) {
    report("proof-short", holder, { found: `The secret has ${value.length} characters.`, gateway });
  }
}

/** `{map:key}`: the entry it stands for, where it was given. */
function mapValue(
  view: View,
  map: string,
  reference: string,
):
  | (Pick<Found, "layer"> & {
      readonly node: NonNullable<ReturnType<typeof attributeNodeOf>>;
      readonly value: string;
    })
  | undefined {
  const key = /^\{[^{}:]+:([^{}]*)\}$/.exec(reference)?.[1]?.toLowerCase();
  const found = entriesAt(view, "system.webServer/rewrite/rewriteMaps", {
    add: "rewriteMap",
    key: "name",
  }).findLast(({ element }) => keyOf(element, "name") === map.toLowerCase());
  const entry = found && childrenOf(found.element, "add").find((each) => keyOf(each, "key") === key);
  const node = entry && attributeNodeOf(entry, "value");
  return found && node ? { layer: found.layer, node, value: node.value } : undefined;
}

function checkPlace({ rule, isGateway: gateway }: ProxiedRule, { view, report }: Examination): void {
  const { backend, layer } = rule;
  const place = { layer, node: backend.attribute };
  if (backend.host === "localhost") {
    report("localhost-backend", place, {
      found: `The rule ${quoted(rule.name)} leads to localhost.`,
      gateway,
    });
  }
  const isFarm = elementsAt(view, "webFarms/webFarm").some(
    ({ element }) => keyOf(element, "name") === backend.host,
  );
  if (isFarm || isLoopbackHost(backend.host) || backend.host.startsWith("{")) return;
  if (backend.scheme !== "http" && backend.scheme !== "ws") return;
  const found = `The rule ${quoted(rule.name)} leads to ${backend.scheme}://${backend.host}.`;
  const saysUser = rule.sets.some(saysWho);
  report("backend-beyond-loopback", place, {
    found,
    gateway,
    ...(!gateway && saysUser && { severity: "warning" }),
  });
}
