import type { Element } from "@xmldom/xmldom";
import {
  attributeOf,
  attributesOf,
  childrenOf,
  isSameName,
  type Position,
  parseXml,
  XmlFault,
} from "./xml.ts";

/** One file of IIS's configuration, read. */
export interface ConfigFile {
  /** As it is shown to people. */
  readonly file: string;
  readonly kind: "host" | "web";
  /** `<configuration>` */
  readonly root: Element;
  readonly brokenComments: readonly Position[];
}

/** A file that is not looked into, and why. */
export interface Unread {
  readonly file: string;
  readonly why: string;
  readonly at?: Position;
}

/**
 * Reads applicationHost.config or web.config.
 *
 * @returns why not, for what is no XML, no configuration, or a transformation of one
 */
export function parseConfigFile(file: string, bytes: Uint8Array): ConfigFile | Unread {
  try {
    const { root, brokenComments } = parseXml(bytes);
    if (!isSameName(root.tagName, "configuration")) {
      return { file, why: `expected <configuration>, found <${root.tagName.slice(0, 80)}>` };
    }
    if (isTransformation(root)) {
      return {
        file,
        why: "it has xdt: attributes, so that it changes another file and is none that IIS reads; give the file it makes",
      };
    }
    return { file, kind: isHost(root) ? "host" : "web", root, brokenComments };
  } catch (error) {
    if (error instanceof XmlFault) return { file, why: `not well-formed: ${error.message}`, at: error.at };
    throw error;
  }
}

function isHost(root: Element): boolean {
  return childrenOf(root, "system.applicationHost").length > 0 || declaresHost(root);
}

function declaresHost(root: Element): boolean {
  return childrenOf(root, "configSections").some((sections) =>
    childrenOf(sections, "sectionGroup").some(
      (group) => attributeOf(group, "name") === "system.applicationHost",
    ),
  );
}

/** Only where such an attribute is used: many a file declares the prefix and nothing more. */
function isTransformation(root: Element): boolean {
  let level: readonly Element[] = [root];
  while (level.length > 0) {
    if (
      level.some((element) =>
        attributesOf(element).some(({ name }) => /^xdt:(?:Transform|Locator)$/.test(name)),
      )
    ) {
      return true;
    }
    level = level.flatMap((element) => childrenOf(element));
  }
  return false;
}
