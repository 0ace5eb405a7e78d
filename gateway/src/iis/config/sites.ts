import type { Element } from "@xmldom/xmldom";
import type { ConfigFile } from "./config-file.ts";
import { below } from "./view.ts";
import { joinPath, type VirtualPath } from "./virtual-path.ts";
import { attributeNodeOf, attributeOf, childrenOf } from "./xml.ts";

/** An application of a site, as applicationHost.config lists it. */
export interface Application {
  readonly site: Element;
  readonly element: Element;
  /** `Site` or `Site/bus`. */
  readonly path: VirtualPath;
  readonly physicalPath?: string;
  readonly pool: Pool | undefined;
}

/** An application pool with its defaults: each attribute with the element that sets it, the entry itself first. */
export interface Pool {
  readonly name: string;
  readonly element: Element;
  readonly defaults: readonly Element[];
}

export function applicationsOf(host: ConfigFile): readonly Application[] {
  const pools = poolsOf(host);
  return below(host.root, "system.applicationHost/sites/site").flatMap((site) =>
    childrenOf(site, "application").map((element) => {
      const [folder] = childrenOf(element, "virtualDirectory").filter(
        (directory) => attributeOf(directory, "path") === "/",
      );
      const physicalPath = folder && attributeOf(folder, "physicalPath");
      const poolName = poolNameOf(host, site, element).toLowerCase();
      return {
        site,
        element,
        path: joinPath(attributeOf(site, "name") ?? "", attributeOf(element, "path") ?? "/"),
        ...(physicalPath !== undefined && { physicalPath }),
        pool: pools.find(({ name }) => name.toLowerCase() === poolName),
      };
    }),
  );
}

function poolNameOf(host: ConfigFile, site: Element, application: Element): string {
  const defaults = [
    ...childrenOf(site, "applicationDefaults"),
    ...below(host.root, "system.applicationHost/sites/applicationDefaults"),
  ];
  return (
    [application, ...defaults]
      .map((element) => attributeOf(element, "applicationPool"))
      .find((name) => name !== undefined) ?? "DefaultAppPool"
  );
}

function poolsOf(host: ConfigFile): readonly Pool[] {
  const path = "system.applicationHost/applicationPools";
  const defaults = below(host.root, `${path}/applicationPoolDefaults`);
  return below(host.root, `${path}/add`).map((element) => ({
    name: attributeOf(element, "name") ?? "",
    element,
    defaults,
  }));
}

/**
 * A setting of a pool, such as `processModel/idleTimeout`.
 *
 * @returns its value, and the element nearest to it, to point at
 */
export function poolSetting(
  { element, defaults }: Pool,
  setting: string,
): { readonly value?: string; readonly element: Element } {
  const path = setting.split("/");
  const name = path.pop() ?? "";
  for (const each of [element, ...defaults]) {
    const holders = path.length === 0 ? [each] : below(each, path.join("/"));
    for (const holder of holders) {
      const attribute = attributeNodeOf(holder, name);
      if (attribute) return { value: attribute.value, element: holder };
    }
  }
  return { element };
}
