import assert from "node:assert/strict";
import { test } from "node:test";
import { attributeOf, childrenOf, parseXml, positionOf, XmlFault } from "./xml.ts";

const xml = (text: string) => parseXml(Buffer.from(text));

function faultOf(bytes: Uint8Array | string): {
  readonly message: string;
  readonly line: number;
  readonly column: number;
} {
  try {
    parseXml(Buffer.from(bytes));
  } catch (error) {
    if (error instanceof XmlFault) return { message: error.message, ...error.at };
    throw error;
  }
  return assert.fail(`no fault in ${bytes}`);
}

test("parseXml() reads every encoding in which such files are saved", () => {
  const text = '<configuration>\r\n  <add key="Grüße" /></configuration>';
  const utf16 = Buffer.from(text, "utf16le");
  const files = [
    Buffer.from(text),
    Buffer.from(`\uFEFF${text}`),
    Buffer.from(`\uFEFF${text}`, "utf16le"),
    Buffer.from(`\uFEFF${text}`, "utf16le").swap16(),
    utf16,
    Buffer.from(utf16).swap16(),
    Buffer.from(`<?xml version="1.0" encoding="iso-8859-1"?>\r\n${text}`, "latin1"),
    Buffer.from(`<?xml version="1.0" encoding="utf-16"?>\r\n${text}`),
  ];
  for (const bytes of files) {
    const [add] = childrenOf(parseXml(bytes).root);
    assert.equal(add && attributeOf(add, "key"), "Grüße");
    assert.equal(add && positionOf(add).column, 3);
  }
  assert.match(faultOf(Buffer.from([0x3c, 0x61, 0xff, 0x3e])).message, /encoding utf-8/);
  assert.match(faultOf('<?xml version="1.0" encoding="ebcdic-x"?><a/>').message, /encoding ebcdic-x/);
});

test("parseXml() expands nothing: a document type is refused wherever it stands", () => {
  assert.deepEqual(faultOf('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'), {
    message: "a document type declaration, which is not read",
    line: 1,
    column: 1,
  });
  assert.equal(faultOf("<?xml version='1.0'?>\n\n <!doctype a>\n<a/>").line, 3);
  assert.match(faultOf("<a>&nope;</a>").message, /bare &/);
});

test("parseXml() refuses what IIS refuses, at its place", () => {
  const wrong: readonly (readonly [string, RegExp, number])[] = [
    ['<a>\n<b c="1 & 2"/></a>', /bare &/, 2],
    ["<a>\n<b></a>", /mismatch/, 2],
    ["<a>\n<b c=1/></a>", /quot/, 2],
    ['<a>\n<b c="1"d="2"/></a>', /space/, 2],
    ['<a>\n<b c="1" c="2"/></a>', /redefined/, 2],
    ['<a>\n<b c="<"/></a>', /Unescaped/, 2],
    ["<a/><b/>", /Only one element/, 1],
    ["<a>\n <!-- x", /does not end/, 2],
    ['<a>\n<b c="\u0001"/></a>', /does not have/, 2],
    ["", /missing root/, 1],
    ["hello", /missing root/, 1],
  ];
  for (const [text, message, line] of wrong) {
    const fault = faultOf(text);
    assert.match(fault.message, message, text);
    assert.equal(fault.line, line, text);
  }
});

test("parseXml() bounds size and depth", () => {
  assert.match(faultOf(Buffer.alloc(8 * 1024 * 1024 + 1, " ")).message, /over 8388608 bytes/);
  assert.match(faultOf(`${"<a>".repeat(65)}${"</a>".repeat(65)}`).message, /64 elements deep/);
  assert.equal(xml(`${"<a>".repeat(64)}${"</a>".repeat(64)}`).root.tagName, "a");
});

test("parseXml() finds every comment with two dashes, and reads the rest as if they were not there", () => {
  const { root, brokenComments } = xml(
    "<a>\n<!-- one -- two -->\n<b/><!-- three ---><c/><!----><!-- - - --></a>",
  );
  assert.deepEqual(brokenComments, [
    { line: 2, column: 10 },
    { line: 3, column: 16 },
  ]);
  assert.deepEqual(
    childrenOf(root).map(({ tagName }) => tagName),
    ["b", "c"],
  );
});

test("parseXml() takes nothing in a comment or in CDATA for markup", () => {
  const { root, brokenComments } = xml("<a><!-- <b/> & <!DOCTYPE x> --><![CDATA[ <!-- -- & <d> ]]><c/></a>");
  assert.deepEqual([childrenOf(root).length, brokenComments], [1, []]);
});

test("positionOf() points at the element, and at the quote that opens an attribute's value", () => {
  const [b] = childrenOf(xml("<a>\r\n\t<b one=\"1\"\r\n     two='2'/></a>").root);
  assert.deepEqual(b && positionOf(b), { line: 2, column: 2 });
  const places = Array.from(b?.attributes ?? []).map((attribute) => positionOf(attribute));
  assert.deepEqual(places, [
    { line: 2, column: 9 },
    { line: 3, column: 10 },
  ]);
});
