import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { claimOf } from "../../hop/headers.ts";
import { openSignedIdentity } from "../../hop/signed-identity.ts";

const here = (name: string): string => join(import.meta.dirname, name);

interface Vector {
  readonly name: string;
  readonly milliseconds: string;
  readonly nonce: string;
  readonly method: string;
  readonly authenticationType: string;
  readonly sid: string;
  readonly account: string;
  readonly certificateHash: string;
  readonly how: string;
  readonly groups: readonly string[];
  readonly header: string;
}

const { key, vectors } = JSON.parse(readFileSync(here("vectors.json"), "utf8")) as {
  readonly key: string;
  readonly vectors: readonly Vector[];
};
const keys = [Buffer.from(key, "base64")];

for (const vector of vectors) {
  test(`openSignedIdentity() reads from the vector "${vector.name}" what went into it`, () => {
    const outcome = openSignedIdentity(vector.header, keys);
    assert(outcome.ok, JSON.stringify(outcome));
    const { account, certificateHash = "", ...signed } = outcome.value;
    assert.deepEqual(signed, {
      signedAt: 1_790_000_100.123,
      nonce: vector.nonce,
      method: vector.method,
    });
    assert.equal(certificateHash, vector.certificateHash);
    assert.equal(account?.sid ?? "", vector.sid);
    assert.equal(account?.name ?? "", vector.account);
    assert.equal(account?.authenticationType ?? "", vector.authenticationType);
    const groups = account?.groups ?? [];
    assert.deepEqual(
      groups === "left-out"
        ? groups
        : groups.map(({ sid, name }) => (name === undefined ? sid : `${sid}\t${name}`)),
      vector.how === "left-out" ? "left-out" : vector.groups,
    );
  });
}

const hasMono = ["mcs", "mono"].every((name) => spawnSync(name, ["--version"]).status === 0);
const skip = hasMono
  ? false
  : "NO MONO (mcs, mono): the C# of the identity module IS NOT COMPILED; install mono-mcs, mono-runtime, libmono-system-web4.0-cil";

describe("the module in C#", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-module-"));
  after(() => rmSync(folder, { recursive: true }));
  const program = join(folder, "vectors.exe");

  function run(...args: readonly string[]): string {
    const [what = "", ...rest] = args;
    const encoded = rest.map((each) => Buffer.from(each).toString("base64"));
    return execFileSync("mono", [program, what, ...encoded], { encoding: "utf8" }).trimEnd();
  }

  test("compiles as C# 5, without a warning", () => {
    const references = ["-r:System.Web.dll", "-r:System.Configuration.dll", "-r:System.Core.dll"];
    const sources = [here("CountersignIdentity.cs"), here("testing/Vectors.cs")];
    const options = ["-langversion:5", "-warn:4", "-warnaserror", `-out:${program}`, ...references];
    const { status, stdout, stderr } = spawnSync("mcs", [...options, ...sources], { encoding: "utf8" });
    assert.equal(status, 0, stdout + stderr);
  });

  test("signs every vector byte for byte as it is written down", () => {
    for (const vector of vectors) {
      const { milliseconds, nonce, method, authenticationType, sid, account, certificateHash, how, groups } =
        vector;
      const fields = [milliseconds, nonce, method, authenticationType, sid, account, certificateHash, how];
      assert.equal(run("seal", key, ...fields, ...groups), vector.header, vector.name);
    }
  });

  test("keeps line feeds and tabs out of what it signs, so that a name cannot be a line", () => {
    const fields = [
      "1790000100123",
      "0".repeat(32),
      "GET",
      "NTLM",
      "S-1-5-21-1-2-3-4",
      "CORP\\a\nS-1-5-32-544\tx\u0085",
    ];
    const outcome = openSignedIdentity(run("seal", key, ...fields, "", "none"), keys);
    assert.equal(outcome.ok && outcome.value.account?.name, "CORP\\aS-1-5-32-544x");
  });

  test("takes away what claims to be ours, as the gateway refuses it; but the proof, which a rewrite rule sets", () => {
    const names = [
      "Countersign-Identity",
      "COUNTERSIGN_identity",
      "MS-ASPNETCORE-TOKEN",
      "ms_aspnetcore_x",
      "X-ARR-ClientCert",
    ];
    names.push(
      "X-MS-CLIENT-PRINCIPAL",
      "X-MS-Client-Principal-Name",
      "X_MS_TOKEN_AAD_ID_TOKEN",
      "X-IIS-WindowsAuthToken",
    );
    names.push(
      "Accept",
      "Cookie",
      "X-Forwarded-For",
      "X-ARR-LOG-ID",
      "Countersign-Request",
      "X-MS-Other",
      "Msg-x",
      "Host",
    );
    const answers = run("ours", ...names).split("\n");
    assert.deepEqual(
      answers,
      names.map((name) => String(claimOf(name) !== undefined)),
    );
    assert.equal(run("ours", "Countersign-Proof"), "false");
    assert.equal(claimOf("Countersign-Proof"), "countersign-proof");
  });
});
