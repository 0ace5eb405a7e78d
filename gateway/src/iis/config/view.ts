import type { Element } from "@xmldom/xmldom";
import type { ConfigFile } from "./config-file.ts";
import { isAtOrBelow, isSamePath, joinPath, placesDownTo, type VirtualPath } from "./virtual-path.ts";
import { type Attribute, attributeNodeOf, attributeOf, childrenOf, isSameName } from "./xml.ts";

/** A file, and the place whose configuration it is: `""` for applicationHost.config. */
export interface PlacedFile extends ConfigFile {
  readonly base: VirtualPath;
}

/** One `<configuration>` or `<location>` that has a say at a place. */
export interface Layer {
  readonly config: PlacedFile;
  readonly element: Element;
  /** The place it speaks of. */
  readonly path: VirtualPath;
}

/** An element, and the layer it stands in. */
export interface Found {
  readonly element: Element;
  readonly layer: Layer;
}

export interface FoundAttribute extends Found {
  readonly attribute: Attribute;
  readonly value: string;
}

/** The configuration as it is in force at one place: what is inherited first, what is nearest last. */
export interface View {
  readonly path: VirtualPath;
  readonly layers: readonly Layer[];
  /** Whether the server's own file is among them, so that what is not there is known not to be. */
  readonly knowsHost: boolean;
}

/**
 * What has a say at a place: on each level from the server down, first the `<location>` tags of the files above, then
 * the file of that level.
 *
 * @param applications  places that are roots of applications: what is not inherited by child applications stops there
 */
export function viewAt(
  files: readonly PlacedFile[],
  path: VirtualPath,
  applications: readonly VirtualPath[],
): View {
  const layers = placesDownTo(path).flatMap((place) =>
    files.filter(({ base }) => isAtOrBelow(place, base)).flatMap((config) => layersAt(config, place)),
  );
  return {
    path,
    layers: layers.filter((layer) => reaches(layer, path, applications)),
    knowsHost: files.some(({ kind }) => kind === "host"),
  };
}

function layersAt(config: PlacedFile, place: VirtualPath): readonly Layer[] {
  const own: readonly Layer[] = isSamePath(config.base, place)
    ? [{ config, element: config.root, path: place }]
    : [];
  return [...own, ...(locationsByPlace(config).get(place.toLowerCase()) ?? [])];
}

/** Every `<location>` of a file, with the place it speaks of. */
export function locationsOf(config: PlacedFile): readonly Layer[] {
  return [...locationsByPlace(config).values()].flat();
}

/** A server has one for each of its sites, and each place is looked up among them. */
function locationsByPlace(config: PlacedFile): ReadonlyMap<string, readonly Layer[]> {
  const known = locations.get(config);
  if (known) return known;
  const byPlace = new Map<string, Layer[]>();
  for (const element of childrenOf(config.root, "location")) {
    const path = joinPath(config.base, attributeOf(element, "path") ?? "");
    const there = byPlace.get(path.toLowerCase());
    if (there) there.push({ config, element, path });
    else byPlace.set(path.toLowerCase(), [{ config, element, path }]);
  }
  locations.set(config, byPlace);
  return byPlace;
}

const locations = new WeakMap<PlacedFile, ReadonlyMap<string, readonly Layer[]>>();

/** `inheritInChildApplications="false"` */
function reaches(
  { element, path }: Layer,
  target: VirtualPath,
  applications: readonly VirtualPath[],
): boolean {
  if (!isFalse(attributeOf(element, "inheritInChildApplications"))) return true;
  return !applications.some(
    (application) =>
      !isSamePath(application, path) && isAtOrBelow(application, path) && isAtOrBelow(target, application),
  );
}

/** All elements at a path below `<configuration>`, such as `system.webServer/rewrite/rules`. */
export function elementsAt(view: View, path: string): readonly Found[] {
  return view.layers.flatMap((layer) => below(layer.element, path).map((element) => ({ element, layer })));
}

export function below(element: Element, path: string): readonly Element[] {
  return path
    .split("/")
    .reduce<readonly Element[]>((found, name) => found.flatMap((each) => childrenOf(each, name)), [element]);
}

/** The value in force: the nearest that is set. */
export function attributeAt(view: View, path: string, name: string): FoundAttribute | undefined {
  for (const found of elementsAt(view, path).toReversed()) {
    const attribute = attributeNodeOf(found.element, name);
    if (attribute) return { ...found, attribute, value: attribute.value };
  }
  return undefined;
}

/** The entries of a collection that are in force, after `remove` and `clear`. */
export function entriesAt(
  view: View,
  path: string,
  { add, key }: { readonly add: string; readonly key: string },
): readonly Found[] {
  // By key, in order; a key that stands there twice is a mistake that is found elsewhere.
  const entries = new Map<string, Found[]>();
  for (const { element, layer } of elementsAt(view, path)) {
    for (const child of childrenOf(element)) {
      const found = { element: child, layer };
      if (isSameName(child.tagName, "clear")) entries.clear();
      else if (isSameName(child.tagName, "remove")) entries.delete(keyOf(child, key));
      else if (isSameName(child.tagName, add)) {
        const same = entries.get(keyOf(child, key));
        if (same) same.push(found);
        else entries.set(keyOf(child, key), [found]);
      }
    }
  }
  return [...entries.values()].flat();
}

export function keyOf(element: Element, key: string): string {
  return (attributeOf(element, key) ?? "").toLowerCase();
}

export function isTrue(value: string | undefined): boolean {
  return value?.trim().toLowerCase() === "true";
}

export function isFalse(value: string | undefined): boolean {
  return value?.trim().toLowerCase() === "false";
}
