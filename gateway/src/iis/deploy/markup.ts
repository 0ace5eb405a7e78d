/** A piece of XML that is well-formed already. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/**
 * XML with values in it. Texts are escaped, for an attribute as for an element; pieces of markup stand as they are, and
 * undefined stands for nothing.
 */
export function markup(
  parts: TemplateStringsArray,
  ...values: readonly (string | number | Markup | undefined)[]
): Markup {
  return new Markup(
    parts.reduce((text, part, index) => {
      const value = values[index - 1];
      return text + (value instanceof Markup ? value.text : escapeXml(String(value ?? ""))) + part;
    }),
  );
}

/** Pieces one below the other, without those that are not there. */
export function lines(...pieces: readonly (Markup | undefined)[]): Markup {
  return new Markup(pieces.flatMap((piece) => (piece === undefined ? [] : [piece.text])).join("\n"));
}

/** All lines but empty ones. */
export function indented(piece: Markup, by: number): Markup {
  return new Markup(piece.text.replace(/^(?=.)/gm, " ".repeat(by)));
}

/** Two dashes end a comment, or stop a parser. */
export function comment(text: string): Markup {
  return new Markup(`<!-- ${text.replaceAll(NOT_XML, "?").replace(/-(?=-|$)/g, "- ")} -->`);
}

/** What is no character of XML 1.0, whole or as a reference. */
const NOT_XML = /[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu;

/**
 * @throws RangeError  a character that XML cannot hold
 * @source XML 1.0 §2.2, §3.3.3: a tab or line feed in an attribute is a blank unless it is a reference. XML 1.1 §2.11
 *   takes two more characters for line feeds, and so do parsers of 1.0
 */
export function escapeXml(text: string): string {
  if (text.search(NOT_XML) >= 0) throw new RangeError("a character that XML cannot hold");
  return text.replace(
    /[&<>"'\t\n\r\u0085\u2028]/g,
    (character) => ESCAPES[character] ?? `&#${character.charCodeAt(0)};`,
  );
}

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
