import { DOMParser, type Element } from "@xmldom/xmldom";

/** An applicationHost.config with thousands of sites is about 3 MB. IIS itself reads no web.config over 250 KB. */
const BYTES_MAX = 8 * 1024 * 1024;
/** The deepest section of IIS is nine elements down. */
const DEPTH_MAX = 64;
/** One of them is enough to stop IIS; to find its line takes a walk through the file. */
const BROKEN_COMMENTS_MAX = 20;

/** A place in a file, 1-based. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface XmlDocument {
  readonly root: Element;
  /** Comments with `--` in them: IIS's parser stops there, and the rest is read all the same. */
  readonly brokenComments: readonly Position[];
}

/** Why a file could not be read as XML, and where. */
export class XmlFault extends Error {
  override readonly name = "XmlFault";
  readonly at: Position;

  constructor(message: string, at: Position) {
    super(message);
    this.at = at;
  }
}

/**
 * Reads XML as web servers are configured by it: no document type, so that no entity is expanded; in the encoding that
 * its byte order mark or its declaration names.
 *
 * @param bytes  at most 8 MiB
 * @throws XmlFault  what is not well-formed, or over a limit
 */
export function parseXml(bytes: Uint8Array): XmlDocument {
  if (bytes.length > BYTES_MAX) throw new XmlFault(`over ${BYTES_MAX} bytes`, START);
  const { text, broken } = blankComments(decode(bytes));
  refuseCharacters(text);
  refuseDoctype(text);
  refuseBareAmpersand(text);
  const root = parse(text);
  refuseDepth(root);
  return { root, brokenComments: broken.map((at) => positionAt(text, at)) };
}

const START: Position = { line: 1, column: 1 };

function decode(bytes: Uint8Array): string {
  const label = encodingOf(bytes);
  try {
    // A byte order mark is taken off by the decoder.
    return new TextDecoder(label, { fatal: true }).decode(bytes);
  } catch {
    throw new XmlFault(`not in the encoding ${label}`, START);
  }
}

function encodingOf(bytes: Uint8Array): string {
  const [first, second, third] = bytes;
  if (first === 0xff && second === 0xfe) return "utf-16le";
  if (first === 0xfe && second === 0xff) return "utf-16be";
  if (first === 0xef && second === 0xbb && third === 0xbf) return "utf-8";
  // `<` and a zero: UTF-16 without its mark.
  if (first === 0x3c && second === 0) return "utf-16le";
  if (first === 0 && second === 0x3c) return "utf-16be";
  const head = Buffer.from(bytes.subarray(0, 200)).toString("latin1");
  const declared =
    /^\s*<\?xml[^>]*\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']/.exec(head)?.[1] ?? "utf-8";
  // Somebody saved it anew as bytes, and left the declaration.
  return /^utf-?16/i.test(declared) ? "utf-8" : declared;
}

/** Blanks the inside of comments, so that nothing in them is taken for markup, and finds those with `--`. */
function blankComments(text: string): { readonly text: string; readonly broken: readonly number[] } {
  const broken: number[] = [];
  let from = 0;
  let kept = "";
  for (;;) {
    const at = nextComment(text, from);
    if (at < 0) break;
    const end = text.indexOf("-->", at + 4);
    if (end < 0) throw new XmlFault("a comment that does not end", positionAt(text, at));
    const inside = text.slice(at + 4, end);
    const dashes = /--|-$/.exec(inside);
    if (dashes && broken.length < BROKEN_COMMENTS_MAX) broken.push(at + 4 + dashes.index);
    kept += `${text.slice(from, at + 4)}${inside.replace(/[^\r\n]/g, " ")}`;
    from = end;
  }
  return { text: kept + text.slice(from), broken };
}

/** What looks like a comment in a CDATA section is none. */
function nextComment(text: string, from: number): number {
  const marker = /<!--|<!\[CDATA\[/g;
  marker.lastIndex = from;
  for (let found = marker.exec(text); found; found = marker.exec(text)) {
    if (found[0] === "<!--") return found.index;
    const end = text.indexOf("]]>", found.index);
    if (end < 0) return -1;
    marker.lastIndex = end;
  }
  return -1;
}

/** Our parser takes characters that XML does not have; IIS's does not. */
function refuseCharacters(text: string): void {
  const at = text.search(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/u);
  if (at >= 0) throw new XmlFault("a character that XML does not have", positionAt(text, at));
}

/** No configuration of IIS has one, and what it declares could be expanded without end. */
function refuseDoctype(text: string): void {
  const at = text.search(/<!DOCTYPE/i);
  if (at >= 0) throw new XmlFault("a document type declaration, which is not read", positionAt(text, at));
}

/** The parser takes `a & b` as it stands; IIS does not. */
function refuseBareAmpersand(text: string): void {
  const plain = text.replace(/<!\[CDATA\[[\s\S]*?\]\]>/g, (section) => section.replaceAll("&", " "));
  const at = plain.search(/&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9A-Fa-f]{1,6});)/);
  if (at >= 0) throw new XmlFault("a bare &; write &amp;", positionAt(text, at));
}

function parse(text: string): Element {
  let fault: XmlFault | undefined;
  const parser = new DOMParser({
    // A warning of this parser is an error of IIS's: an attribute without quotes, two without a blank between.
    onError: (_level, message, context) => {
      const { lineNumber = 1, columnNumber = 1 } = (context as { locator?: Locator }).locator ?? {};
      fault ??= new XmlFault(message.replace(/\s+/g, " "), {
        line: Math.max(1, lineNumber),
        column: Math.max(1, columnNumber),
      });
    },
  });
  try {
    const root = parser.parseFromString(text, "text/xml").documentElement;
    if (fault) throw fault;
    if (root) return root;
  } catch (error) {
    throw fault ?? error;
  }
  throw new XmlFault("no element", START);
}

interface Locator {
  readonly lineNumber?: number;
  readonly columnNumber?: number;
}

function refuseDepth(root: Element): void {
  let level: readonly Element[] = [root];
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > DEPTH_MAX)
      throw new XmlFault(`over ${DEPTH_MAX} elements deep`, positionOf(level[0] ?? root));
    level = level.flatMap((element) => childrenOf(element));
  }
}

export function childrenOf(element: Element, name?: string): readonly Element[] {
  const found: Element[] = [];
  for (let node = element.firstChild; node; node = node.nextSibling) {
    if (node.nodeType !== 1) continue;
    const child = node as Element;
    if (name === undefined || isSameName(child.tagName, name)) found.push(child);
  }
  return found;
}

/** IIS compares names by case; a slip there is found by the schema, and read all the same. */
export function isSameName(a: string, b: string): boolean {
  return a === b || (a.length === b.length && a.toLowerCase() === b.toLowerCase());
}

/** @returns undefined when the attribute is not there */
export function attributeOf(element: Element, name: string): string | undefined {
  return attributeNodeOf(element, name)?.value;
}

export function attributeNodeOf(element: Element, name: string): Attribute | undefined {
  const exact = element.getAttributeNode(name);
  if (exact) return exact as Attribute;
  return attributesOf(element).find((attribute) => isSameName(attribute.name, name));
}

export interface Attribute {
  readonly name: string;
  readonly value: string;
  readonly lineNumber?: number;
  readonly columnNumber?: number;
}

export function attributesOf(element: Element): readonly Attribute[] {
  return Array.from(element.attributes) as Attribute[];
}

/** Where an element, or the value of an attribute, begins. */
export function positionOf(node: Locator): Position {
  return { line: node.lineNumber ?? 1, column: node.columnNumber ?? 1 };
}

function positionAt(text: string, at: number): Position {
  const before = text.slice(0, at).split(/\r\n|\r|\n/);
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
