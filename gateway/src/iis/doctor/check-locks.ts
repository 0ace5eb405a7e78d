import type { Element } from "@xmldom/xmldom";
import { lockOf } from "../config/locks.ts";
import { below, elementsAt, entriesAt, isTrue, keyOf, type Layer, type View } from "../config/view.ts";
import { attributeOf, childrenOf, isSameName } from "../config/xml.ts";
import { LOCKS } from "../schema/locks.ts";
import { PROXY_SECTION } from "../schema/sections.ts";
import type { Examination } from "./examination.ts";
import type { Report } from "./report.ts";

/** Sections that stand in web.config and may not. */
export function checkLocks({ view, report, isGateway: gateway }: Examination): void {
  const layers = view.layers.filter(({ config }) => config.kind === "web");
  for (const layer of layers) {
    for (const section of Object.keys(LOCKS)) {
      for (const element of below(layer.element, section))
        checkSection(view, section, { element, layer }, { report, gateway });
    }
    for (const element of below(layer.element, PROXY_SECTION)) {
      report(
        "section-may-be-locked",
        { layer, node: element },
        { found: "<proxy>, which is the server's.", gateway },
      );
    }
  }
  for (const section of ["system.webServer/modules", "system.webServer/handlers"]) {
    checkItems(view, section, report);
  }
}

function checkSection(
  view: View,
  section: string,
  { element, layer }: { readonly element: Element; readonly layer: Layer },
  { report, gateway }: { readonly report: Report; readonly gateway: boolean },
): void {
  const lock = lockOf(view, section, layer);
  if (lock.kind === "open" || isEmpty(element)) return;
  const place = { layer, node: element };
  const found = `<${element.tagName}> of ${section} stands in ${layer.config.file}.`;
  if (lock.hostOnly)
    report("section-locked", place, { found: `${found} It may only stand in applicationHost.config.` });
  else if (lock.certain) report("section-locked", place, { found });
  else report("section-may-be-locked", place, { found, gateway });
}

/** Nothing in it: IIS has nothing to refuse. */
function isEmpty(element: Element): boolean {
  return element.attributes.length === 0 && childrenOf(element).length === 0;
}

/** `lockItem="true"`: a file below may not take the entry away. */
function checkItems(view: View, section: string, report: Report): void {
  const host = { ...view, layers: view.layers.filter(({ config }) => config.kind === "host") };
  const locked = new Set(
    entriesAt(host, section, { add: "add", key: "name" })
      .filter(({ element }) => isTrue(attributeOf(element, "lockItem")))
      .map(({ element }) => keyOf(element, "name")),
  );
  if (locked.size === 0) return;
  for (const { element, layer } of elementsAt(view, section)) {
    if (layer.config.kind === "host") continue;
    for (const child of childrenOf(element)) {
      const isClear = isSameName(child.tagName, "clear");
      const isRemove = isSameName(child.tagName, "remove") && locked.has(keyOf(child, "name"));
      if (!isClear && !isRemove) continue;
      const found = isClear
        ? `<clear /> takes away ${[...locked].slice(0, 3).join(", ")}${locked.size > 3 ? " …" : ""}.`
        : `<remove> of ${attributeOf(child, "name") ?? ""}.`;
      report("item-locked", { layer, node: child }, { found });
    }
  }
}
