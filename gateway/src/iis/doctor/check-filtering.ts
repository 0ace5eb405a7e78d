import {
  attributeAt,
  elementsAt,
  entriesAt,
  type Found,
  isFalse,
  isTrue,
  keyOf,
  type View,
} from "../config/view.ts";
import { attributeNodeOf, attributeOf, childrenOf } from "../config/xml.ts";
import type { Examination } from "./examination.ts";
import { hasModule } from "./installed.ts";
import { quoted } from "./report.ts";

const FILTERING = "system.webServer/security/requestFiltering";
/** One subject of 256 bytes, all of it escaped, and the rest of a query. IIS's own default is 2048. */
const QUERY_BYTES_MIN = 2_048;
/** `limits: body` by default. */
const BODY_BYTES_MIN = 1_048_576;
const VERBS = ["GET", "POST", "PUT", "DELETE", "OPTIONS"];
/** What subjects and their escapes are made of. */
const IN_SUBJECTS = [".", "*", ">", "%2a", "%3e", "subject", "-", "_"];

/** Whether the gateway's requests get past request filtering, WebDAV and added headers. */
export function checkFiltering(examination: Examination): void {
  if (!examination.hosts.process && examination.hosts.proxies.length === 0) return;
  checkLimits(examination);
  checkVerbs(examination);
  checkExtensions(examination);
  checkSequences(examination);
  checkWebDav(examination);
  checkCors(examination);
}

function checkLimits({ view, report, isGateway: gateway }: Examination): void {
  const query = attributeAt(view, `${FILTERING}/requestLimits`, "maxQueryString");
  if (query && Number(query.value) < QUERY_BYTES_MIN) {
    report(
      "query-too-short",
      { layer: query.layer, node: query.attribute },
      { found: `maxQueryString is ${query.value}.`, gateway },
    );
  }
  const body = attributeAt(view, `${FILTERING}/requestLimits`, "maxAllowedContentLength");
  if (body && Number(body.value) < BODY_BYTES_MIN) {
    report(
      "body-too-short",
      { layer: body.layer, node: body.attribute },
      { found: `maxAllowedContentLength is ${body.value}.`, gateway },
    );
  }
}

/** @returns the entry that refuses, or the switch that refuses all that are not listed */
function refusal(
  view: View,
  list: string,
  keyName: string,
  name: string,
):
  | (Found & { readonly node: Found["element"] | NonNullable<ReturnType<typeof attributeNodeOf>> })
  | undefined {
  const entry = entriesAt(view, `${FILTERING}/${list}`, { add: "add", key: keyName }).find(
    ({ element }) => keyOf(element, keyName) === name.toLowerCase(),
  );
  if (entry)
    return isFalse(attributeOf(entry.element, "allowed")) ? { ...entry, node: entry.element } : undefined;
  const unlisted = attributeAt(view, `${FILTERING}/${list}`, "allowUnlisted");
  return unlisted && isFalse(unlisted.value) ? { ...unlisted, node: unlisted.attribute } : undefined;
}

function checkVerbs({ view, report, isGateway: gateway }: Examination): void {
  for (const verb of VERBS) {
    const refused = refusal(view, "verbs", "verb", verb);
    if (refused) report("verb-refused", refused, { found: `${verb} is refused.`, gateway });
  }
}

function checkExtensions({ view, report, isGateway: gateway }: Examination): void {
  for (const extension of [".json", "."]) {
    const refused = refusal(view, "fileExtensions", "fileExtension", extension);
    if (!refused) continue;
    const what = extension === "." ? "Paths without an extension are" : `${extension} is`;
    report("extension-refused", refused, { found: `${what} refused.`, gateway });
  }
}

function checkSequences({ view, report, isGateway: gateway }: Examination): void {
  const denied = entriesAt(view, `${FILTERING}/denyQueryStringSequences`, { add: "add", key: "sequence" });
  const scanned = entriesAt(view, `${FILTERING}/filteringRules`, {
    add: "filteringRule",
    key: "name",
  }).filter(({ element }) => isTrue(attributeOf(element, "scanQueryString")));
  const strings = scanned.flatMap(({ element, layer }) =>
    childrenOf(element, "denyStrings")
      .flatMap((list) => childrenOf(list, "add"))
      .map((each) => ({ element: each, layer })),
  );
  for (const [entries, key] of [
    [denied, "sequence"],
    [strings, "string"],
  ] as const) {
    for (const { element, layer } of entries) {
      const node = attributeNodeOf(element, key);
      if (!node || !IN_SUBJECTS.includes(node.value.toLowerCase())) continue;
      report(
        "query-filtered",
        { layer, node },
        { found: `Queries with ${quoted(node.value)} are refused.`, gateway },
      );
    }
  }
}

/** Known to be in force only where the server's own list of modules was given. */
function checkWebDav({ view, report, isGateway: gateway }: Examination): void {
  const module = entriesAt(view, "system.webServer/modules", { add: "add", key: "name" }).find(
    ({ element }) => keyOf(element, "name") === "webdavmodule",
  );
  if (!module || !view.knowsHost || !hasModule(view, "WebDAVModule")) return;
  report(
    "webdav-takes-verbs",
    { layer: module.layer, node: module.element },
    { found: "WebDAVModule is in force.", gateway },
  );
}

function checkCors({ view, report, isGateway: gateway }: Examination): void {
  const headers = entriesAt(view, "system.webServer/httpProtocol/customHeaders", { add: "add", key: "name" });
  for (const { element, layer } of headers) {
    if (!keyOf(element, "name").startsWith("access-control-allow-")) continue;
    const found = `IIS adds ${attributeOf(element, "name")} to every answer.`;
    report(
      "cors-header-added",
      { layer, node: attributeNodeOf(element, "name") ?? element },
      { found, gateway },
    );
  }
  for (const { element, layer } of elementsAt(view, "system.webServer/cors")) {
    if (!isTrue(attributeOf(element, "enabled"))) continue;
    report(
      "cors-header-added",
      { layer, node: element },
      { found: "The CORS module answers for the gateway.", gateway },
    );
  }
}
