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

  test("sends the groups that are asked for, and none of them when there are more than fit", () => {
    const clerks = "S-1-5-21-1-2-3-1201\tCORP\\OrderClerks";
    const groups = [clerks, "S-1-5-21-1-2-3-1299", "S-1-5-32-545\tBUILTIN\\Users"];
    const sent = (how: string, only: string, given = groups): readonly string[] =>
      run("groups", how, only, ...given).split("\n");
    assert.deepEqual(sent("none", ""), ["none"]);
    assert.deepEqual(sent("names", ""), ["all", ...groups]);
    assert.deepEqual(sent("sids", ""), ["all", "S-1-5-21-1-2-3-1201", "S-1-5-21-1-2-3-1299", "S-1-5-32-545"]);
    assert.deepEqual(sent("names", "corp\\orderclerks; S-1-5-21-1-2-3-1299"), [
      "all",
      clerks,
      "S-1-5-21-1-2-3-1299",
    ]);
    assert.deepEqual(sent("sids", "CORP\\OrderClerks"), ["all", "S-1-5-21-1-2-3-1201"]);
    const many = (count: number, name = ""): string[] =>
      Array.from({ length: count }, (_, n) => `S-1-5-21-1-2-3-${n}${name}`);
    assert.equal(sent("sids", "", many(200)).length, 201);
    assert.deepEqual(sent("sids", "", many(201)), ["left-out"]);
    // 9,000 bytes, counted as UTF-8.
    assert.equal(sent("names", "", many(60, `\t${"日".repeat(40)}`)).length, 61);
    assert.deepEqual(sent("names", "", many(66, `\t${"日".repeat(40)}`)), ["left-out"]);
  });

  test("takes no key that is too short to be one, and none that is no base64", () => {
    const answers = ["", "AAAA", Buffer.alloc(31).toString("base64"), "not base64!", key].map((text) =>
      run("key", text),
    );
    assert.deepEqual(answers, ["none", "none", "none", "none", "32"]);
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
