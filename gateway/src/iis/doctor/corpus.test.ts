/**
 * Configurations as people write them, right ones and wrong ones, each with what is to be found in it. A file has a
 * description, options, the files to examine, and after ========== the findings, written by --test-update-snapshots.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { parseConfigFile } from "../config/config-file.ts";
import type { SourceFile } from "../config/placement.ts";
import { CATALOGUE, type FindingCode } from "./catalogue.ts";
import { type Examined, examineConfigs } from "./examine.ts";

const CORPUS = join(import.meta.dirname, "..", "testing", "corpus");
const SERVER = readFileSync(join(CORPUS, "server.config"), "utf8");
const NAMES = readdirSync(CORPUS).filter((name) => name.endsWith(".txt"));
const found = new Map<FindingCode, number>();

interface Case {
  readonly input: string;
  readonly files: readonly SourceFile[];
  readonly gateway: boolean;
  readonly site?: string;
}

function readCase(name: string): Case {
  const [input = ""] = readFileSync(join(CORPUS, name), "utf8").split("==========\n");
  const [head = "", ...parts] = input.split(/^--- /m);
  const files = parts.map((part) => {
    const [title = "", ...lines] = part.split("\n");
    const path = title.trim() === "server" ? "applicationHost.config" : title.trim();
    const text = title.trim() === "server" ? changedServer(lines.join("\n")) : lines.join("\n").trimStart();
    const config = parseConfigFile(path, Buffer.from(text));
    if ("why" in config) assert.fail(`${name}: ${path}: ${config.why}`);
    return { config, folder: `/copies/${dirname(path)}` };
  });
  const site = /^site: (.*)$/m.exec(head)?.[1];
  return { input, files, gateway: /^gateway: yes$/m.test(head), ...(site !== undefined && { site }) };
}

/** `server.config` with `- old` and `+ new` in pairs, and whatever else stands there added at its end. */
function changedServer(text: string): string {
  let server = SERVER;
  for (const [, old = "", now = ""] of text.matchAll(/^- (.*)\n\+ ?(.*)$/gm)) {
    assert.equal(server.split(old).length, 2, `server.config has once: ${old}`);
    server = server.replace(old, () => now);
  }
  const more = text.replace(/^[-+].*\n?/gm, "");
  return server.replace("<!-- more -->", () => more);
}

function examine({ files, gateway, site }: Case): Examined {
  return examineConfigs(files, { assumeGateway: gateway, ...(site !== undefined && { site }) });
}

function listOf({ findings }: Examined): string {
  if (findings.length === 0) return "nothing\n";
  return findings
    .map(
      ({ file, line, column, severity, code, found: what }) =>
        `${file}:${line}:${column} ${severity} ${code}\n    ${what}\n`,
    )
    .join("");
}

describe("the corpus", () => {
  for (const name of NAMES) {
    test(`examineConfigs() finds in ${name} what is wrong there, and nothing else`, (t) => {
      const each = readCase(name);
      const examined = examine(each);
      for (const { code } of examined.findings) found.set(code, (found.get(code) ?? 0) + 1);
      t.assert.fileSnapshot(`${each.input}==========\n${listOf(examined)}`, join(CORPUS, name), {
        serializers: [(value) => String(value)],
      });
      // A right one is named so, and whoever updates goldens cannot make it wrong unnoticed.
      if (name.startsWith("right-")) {
        assert.deepEqual(
          examined.findings.filter(({ severity }) => severity !== "note").map(({ code }) => code),
          [],
        );
      } else assert.notDeepEqual(examined.findings, []);
    });
  }

  test("shows every kind of finding at least once", () => {
    const missing = (Object.keys(CATALOGUE) as FindingCode[]).filter((code) => !found.has(code));
    assert.deepEqual(missing, []);
  });

  test("the documentation names every kind of finding, as severe as it is", () => {
    const page = readFileSync(join(import.meta.dirname, "../../../../docs/iis.md"), "utf8");
    const rows = Object.entries(CATALOGUE).map(([code, { severity, elsewhere = severity, certainty }]) =>
      ["", `\`${code}\``, severity, elsewhere === "hidden" ? "–" : elsewhere, certainty, ""]
        .join(" | ")
        .trim(),
    );
    assert.deepEqual(page.match(/^\| `[a-z-]+` \| [a-z]+ \| [a-z–]+ \| [a-z]+ \|$/gm), rows);
  });
});
