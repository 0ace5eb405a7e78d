import type { Element } from "@xmldom/xmldom";
import { below, elementsAt, type Found, type Layer, type View } from "../config/view.ts";
import {
  attributeNodeOf,
  attributeOf,
  attributesOf,
  childrenOf,
  isSameName,
  positionOf,
} from "../config/xml.ts";
import type { CollectionFacts, ElementFacts } from "../schema/facts.ts";
import { NOT_IN_PROXY, PROXY_SECTION, SECTIONS } from "../schema/sections.ts";
import { wrongValue } from "./check-value.ts";
import { quoted, type Report } from "./report.ts";

/** What IIS lets stand on any element. */
const ANYWHERE = new Set([
  ...["lockAttributes", "lockElements", "lockAllAttributesExcept", "lockAllElementsExcept", "lockItem"],
  ...["configSource", "configProtectionProvider"],
]);

/** Everything that IIS's own schema would refuse in the sections we know; of all others nothing is said. */
export function checkSchema(view: View, report: Report): void {
  for (const [path, facts] of Object.entries(SECTIONS)) {
    for (const { element, layer } of elementsAt(view, path)) checkElement(element, facts, layer, report);
    checkDuplicates(elementsAt(view, path), facts, report);
  }
  checkProxySection(view, report);
  checkRewriteGroup(view, report);
}

const REWRITE_GROUP = "system.webServer/rewrite";

/** A rule that stands beside the lists of rules instead of in one. */
function checkRewriteGroup(view: View, report: Report): void {
  const known = Object.keys(SECTIONS)
    .filter((path) => path.startsWith(`${REWRITE_GROUP}/`))
    .map((path) => path.slice(REWRITE_GROUP.length + 1));
  for (const { element, layer } of elementsAt(view, REWRITE_GROUP)) {
    for (const child of childrenOf(element)) {
      if (known.some((name) => isSameName(name, child.tagName))) continue;
      const found = `<${child.tagName}> in <rewrite>, which has ${known.join(", ")}.`;
      report("element-unknown", { layer, node: child }, { found });
    }
  }
}

/** Comments are of the file, whatever section they stand in. */
export function checkComments(layer: Layer, report: Report): void {
  for (const { line, column } of layer.config.brokenComments) {
    const node = { lineNumber: line, columnNumber: column };
    report("comment-dashes", { layer, node }, { found: "A comment has -- in it." });
  }
}

function checkElement(element: Element, facts: ElementFacts, layer: Layer, report: Report): void {
  checkAttributes(element, facts, layer, report);
  const { children = {}, collections = [] } = facts;
  for (const child of childrenOf(element)) {
    const { tagName } = child;
    const inner = factsOfChild(tagName, facts);
    if (inner) {
      checkCase(child, inner.name, layer, report);
      checkElement(child, inner.facts, layer, report);
    } else if (!isCollectionCommand(tagName, collections)) {
      const known = [
        ...Object.keys(children),
        ...collections.flatMap(({ add, remove, clear }) => [add, remove, clear]),
      ];
      const names = known.filter((name) => name !== undefined);
      report(
        "element-unknown",
        { layer, node: child },
        {
          found: `<${tagName}> in <${element.tagName}>, which has ${names.length > 0 ? names.join(", ") : "nothing inside"}.`,
        },
      );
    }
  }
}

function factsOfChild(
  tagName: string,
  { children = {}, collections = [] }: ElementFacts,
): { readonly name: string; readonly facts: ElementFacts } | undefined {
  const name = Object.keys(children).find((each) => isSameName(each, tagName));
  const facts = name === undefined ? undefined : children[name];
  if (name !== undefined && facts) return { name, facts };
  const entry = collections.find(({ add }) => isSameName(add, tagName));
  return entry && { name: entry.add, facts: entry.item };
}

function isCollectionCommand(tagName: string, collections: readonly CollectionFacts[]): boolean {
  return collections.some(
    ({ remove, clear }) => isSameName(tagName, remove ?? "") || isSameName(tagName, clear ?? ""),
  );
}

function checkCase(element: Element, name: string, layer: Layer, report: Report): void {
  if (element.tagName === name) return;
  report(
    "name-case",
    { layer, node: element },
    { found: `<${element.tagName}>, which IIS writes <${name}>.` },
  );
}

function checkAttributes(element: Element, { attributes }: ElementFacts, layer: Layer, report: Report): void {
  for (const attribute of attributesOf(element)) {
    const { name, value } = attribute;
    const place = { layer, node: attribute };
    if (ANYWHERE.has(name) || name.includes(":") || name === "xmlns") continue;
    const known = Object.keys(attributes).find((each) => isSameName(each, name));
    const facts = known === undefined ? undefined : attributes[known];
    if (known === undefined || !facts) {
      const names = Object.keys(attributes);
      report("attribute-unknown", place, {
        found: `${name} on <${element.tagName}>, which has ${names.length > 0 ? names.join(", ") : "no attributes"}.`,
      });
      continue;
    }
    if (known !== name) report("name-case", place, { found: `${name}, which IIS writes ${known}.` });
    const wrong = wrongValue(value, facts);
    if (wrong !== undefined) report("value-invalid", place, { found: `${name}=${quoted(value)}: ${wrong}.` });
  }
  for (const [name, { required, byDefault }] of Object.entries(attributes)) {
    if (!required || byDefault !== undefined || attributeNodeOf(element, name)) continue;
    report("attribute-missing", { layer, node: element }, { found: `<${element.tagName}> has no ${name}.` });
  }
}

/** Two entries of one key, in one file or one of them inherited. */
function checkDuplicates(elements: readonly Found[], facts: ElementFacts, report: Report): void {
  const { children = {}, collections = [] } = facts;
  for (const collection of collections) {
    checkCollection(elements, collection, report);
    const items = elements.flatMap(({ element, layer }) =>
      childrenOf(element, collection.add).map((item) => ({ element: item, layer })),
    );
    // What one entry has inside is its own.
    for (const item of items) checkDuplicates([item], collection.item, report);
  }
  for (const [name, inner] of Object.entries(children)) {
    const within = elements.flatMap(({ element, layer }) =>
      below(element, name).map((child) => ({ element: child, layer })),
    );
    checkDuplicates(within, inner, report);
  }
}

function checkCollection(
  elements: readonly Found[],
  { add, remove, clear, item }: CollectionFacts,
  report: Report,
): void {
  const names = Object.entries(item.attributes).filter(([, { key }]) => key);
  if (names.length === 0) return;
  const keyOf = (element: Element): string =>
    names
      .map(([name, { byDefault = "" }]) => (attributeOf(element, name) ?? byDefault).toLowerCase())
      .join("\n");
  const seen = new Map<string, { readonly element: Element; readonly layer: Layer }>();
  for (const { element, layer } of elements) {
    for (const child of childrenOf(element)) {
      if (isSameName(child.tagName, clear ?? "")) seen.clear();
      else if (isSameName(child.tagName, remove ?? "")) seen.delete(keyOf(child));
      else if (isSameName(child.tagName, add)) {
        const former = seen.get(keyOf(child));
        if (former) {
          const { line } = positionOf(former.element);
          const shown = names
            .filter(([name]) => attributeOf(child, name) !== undefined)
            .map(([name]) => `${name}=${quoted(attributeOf(child, name) ?? "")}`)
            .join(" ");
          report(
            "entry-duplicate",
            { layer, node: child },
            { found: `<${child.tagName} ${shown}> stands in ${former.layer.config.file}:${line} already.` },
          );
        } else seen.set(keyOf(child), { element: child, layer });
      }
    }
  }
}

function checkProxySection(view: View, report: Report): void {
  for (const { element, layer } of elementsAt(view, PROXY_SECTION)) {
    for (const attribute of attributesOf(element)) {
      if (!NOT_IN_PROXY.has(attribute.name)) continue;
      report("attribute-unknown", { layer, node: attribute }, { found: `${attribute.name} on <proxy>.` });
    }
  }
}
