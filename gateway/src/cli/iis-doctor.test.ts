import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, type TestContext, test } from "node:test";
import { type Ran, runIis } from "./testing/run-iis.ts";

const RIGHT =
  "<configuration>\n  <system.webServer>\n    <urlCompression />\n  </system.webServer>\n</configuration>\n";
const WRONG = `<configuration>
  <system.webServer>
    <!-- node --inspect -->
    <rewrite>
      <rules>
        <rule name="countersign">
          <match url="(.*)" />
          <serverVariables><set name="HTTP_X_USER" value="{LOGON_USER}" /></serverVariables>
          <action type="Rewrite" url="http://localhost:8480/{R:1}" />
        </rule>
      </rules>
    </rewrite>
  </system.webServer>
</configuration>
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "countersign-iis-doctor-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, text: string | Uint8Array): string {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), text);
  return name;
}

const run = (...args: readonly string[]): Promise<Ran> => runIis(["doctor", ...args], { cwd: folder });

function golden(t: TestContext, { out, err, code }: Ran, name: string): void {
  t.assert.fileSnapshot(
    `${out}${err}---------- exit ${code}\n`,
    join(import.meta.dirname, "golden", `iis-doctor-${name}.txt`),
    {
      serializers: [(value) => String(value)],
    },
  );
}

test("iis doctor says what is wrong, why, and what would be right", async (t) => {
  write("web.config", WRONG);
  golden(t, await run("web.config"), "wrong");
  golden(t, await run("web.config", "--json"), "wrong-json");
});

test("iis doctor says that nothing is wrong, and takes a folder for the files in it, by whatever case", async (t) => {
  write("site/Web.config", RIGHT);
  golden(t, await run("site"), "right");
  assert.deepEqual(JSON.parse((await run("site", "--json")).out), {
    ok: true,
    files: [join("site", "Web.config")],
    unread: [],
    findings: [],
  });
});

test("iis doctor exits with 2 for what it cannot read, and says what it found in the rest", async (t) => {
  write("a/web.config", "<configuration>\n  <a b=1 />\n</configuration>");
  write("b/web.config", WRONG);
  write("c/web.config", '<configuration xmlns:xdt="u"><a xdt:Transform="Insert" /></configuration>');
  write("d/web.config", '<!DOCTYPE configuration [<!ENTITY a "b">]>\n<configuration />');
  write("e/packages.config", "<packages />");
  const ran = await run("a", "b", "c", "d", join("e", "packages.config"), "--json");
  golden(t, ran, "unread-json");
  for (const paths of [["nowhere"], ["e"], ["b", "--site", "Bus"], []]) {
    const { code, out } = await run(...paths);
    assert.deepEqual([code, out], [2, ""], paths.join(" "));
  }
});

test("iis doctor teaches in its help", async (t) => {
  golden(t, await run("--help"), "help");
});
