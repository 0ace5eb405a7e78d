import type { Element } from "@xmldom/xmldom";
import { LOCKS, type LockFacts } from "../schema/locks.ts";
import { below, isFalse, isTrue, type Layer, type View } from "./view.ts";
import { isAtOrBelow } from "./virtual-path.ts";
import { attributeOf, childrenOf, isSameName } from "./xml.ts";

export type Lock =
  | { readonly kind: "open" }
  | { readonly kind: "locked"; readonly certain: boolean; readonly hostOnly: boolean };

/**
 * Whether a section may stand in a layer of web.config.
 *
 * @param section  such as `system.webServer/handlers`
 */
export function lockOf(view: View, section: string, layer: Layer): Lock {
  const host = view.layers.find(({ config }) => config.kind === "host")?.config;
  const facts = (host && declaredIn(host.root, section)) ?? LOCKS[section];
  if (!facts) return { kind: "open" };
  if (facts.allowDefinition === "AppHostOnly") return { kind: "locked", certain: true, hostOnly: true };
  const mode = overriddenMode(view, section, layer) ?? facts.overrideMode;
  if (mode === "Allow") return { kind: "open" };
  // Without the server's own file nobody knows what was unlocked there; and these two usually are.
  if (!host && USUALLY_OPEN.has(section)) return { kind: "open" };
  return { kind: "locked", certain: host !== undefined, hostOnly: false };
}

const USUALLY_OPEN: ReadonlySet<string> = new Set(["system.webServer/handlers", "system.webServer/modules"]);

/** What the last `<location>` says that stands in a file above, speaks of this place, and has this section in it. */
function overriddenMode(view: View, section: string, layer: Layer): LockFacts["overrideMode"] | undefined {
  let mode: LockFacts["overrideMode"] | undefined;
  for (const { element, config, path } of view.layers) {
    if (!isSameName(element.tagName, "location") || config === layer.config) continue;
    if (!isAtOrBelow(layer.path, path)) continue;
    if (below(element, section).length === 0) continue;
    const override = attributeOf(element, "overrideMode")?.toLowerCase();
    const allow = attributeOf(element, "allowOverride");
    if (override === "allow" || isTrue(allow)) mode = "Allow";
    if (override === "deny" || isFalse(allow)) mode = "Deny";
  }
  return mode;
}

function declaredIn(root: Element, section: string): LockFacts | undefined {
  const names = section.split("/");
  const last = names.pop();
  let groups = childrenOf(root, "configSections");
  for (const name of names) groups = groups.flatMap((group) => named(group, "sectionGroup", name));
  const [declared] = groups.flatMap((group) => named(group, "section", last));
  if (!declared) return undefined;
  const definition = attributeOf(declared, "allowDefinition");
  return {
    overrideMode: attributeOf(declared, "overrideModeDefault") === "Deny" ? "Deny" : "Allow",
    ...((definition === "AppHostOnly" || definition === "MachineToApplication") && {
      allowDefinition: definition,
    }),
  };
}

function named(group: Element, tag: string, name: string | undefined): readonly Element[] {
  return childrenOf(group, tag).filter((element) => attributeOf(element, "name") === name);
}
