import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfigFile } from "./config-file.ts";
import { type Lock, lockOf } from "./locks.ts";
import { type PlacedFile, viewAt } from "./view.ts";

const SECTION = "system.webServer/webSocket";
const SET = "<system.webServer><webSocket /></system.webServer>";
const declared = (more: string): string =>
  `<configSections><sectionGroup name="system.webServer"><section name="webSocket" ${more} /></sectionGroup></configSections>`;
const location = (path: string, more: string, inside = SET): string =>
  `<location path="${path}" ${more}>${inside}</location>`;

function placed(base: string, kind: PlacedFile["kind"], text: string): PlacedFile {
  const config = parseConfigFile("x.config", Buffer.from(`<configuration>${text}</configuration>`));
  if ("why" in config) assert.fail(config.why);
  return { ...config, base, kind };
}

/** Of the section in the site's web.config, looked at from a place. */
function lockAt(host: string | undefined, place = "Site", site = SET): Lock {
  const files = [...(host === undefined ? [] : [placed("", "host", host)]), placed("Site", "web", site)];
  const view = viewAt(files, place, ["Site"]);
  const layer = view.layers.find(({ config }) => config.kind === "web") ?? assert.fail();
  return lockOf(view, SECTION, layer);
}

const OPEN: Lock = { kind: "open" };
const LOCKED: Lock = { kind: "locked", certain: true, hostOnly: false };

test("lockOf() takes the server's own declaration before what servers are installed with", () => {
  assert.deepEqual(lockAt(declared('overrideModeDefault="Allow"')), OPEN);
  assert.deepEqual(lockAt(declared("")), OPEN);
  assert.deepEqual(lockAt(declared('overrideModeDefault="Deny"')), LOCKED);
  assert.deepEqual(lockAt(""), LOCKED);
  assert.deepEqual(lockAt(undefined), { kind: "locked", certain: false, hostOnly: false });
  assert.deepEqual(lockAt(declared('overrideModeDefault="Allow" allowDefinition="AppHostOnly"')), {
    kind: "locked",
    certain: true,
    hostOnly: true,
  });
});

test("lockOf() is opened and closed by the locations above that have the section in them", () => {
  assert.deepEqual(lockAt(location("", 'overrideMode="Allow"')), OPEN);
  assert.deepEqual(lockAt(location("Site", 'overrideMode="allow"')), OPEN);
  assert.deepEqual(lockAt(location("site", 'allowOverride="true"')), OPEN);
  assert.deepEqual(
    lockAt(location("", 'overrideMode="Allow"') + location("Site", 'overrideMode="Deny"')),
    LOCKED,
  );
  assert.deepEqual(lockAt(location("Site", 'overrideMode="Allow"', "<system.webServer />")), LOCKED);
  assert.deepEqual(lockAt(location("Other", 'overrideMode="Allow"')), LOCKED);
});

test("lockOf() is not changed by a location further down, nor by one in the same file", () => {
  const open = location("Site", 'overrideMode="Allow"');
  assert.deepEqual(lockAt(open + location("Site/sub", 'overrideMode="Deny"'), "Site/sub"), OPEN);
  assert.deepEqual(lockAt("", "Site", SET + location(".", 'overrideMode="Allow"')), LOCKED);
});
