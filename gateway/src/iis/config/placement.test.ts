import assert from "node:assert/strict";
import { test } from "node:test";
import { GatewayError } from "../../errors.ts";
import { parseConfigFile } from "./config-file.ts";
import { placeFiles, type SourceFile } from "./placement.ts";

function file(path: string, text: string): SourceFile {
  const config = parseConfigFile(path, Buffer.from(text));
  if ("why" in config) assert.fail(config.why);
  return { config, folder: path.replace(/[\\/][^\\/]*$/, "") };
}

const WEB = "<configuration />";
const site = (name: string, ...applications: readonly string[]): string =>
  `<site name="${name}">${applications
    .map(
      (path) =>
        `<application path="${path}"><virtualDirectory path="/" physicalPath="%SystemDrive%\\sites\\${name}${path.replace("/", "\\")}" /></application>`,
    )
    .join("")}</site>`;
const host = (...sites: readonly string[]): SourceFile =>
  file(
    "/copies/applicationHost.config",
    `<configuration><system.applicationHost><sites>${sites.join("")}</sites></system.applicationHost></configuration>`,
  );

function basesOf(files: readonly SourceFile[], named?: string): readonly (readonly string[])[] {
  return placeFiles(files, named).map((group) => group.targets);
}

function whyNot(files: readonly SourceFile[], named?: string): string {
  try {
    placeFiles(files, named);
  } catch (error) {
    if (error instanceof GatewayError) return error.message;
    throw error;
  }
  return assert.fail("it was placed");
}

test("placeFiles() puts a file in a folder below another's below it, and strangers apart", () => {
  assert.deepEqual(
    basesOf([file("/c/a/bus/web.config", WEB), file("/c/a/web.config", WEB), file("/c/b/web.config", WEB)]),
    [["Site", "Site/bus"], ["Site"]],
  );
});

test("placeFiles() puts a web.config where the server has its folder, or into the only application", () => {
  assert.deepEqual(basesOf([file("/c/web.config", WEB), host(site("Bus", "/"))]), [["Bus"]]);
  const two = host(site("Shop", "/"), site("Bus", "/", "/v2"));
  assert.deepEqual(basesOf([file("C:\\sites\\bus\\v2\\web.config", WEB), two]), [["Bus/v2"]]);
  assert.deepEqual(basesOf([file("/c/web.config", WEB), two], "bus/V2"), [["Bus/v2"]]);
});

test("placeFiles() guesses nothing: it names the applications there are", () => {
  const two = host(site("Shop", "/"), site("Bus", "/"));
  assert.match(whyNot([file("/c/web.config", WEB), two]), /say --site with one of: "Shop", "Bus"/);
  assert.match(
    whyNot([file("/c/web.config", WEB), two], "Buss"),
    /no application Buss; there are: "Shop", "Bus"/,
  );
  assert.match(whyNot([file("/c/web.config", WEB)], "Bus"), /applicationHost\.config too/);
  assert.match(whyNot([two, two]), /one at a time/);
});

test("placeFiles() looks at every application when only the server's file is given", () => {
  const [group] = placeFiles([host(site("Shop", "/"), site("Bus", "/", "/v2"))], undefined);
  assert.deepEqual(group?.targets, ["", "Shop", "Bus", "Bus/v2"]);
});
