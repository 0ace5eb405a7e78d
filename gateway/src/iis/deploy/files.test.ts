import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { parseConfig } from "../../config/load.ts";
import { parseConfigFile } from "../config/config-file.ts";
import type { SourceFile } from "../config/placement.ts";
import { examineConfigs } from "../doctor/examine.ts";
import { applyAppcmd } from "../testing/appcmd.ts";
import { type DeployFile, deployFiles } from "./files.ts";
import { parseWish } from "./parse-wish.ts";
import { type Behind, type DeployWish, FILES, needsModule, placeOf, type SignIn } from "./wish.ts";

const MODULE = readFileSync(join(import.meta.dirname, "..", "module", "CountersignIdentity.cs"), "utf8");
const SERVER = readFileSync(join(import.meta.dirname, "..", "testing", "corpus", "server.config"), "utf8");
const SECRETS = { key: Buffer.alloc(32, 7).toString("base64"), proof: "P".repeat(43) };

interface Variant {
  readonly name: string;
  readonly wish: DeployWish;
}

function variant(behind: Behind, signIn: SignIn, place: "root" | "path"): Variant {
  const isPath = place === "path";
  return {
    name: `${behind}-${signIn}-${place}`,
    wish: parseWish({
      behind,
      signIn,
      publicUrl: isPath ? "https://apps.example.com/bus" : "https://bus.example.com",
      ...(isPath && { site: "Apps", pool: "Bus (apps)", origin: ["https://portal.example.com"] }),
      ...(isPath && signIn === "windows" && { group: ["CORP\\Order & Clerks", "CORP\\Prüfer"] }),
    }),
  };
}

const VARIANTS: readonly Variant[] = (["iis-ancm", "iis-arr"] as const).flatMap((behind) =>
  (["windows", "oidc", "certificates"] as const).flatMap((signIn) =>
    (["root", "path"] as const).map((place) => variant(behind, signIn, place)),
  ),
);

function textOf(files: readonly DeployFile[], path: string): string {
  return files.find((file) => file.path === path)?.text ?? assert.fail(`no ${path}`);
}

function source(path: string, text: string): SourceFile {
  const config = parseConfigFile(path, Buffer.from(text));
  if ("why" in config) assert.fail(`${path}: ${config.why}`);
  return { config, folder: `/deployed/${path}`.replace(/\/[^/]*$/, "") };
}

/** The server of the corpus, with a site of the kind that an application is put into. */
function serverWith(wish: DeployWish): string {
  const site = `<site name="${wish.site}" id="3"><application path="/"><virtualDirectory path="/" physicalPath="D:\\apps" /></application><bindings><binding protocol="https" bindingInformation="*:443:apps.example.com" /></bindings></site>`;
  return placeOf(wish) === wish.site
    ? SERVER
    : SERVER.replace("<siteDefaults>", () => `${site}<siteDefaults>`);
}

function golden(t: TestContext, name: string, files: readonly DeployFile[]): void {
  const text = files
    .filter(({ path }) => path !== FILES.module)
    .map((file) => `======== ${file.path}${file.secret ? " (secret)" : ""}\n${file.text}`)
    .join("\n");
  t.assert.fileSnapshot(text, join(import.meta.dirname, "golden", `${name}.txt`), {
    serializers: [(value) => String(value)],
  });
}

for (const { name, wish } of VARIANTS) {
  describe(name, () => {
    const files = deployFiles(wish, SECRETS, MODULE);
    const webConfig = source(FILES.webConfig, textOf(files, FILES.webConfig));

    test("deployFiles() writes what it always wrote", (t) => golden(t, name, files));

    test("its web.config is found right by the doctor, to the last note", () => {
      assert.deepEqual(examineConfigs([webConfig], { assumeGateway: false }).findings, []);
    });

    test("so is the server after its script, run once or twice", () => {
      const script = textOf(files, FILES.appcmd);
      let server = serverWith(wish);
      for (const _ of [1, 2]) {
        server = applyAppcmd(server, script, { PROOF: SECRETS.proof });
        const host = source("applicationHost.config", server);
        const { findings } = examineConfigs([webConfig, host], { assumeGateway: false, site: placeOf(wish) });
        // Below a site there are other applications, and that is the user's choice.
        const expected = placeOf(wish) === wish.site ? [] : ["shared-origin"];
        assert.deepEqual(
          findings.map(({ code }) => code),
          expected,
        );
      }
    });

    test("both scripts set the same", () => {
      assert.deepEqual(
        settingsOfPowershell(textOf(files, FILES.powershell)),
        settingsOfAppcmd(textOf(files, FILES.appcmd)),
      );
    });

    test("its part of countersign.yaml is taken by the gateway", () => {
      const yaml = `${textOf(files, FILES.gatewayConfig)}
trust-domain: example.com
nats: { servers: [ "tls://nats.example.com:4222" ], keys: secrets/nats }
policy: policy.yaml
${wish.signIn === "oidc" ? "issuers: { main: { url: https://login.example.com, audience: bus } }\n" : ""}`;
      const parsed = parseConfig(yaml, { file: "/deployed/countersign.yaml", probe: false });
      assert(parsed.ok, JSON.stringify(parsed));
      assert.equal(parsed.config.publicUrl, wish.publicUrl);
      assert.equal(parsed.config.listen.behind?.kind, wish.behind);
      const kinds = parsed.config.edgeIssuers.map(({ kind }) => kind);
      assert.equal(kinds.includes("windows"), needsModule(wish));
      assert.equal(kinds.includes("certificates"), wish.signIn === "certificates");
    });

    test("no secret stands in a file that others may read", () => {
      for (const { path, text, secret } of files) {
        const holds = text.includes(SECRETS.key) || text.includes(SECRETS.proof);
        assert.equal(holds, secret === true, path);
      }
    });
  });
}

/** `where what=value`, in order, of both scripts. */
function settingsOfAppcmd(script: string): readonly string[] {
  return script.split("\n").flatMap((line) => {
    const [, at = "", section = "", rest = ""] =
      /^%A% set config (?:"([^"]*)" )?-section:(\S+) (.*?) \/commit:apphost \|\| goto/.exec(line) ?? [];
    if (section === "") return [];
    const entry = /^\/\+"(.*)"$/.exec(rest)?.[1];
    if (entry === undefined) {
      return [...rest.matchAll(/\/(\w+):"([^"]*)"/g)].map(
        ([, key, value]) => `${at} ${section} ${key}=${value}`,
      );
    }
    return [...entry.slice(entry.lastIndexOf("[")).matchAll(/(\w+)='([^']*)'/g)].map(
      ([, key, value]) => `${at} ${section} +${key}=${value}`,
    );
  });
}

function settingsOfPowershell(script: string): readonly string[] {
  return script.split("\n").flatMap((line) => {
    const [, verb = "", at = "", filter = "", table = ""] =
      /^Set-(Attributes|Entry) '([^']*)' '((?:[^']|'')*)'(?: '\w+')? @\{ (.*) \}$/.exec(line) ?? [];
    const section = filter.replace(/\/(?:site|rewriteMap)\[.*$/, "");
    return [...table.matchAll(/(\w+) = (?:'([^']*)'|\$(\w+))/g)].map(
      ([, key, value, variable]) =>
        `${at} ${section} ${verb === "Entry" ? "+" : ""}${key}=${value ?? `%${variable?.toUpperCase()}%`}`,
    );
  });
}
