import { elementsAt, type Found, keyOf, type View } from "../config/view.ts";
import { childrenOf } from "../config/xml.ts";
import type { Examination } from "./examination.ts";

/** Whether a native module is installed; where the server's list was not given, everything may be. */
export function hasModule(view: View, name: string): boolean {
  const installed = elementsAt(view, "system.webServer/globalModules").flatMap(({ element }) =>
    childrenOf(element, "add"),
  );
  return installed.length === 0 || installed.some((element) => keyOf(element, "name") === name.toLowerCase());
}

/** Modules that what is configured needs. */
export function checkInstalled({ view, hosts, report }: Examination): void {
  if (!view.knowsHost) return;
  const { process, rules, proxies } = hosts;
  const [rule] = rules;
  const [proxy] = proxies;
  const needed: readonly (readonly [string, Found | undefined])[] = [
    ["AspNetCoreModuleV2", process],
    ["RewriteModule", rule],
    ["ApplicationRequestRouting", proxy?.rule],
  ];
  for (const [name, user] of needed) {
    if (!user || hasModule(view, name)) continue;
    const found = `${name} is not among the server's modules.`;
    report("module-not-installed", { layer: user.layer, node: user.element }, { found });
  }
}
