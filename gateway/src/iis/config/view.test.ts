import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfigFile } from "./config-file.ts";
import { attributeAt, entriesAt, type PlacedFile, viewAt } from "./view.ts";
import { attributeOf } from "./xml.ts";

function placed(base: string, text: string): PlacedFile {
  const config = parseConfigFile(
    `${base || "host"}.config`,
    Buffer.from(`<configuration>${text}</configuration>`),
  );
  if ("why" in config) assert.fail(config.why);
  return { ...config, base, kind: base === "" ? "host" : "web" };
}

const mode = (value: string): string =>
  `<system.webServer><httpErrors existingResponse="${value}" /></system.webServer>`;
const at = (path: string, inner: string, more = ""): string =>
  `<location path="${path}"${more}>${inner}</location>`;

function modeAt(
  files: readonly PlacedFile[],
  path: string,
  applications: readonly string[] = [],
): string | undefined {
  return attributeAt(viewAt(files, path, applications), "system.webServer/httpErrors", "existingResponse")
    ?.value;
}

test("viewAt() lets the nearest file count, and within one level the file before the locations above it", () => {
  const host = placed(
    "",
    mode("server") + at("Site", mode("server-for-site")) + at("Site/bus", mode("server-for-bus")),
  );
  const root = placed("Site", mode("site") + at("bus/healthz", mode("site-for-healthz")));
  const bus = placed("Site/bus", mode("bus"));
  assert.equal(modeAt([host], ""), "server");
  assert.equal(modeAt([host], "site"), "server-for-site");
  assert.equal(modeAt([host, root], "Site"), "site");
  assert.equal(modeAt([host, root], "Site/bus"), "server-for-bus");
  assert.equal(modeAt([host, root, bus], "SITE/BUS"), "bus");
  assert.equal(modeAt([host, root, bus], "Site/bus/healthz"), "site-for-healthz");
  assert.equal(modeAt([host, root, bus], "Site/busy"), "site");
  assert.equal(modeAt([host], "Other"), "server");
});

test("viewAt() takes location . for the place itself, and stops at child applications where it is told to", () => {
  const root = placed("Site", at(".", mode("own"), ' inheritInChildApplications="false"'));
  assert.equal(modeAt([root], "Site"), "own");
  assert.equal(modeAt([root], "Site/folder"), "own");
  assert.equal(modeAt([root], "Site/bus", ["Site", "Site/bus"]), undefined);
  assert.equal(modeAt([root], "Site/bus/healthz", ["Site", "Site/bus"]), undefined);
});

test("entriesAt() adds to what is inherited, takes away, and begins anew after clear", () => {
  const list = (inner: string): string => `<system.webServer><modules>${inner}</modules></system.webServer>`;
  const files = [
    placed("", list('<add name="A" /><add name="B" />')),
    placed("Site", list('<remove name="a" /><add name="C" />')),
    placed("Site/bus", list('<clear /><add name="D" />')),
  ];
  const names = (path: string): readonly (string | undefined)[] =>
    entriesAt(viewAt(files, path, []), "system.webServer/modules", { add: "add", key: "name" }).map(
      ({ element }) => attributeOf(element, "name"),
    );
  assert.deepEqual([names(""), names("Site"), names("Site/bus")], [["A", "B"], ["B", "C"], ["D"]]);
});
