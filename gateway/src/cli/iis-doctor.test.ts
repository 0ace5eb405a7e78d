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
    truncated: false,
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

test("iis doctor hides nothing silently: it says that there is more, or what is too much", async () => {
  const many = (count: number, one: (index: number) => string): string =>
    Array.from({ length: count }, (_, index) => one(index)).join("\n");
  const web = (inside: string): string =>
    `<configuration><system.webServer>${inside}</system.webServer></configuration>`;
  write("many/web.config", web(`<httpErrors ${many(600, (index) => `a${index}="x"`)} />`));
  assert.match((await run("many")).out, /^500 errors in 1 file\nThere are more, which are not shown\.$/m);
  assert.equal(JSON.parse((await run("many", "--json")).out).truncated, true);
  const rule = (index: number): string =>
    `<rule name="r${index}"><match url="x" /><action type="None" /></rule>`;
  write("rules/web.config", web(`<rewrite><rules>${many(2_001, rule)}</rules></rewrite>`));
  const location = (index: number): string => `<location path="p${index}"><system.webServer /></location>`;
  write("places/web.config", `<configuration>${many(2_000, location)}</configuration>`);
  for (const [path, why] of [
    ["rules", /2001 rewrite rules at one place, at most 2000/],
    ["places", /2001 places at once, at most 2000/],
  ] as const) {
    const { code, out, err } = await run(path);
    assert.deepEqual([code, out], [2, ""]);
    assert.match(err, why);
  }
});

test("iis doctor teaches in its help", async (t) => {
  golden(t, await run("--help"), "help");
});
