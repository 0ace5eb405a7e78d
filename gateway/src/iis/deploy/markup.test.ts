import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { GatewayError } from "../../errors.ts";
import { attributeOf, childrenOf, parseXml } from "../config/xml.ts";
import { deployFiles } from "./files.ts";
import { comment, markup } from "./markup.ts";
import { parseWish, type RawWish } from "./parse-wish.ts";
import { FILES } from "./wish.ts";

const SECRETS = { key: Buffer.alloc(32, 7).toString("base64"), proof: "P".repeat(43) };
/** What XML can hold. */
const character = fc
  .oneof(
    fc.constantFrom(..."&<>\"'-]![{}%\t\n\r \u0085\u2028"),
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
  )
  .filter((each) => /^[\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]$/u.test(each));
const text = fc.array(character, { maxLength: 40 }).map((each) => each.join(""));

const read = (xml: string) => parseXml(Buffer.from(xml));

test("markup() brings any text through an attribute as it was", () => {
  fc.assert(
    fc.property(text, text, (one, two) => {
      const { root } = read(markup`<a one="${one}" two="${two}"><b c="${one}" /></a>`.text);
      const [b] = childrenOf(root);
      assert.deepEqual(
        [attributeOf(root, "one"), attributeOf(root, "two"), b && attributeOf(b, "c")],
        [one, two, one],
      );
    }),
    { numRuns: 2_000 },
  );
});

test("markup() refuses what XML cannot hold", () => {
  for (const wrong of ["\u0000", "\u001f", "\ud800", "\ufffe"]) {
    assert.throws(() => markup`<a b="${wrong}" />`, RangeError);
  }
});

test("comment() ends where it ends, and has no two dashes, whatever is in it", () => {
  const any = fc.string({
    unit: fc.oneof(
      fc.constantFrom("-", ">", "<", "!", "a"),
      fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
    ),
    maxLength: 40,
  });
  fc.assert(
    fc.property(any, (inside) => {
      const { text: xml } = comment(inside);
      assert.doesNotMatch(xml.slice(4, -3), /--|-$/);
      const { root, brokenComments } = read(`<a>${xml}<b /></a>`);
      assert.deepEqual([brokenComments, childrenOf(root).length], [[], 1]);
    }),
    { numRuns: 2_000 },
  );
});

test("deployFiles() writes a web.config with the very values that were asked for, however hostile", () => {
  const segment = fc.string({
    unit: fc.constantFrom(..."aZ09 ._()+,;=@#$&~{}[]'-"),
    minLength: 1,
    maxLength: 12,
  });
  const folder = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => `C:\\${parts.join("\\")}`);
  const group = fc.array(character, { minLength: 1, maxLength: 12 }).map((each) => each.join(""));
  const raw: fc.Arbitrary<RawWish> = fc.record({
    behind: fc.constantFrom("iis-ancm", "iis-arr"),
    signIn: fc.constant("windows"),
    publicUrl: fc.constantFrom("https://a.example", "https://a.example/b-1/c--d"),
    folder,
    node: folder.map((each) => `${each}\\node.exe`),
    group: fc.array(group, { maxLength: 3 }),
  });
  let written = 0;
  fc.assert(
    fc.property(raw, (each) => {
      const wish = wishOf(each);
      if (!wish) return;
      written += 1;
      const files = deployFiles(wish, SECRETS, "");
      const { root, brokenComments } = read(files.find(({ path }) => path === FILES.webConfig)?.text ?? "");
      assert.deepEqual(brokenComments, []);
      const found = new Map<string, string>();
      for (const element of Array.from(root.getElementsByTagName("*"))) {
        for (const { name, value } of Array.from(element.attributes)) {
          found.set(`${element.tagName} ${element.getAttribute("key") ?? ""} ${name}`, value);
        }
      }
      if (wish.groups.length > 0)
        assert.equal(found.get("add CountersignOnlyGroups value"), wish.groups.join(";"));
      if (wish.behind === "iis-ancm") {
        assert.equal(found.get("aspNetCore  processPath"), wish.node);
        assert.equal(
          found.get("aspNetCore  arguments"),
          `"${wish.folder}\\countersign.js" serve --config "${wish.folder}\\countersign.yaml"`,
        );
      }
    }),
    { numRuns: 1_000 },
  );
  assert(written > 200, `only ${written} were taken`);
});

function wishOf(raw: RawWish): ReturnType<typeof parseWish> | undefined {
  try {
    return parseWish(raw);
  } catch (error) {
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}

test("parseWish() takes nothing that cmd, PowerShell or appcmd would read as more than a name", () => {
  const right = { behind: "iis-arr", signIn: "oidc", publicUrl: "https://a.example" };
  const wrong: readonly RawWish[] = [
    { ...right, site: "a'b" },
    { ...right, site: 'a"b' },
    { ...right, site: "a%PATH%" },
    { ...right, site: "a/b" },
    { ...right, site: "a&b" },
    { ...right, site: " a" },
    { ...right, site: "Süd" },
    { ...right, pool: "a\n" },
    { ...right, folder: "C:\\a%b" },
    { ...right, folder: "C:\\a!b" },
    { ...right, folder: 'C:\\a"b' },
    { ...right, folder: "C:\\a\\..\\b" },
    { ...right, folder: "C:\\" },
    { ...right, folder: "\\\\server\\share" },
    { ...right, folder: "/srv" },
    { ...right, node: "C:\\node.cmd" },
    { ...right, port: "0" },
    { ...right, port: "65536" },
    { ...right, publicUrl: "http://a.example" },
    { ...right, publicUrl: "https://a.example/a%20b" },
    { ...right, publicUrl: "https://u:p@a.example" },
    { ...right, publicUrl: "https://a.example/?q" },
    { ...right, origin: ["https://a.example/"] },
    { ...right, group: ["CORP\\A"] },
    { ...right, signIn: "windows", group: ["A;B"] },
    { ...right, signIn: "windows", group: ["A\u0000"] },
    { ...right, behind: "arr" },
    {},
  ];
  for (const raw of wrong) assert.equal(wishOf(raw), undefined, JSON.stringify(raw));
  assert(wishOf(right));
});
