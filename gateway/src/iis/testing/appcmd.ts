import assert from "node:assert/strict";
import { DOMParser, type Document, type Element, XMLSerializer } from "@xmldom/xmldom";

/** What a line of a batch file would have appcmd do to applicationHost.config. */
interface Change {
  /** The site or path whose `<location>` is meant; `""` for the server. */
  readonly at: string;
  readonly section: string;
  readonly attributes: readonly (readonly [name: string, value: string])[];
  readonly entries: readonly { readonly adds: boolean; readonly path: string }[];
}

/**
 * Does to an applicationHost.config what a batch file with appcmd would: as far as ours go, and as appcmd's documentation
 * has it. It says whether our scripts and our doctor agree with one another, and nothing of Windows.
 *
 * @param values  of the variables, such as PROOF
 */
export function applyAppcmd(host: string, script: string, values: Readonly<Record<string, string>>): string {
  const document = new DOMParser().parseFromString(host, "text/xml");
  const root = document.documentElement;
  assert(root);
  for (const line of script.split(/\r?\n/)) {
    // The second of two is done when the first finds nothing.
    for (const part of line.split("||").map((each) => each.trim())) {
      if (!part.startsWith("%A% ") || part.startsWith("%A% list ")) continue;
      applyOne(
        document,
        root,
        part.slice(4).replace(/%(\w+)%/g, (all, name: string) => values[name] ?? all),
      );
    }
  }
  return new XMLSerializer().serializeToString(document);
}

function applyOne(document: Document, root: Element, command: string): void {
  const words = wordsOf(command);
  const [verb = "", what = "", ...rest] = words;
  const options = new Map(rest.filter((word) => /^\/[^+-]/.test(word)).map((word) => splitOption(word)));
  const name = options.get("name") ?? rest.find((word) => !/^[/-]/.test(word)) ?? "";
  switch (`${verb} ${what}`) {
    case "add apppool":
      return void addPool(document, root, name);
    case "set apppool":
      for (const [path, value] of options) setDotted(document, addPool(document, root, name), path, value);
      return;
    case "add site":
      addSite(document, root, name, options);
      return;
    case "add app":
      return void addApplication(
        document,
        siteNamed(document, root, options.get("site.name") ?? ""),
        options.get("path") ?? "",
        options.get("physicalPath") ?? "",
      );
    case "set app": {
      const [site = "", ...path] = name.split("/");
      const application = childNamed(
        siteNamed(document, root, site),
        "application",
        "path",
        `/${path.join("/")}`,
      );
      assert(application, name);
      for (const [key, value] of options) application.setAttribute(key, value);
      return;
    }
    case "set config":
      change(document, root, changeOf(rest));
      return;
  }
  assert.fail(`appcmd is not known to: ${command}`);
}

function wordsOf(command: string): readonly string[] {
  return [...command.replace(/\s\d?>\S+/g, "").matchAll(/(?:[^\s"]|"[^"]*")+/g)].map(([word]) =>
    word.replaceAll('"', ""),
  );
}

function splitOption(word: string): readonly [string, string] {
  const at = word.indexOf(":");
  return [word.slice(1, at), word.slice(at + 1)];
}

function changeOf(words: readonly string[]): Change {
  const section = words.find((word) => word.startsWith("-section:"))?.slice("-section:".length) ?? "";
  return {
    at: words.find((word) => !/^[/-]/.test(word)) ?? "",
    section,
    attributes: words
      .filter((word) => /^\/[a-z]/i.test(word) && !word.startsWith("/commit:"))
      .map(splitOption),
    entries: words
      .filter((word) => /^\/[+-]/.test(word))
      .map((word) => ({ adds: word.startsWith("/+"), path: word.slice(2) })),
  };
}

function change(document: Document, root: Element, { at, section, attributes, entries }: Change): void {
  const holder = at === "" ? root : ensure(document, root, "location", "path", at);
  let element = holder;
  for (const name of section.split("/")) element = child(element, name) ?? append(document, element, name);
  for (const [name, value] of attributes) element.setAttribute(name, value);
  for (const { adds, path } of entries) applyEntry(document, element, section, path, adds);
}

/** `[name='Bus'].logFile.customFields.[logFieldName='x',sourceName='y']` */
function applyEntry(document: Document, section: Element, name: string, path: string, adds: boolean): void {
  const parts = [...path.matchAll(/\[[^\]]*\]|[A-Za-z]+/g)].map(([part]) => part);
  const last = parts.pop() ?? "";
  let element = section;
  let collection = name;
  for (const part of parts) {
    if (part.startsWith("[")) {
      const [key = "", value = ""] = pairsOf(part)[0] ?? [];
      const found = childNamed(element, entryNameOf(collection), key, value);
      assert(found, `${path}: no ${part} to go into`);
      element = found;
      collection = `${collection}/${entryNameOf(collection)}`;
    } else {
      element = child(element, part) ?? append(document, element, part);
      collection = `${collection}/${part}`;
    }
  }
  const pairs = pairsOf(last);
  const [key = "", value = ""] = pairs[0] ?? [];
  const there = childNamed(element, entryNameOf(collection), key, value);
  if (!adds) {
    there?.parentNode?.removeChild(there);
    return;
  }
  assert(!there, `appcmd refuses a duplicate: ${path}`);
  const entry = append(document, element, entryNameOf(collection));
  for (const [attribute, each] of pairs) entry.setAttribute(attribute, each);
}

function pairsOf(part: string): readonly (readonly [string, string])[] {
  return [...part.matchAll(/([A-Za-z]+)='([^']*)'/g)].map(([, name = "", value = ""]) => [name, value]);
}

function entryNameOf(collection: string): string {
  if (collection === "system.applicationHost/sites") return "site";
  return collection === "system.webServer/rewrite/rewriteMaps" ? "rewriteMap" : "add";
}

function addPool(document: Document, root: Element, name: string): Element {
  return ensure(document, only(root, "system.applicationHost", "applicationPools"), "add", "name", name);
}

function addSite(
  document: Document,
  root: Element,
  name: string,
  options: ReadonlyMap<string, string>,
): void {
  const sites = only(root, "system.applicationHost", "sites");
  // `list` found it, so that `add` was not reached.
  if (childNamed(sites, "site", "name", name)) return;
  const site = ensure(document, sites, "site", "name", name);
  addApplication(document, site, "/", options.get("physicalPath") ?? "");
  const [protocol = "", ...information] = (options.get("bindings") ?? "").split("/");
  const binding = append(document, append(document, site, "bindings"), "binding");
  binding.setAttribute("protocol", protocol);
  binding.setAttribute("bindingInformation", information.join("/"));
}

function addApplication(document: Document, site: Element, path: string, physicalPath: string): Element {
  const application = ensure(document, site, "application", "path", path);
  ensure(document, application, "virtualDirectory", "path", "/").setAttribute("physicalPath", physicalPath);
  return application;
}

function siteNamed(document: Document, root: Element, name: string): Element {
  return ensure(document, only(root, "system.applicationHost", "sites"), "site", "name", name);
}

/** `recycling.periodicRestart.time` */
function setDotted(document: Document, element: Element, path: string, value: string): void {
  const names = path.split(".");
  const attribute = names.pop() ?? "";
  let holder = element;
  for (const name of names) holder = child(holder, name) ?? append(document, holder, name);
  holder.setAttribute(attribute, value);
}

function only(root: Element, ...names: readonly string[]): Element {
  let element = root;
  for (const name of names) {
    const found = child(element, name);
    assert(found, name);
    element = found;
  }
  return element;
}

function elementsOf(element: Element): readonly Element[] {
  return Array.from(element.childNodes).filter((node): node is Element => node.nodeType === 1);
}

function child(element: Element, name: string): Element | undefined {
  return elementsOf(element).find(({ tagName }) => tagName === name);
}

function childNamed(element: Element, tag: string, key: string, value: string): Element | undefined {
  return elementsOf(element).find(
    (each) => each.tagName === tag && each.getAttribute(key)?.toLowerCase() === value.toLowerCase(),
  );
}

function append(document: Document, parent: Element, name: string): Element {
  const element = document.createElement(name);
  parent.appendChild(element);
  return element;
}

function ensure(document: Document, parent: Element, tag: string, key: string, value: string): Element {
  const found = childNamed(parent, tag, key, value);
  if (found) return found;
  const element = append(document, parent, tag);
  element.setAttribute(key, value);
  return element;
}
