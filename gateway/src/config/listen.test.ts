import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Config } from "./config.ts";
import { parseConfig } from "./load.ts";

const TOKEN = "b6c1f6f0-7d27-4c55-8d92-0a6c3f4b8a11";
const STARTED = { ASPNETCORE_PORT: "31234", ASPNETCORE_TOKEN: TOKEN, ASPNETCORE_APPL_PATH: "/bus" };

function parse(
  listen: string,
  env: Readonly<Record<string, string>>,
  publicUrl = "https://apps.example.com/bus",
): Config | string {
  const text = `
public-url: ${publicUrl}
${listen}
trust-domain: example.com
issuers: { demo: { url: https://login.example.com, audience: a } }
nats: { servers: [ tls://n:4222 ], keys: keys }
policy: policy.yaml
audit: [ { file: audit.jsonl } ]
`;
  const parsed = parseConfig(text, { file: "/etc/countersign.yaml", env });
  return parsed.ok ? parsed.config : parsed.mistakes.map(({ text: mistake }) => mistake).join("\n");
}

describe("parseConfig(), started by ASP.NET Core Module V2", () => {
  test("notices it, and listens where IIS says, whether or not the file speaks of it", () => {
    for (const listen of ["", "listen: {}", "listen: { behind: iis-ancm }"]) {
      const config = parse(listen, STARTED);
      assert(typeof config === "object", String(config));
      const { host, port, behind } = config.listen as Config["listen"] & { readonly port: number };
      assert.deepEqual([host, port, behind?.kind], ["127.0.0.1", 31_234, "iis-ancm"]);
      const process = behind?.kind === "iis-ancm" ? behind.process : undefined;
      assert.deepEqual([process?.token(), process?.applicationPath], [TOKEN, "/bus"]);
      assert.doesNotMatch(JSON.stringify(config), new RegExp(TOKEN));
      assert.equal(config.limits.keepAliveTimeoutMs, 240_000);
    }
  });

  test("refuses a file that says otherwise, and says why", () => {
    assert.match(
      String(parse("listen: { address: 127.0.0.1:8480 }", STARTED)),
      /^listen\.address: IIS started this process \(ASPNETCORE_PORT is set\), and then IIS says where to listen/,
    );
    assert.match(
      String(parse("listen: { address: 127.0.0.1:8480, behind: proxy }", STARTED)),
      /^listen\.address: .*\nlisten\.behind: .*so that it is iis-ancm, or nothing; found proxy$/,
    );
  });

  test("refuses a public URL that lies elsewhere than the application, but for case and a slash at the end", () => {
    for (const path of ["/bus", "/Bus", "/bus/"]) {
      assert.equal(typeof parse("", { ...STARTED, ASPNETCORE_APPL_PATH: path }), "object", path);
    }
    assert.equal(
      typeof parse("", { ...STARTED, ASPNETCORE_APPL_PATH: "/" }, "https://bus.example.com"),
      "object",
    );
    for (const path of ["/", "/other", "/bus/x"]) {
      assert.match(
        String(parse("", { ...STARTED, ASPNETCORE_APPL_PATH: path })),
        /^public-url: its path is \/bus, and IIS runs this process as the application/,
        path,
      );
    }
  });

  test("is not started by it unless all three are set", () => {
    for (const name of Object.keys(STARTED)) {
      const env = { ...STARTED, [name]: "" };
      assert.equal(parse("listen: {}", env), "listen: expected exactly one of address and path", name);
      const config = parse("listen: { address: 127.0.0.1:8480 }", env);
      assert(typeof config === "object" && config.listen.behind === undefined, name);
    }
  });

  test("refuses what IIS never makes, without showing the token", () => {
    const wrong = {
      ASPNETCORE_PORT: ["0", "65536", "http", "80 "],
      ASPNETCORE_APPL_PATH: ["bus"],
      ASPNETCORE_TOKEN: ["set-in-web-config"],
    };
    for (const [name, values] of Object.entries(wrong)) {
      for (const value of values) {
        const text = String(parse("listen: {}", { ...STARTED, [name]: value }));
        assert.match(text, new RegExp(`listen: ${name}`), value);
        assert.doesNotMatch(text, /set-in-web-config/);
      }
    }
  });
});
