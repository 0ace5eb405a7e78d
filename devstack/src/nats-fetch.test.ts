import assert from "node:assert/strict";
import { test } from "node:test";
import { findDebianArchives } from "./nats-fetch-debian.ts";
import { fetchNatsRelease } from "./nats-fetch-release.ts";

const DEB822 = `Types: deb
# a comment inside the stanza
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://vendor.example/debian
Suites: bookworm
Components: stable
`;

test("findDebianArchives() finds the archive of the machine's own release and no other vendor's", () => {
  const found = findDebianArchives(new Map([["debian.sources", DEB822]]), "bookworm");
  assert.deepEqual(found, [
    {
      uris: "http://mirror.example/debian",
      signedBy: "/usr/share/keyrings/debian-archive-keyring.gpg",
    },
  ]);
});

test("findDebianArchives() keeps a key that stands in the sources themselves", () => {
  const stanza =
    "Types: deb\nURIs: http://m.example/debian\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN\n .\n -----END\n";
  const found = findDebianArchives(new Map([["a.sources", stanza]]), undefined);
  assert.deepEqual(found, [{ uris: "http://m.example/debian", signedBy: "\n -----BEGIN\n .\n -----END" }]);
});

test("findDebianArchives() reads one-line sources with their options", () => {
  const list = [
    "# deb http://commented.example/debian bookworm main",
    "deb-src http://m.example/debian bookworm main",
    "deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm main contrib # why",
    "deb http://security.example/debian-security bookworm-security main",
  ].join("\n");
  const found = findDebianArchives(new Map([["/etc/apt/sources.list", list]]), "bookworm");
  assert.deepEqual(found, [{ uris: "http://m.example/debian", signedBy: "/k.gpg" }]);
});

test("fetchNatsRelease() uses nothing whose hash is not the pinned one", async () => {
  const asked: string[] = [];
  const download = async (url: string): Promise<Uint8Array> => {
    asked.push(url);
    return Buffer.from("something else");
  };
  const target = "/nonexistent/nats-server";
  const fetching = fetchNatsRelease({ target, progress: () => {}, platform: "win32-x64", download });
  await assert.rejects(fetching, /has SHA-256 [0-9a-f]{64}, expected 2d0861dc/);
  assert.match(asked[0] ?? "", /\/v2\.15\.0\/nats-server-v2\.15\.0-windows-amd64\.zip$/);
});

test("fetchNatsRelease() says so when no archive is pinned for the platform", async () => {
  const fetching = fetchNatsRelease({ target: "/nonexistent", progress: () => {}, platform: "aix-ppc64" });
  await assert.rejects(fetching, { message: "no official archive is pinned for aix-ppc64" });
});
