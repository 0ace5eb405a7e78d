import assert from "node:assert/strict";
import { test } from "node:test";
import { GatewayError, type GatewayErrorCode } from "../errors.ts";
import { createDial, type NatsServers, unfitVersion } from "./dial.ts";
import { startFakeServer } from "./testing/fake-server.ts";

function coded(code: GatewayErrorCode, message: RegExp) {
  return (error: unknown) =>
    error instanceof GatewayError && error.code === code && message.test(error.message);
}

const dialAs = { name: "test", inboxPrefix: "_INBOX.x", answer: () => ({ jwt: "j", sig: "s" }) };

async function withFakeServer(
  info: Record<string, unknown> | undefined,
  run: (url: string, received: () => string) => Promise<void>,
): Promise<void> {
  const { url, received, close } = await startFakeServer(info);
  try {
    await run(url, received);
  } finally {
    close();
  }
}

test("createDial() takes addresses it can dial safely, and says which it cannot", () => {
  const right: NatsServers[] = [
    { servers: ["nats://127.0.0.1:4222"] },
    { servers: ["nats://localhost", "nats://[::1]:4222"] },
    { servers: ["tls://nats.example.com:4222"] },
    { servers: ["nats://nats.example.com"], tls: {} },
    { servers: ["nats://nats.example.com"], dangerouslyAllowPlaintext: true },
  ];
  for (const options of right) assert.equal(typeof createDial(options), "function");
  const wrong: [NatsServers, RegExp][] = [
    [{ servers: [] }, /1–32/],
    [{ servers: ["nats://nats.example.com:4222"] }, /unencrypted.*tls:\/\/nats\.example\.com:4222/],
    [{ servers: ["nats://127.0.0.1.example.com"] }, /unencrypted/],
    [{ servers: ["nats://user:secret@127.0.0.1"] }, /without user name/],
    [{ servers: ["http://127.0.0.1"] }, /nats:\/\/host:port/],
    [{ servers: ["127.0.0.1:4222"] }, /nats:\/\/host:port/],
    [{ servers: ["nats://127.0.0.1"], dialTimeoutMs: 1 }, /dialTimeoutMs must be 100–60000, found 1/],
  ];
  for (const [options, message] of wrong)
    assert.throws(() => createDial(options), coded("CONFIG_INVALID", message), JSON.stringify(options));
  assert.throws(
    () => createDial({ servers: ["nats://user:secret@127.0.0.1"] }),
    (error) => error instanceof Error && !error.message.includes("secret"),
  );
});

test("dial() does not use a server that would accept a stolen credential", async () => {
  await withFakeServer({ version: "2.10.27", nonce: "n" }, async (url) => {
    await assert.rejects(
      createDial({ servers: [url] })(dialAs),
      coded("NATS_UNFIT", /2\.10\.27 may not be used: 2\.12\.8 or later/),
    );
  });
});

test("dial() shows its credential to no server that sends no nonce", async () => {
  await withFakeServer({ version: "2.15.1" }, async (url, received) => {
    await assert.rejects(createDial({ servers: [url] })(dialAs), coded("NATS_UNFIT", /no nonce/));
    assert.equal(received(), "");
  });
});

test("dial() sends nothing to a server without TLS when TLS was asked for", async () => {
  await withFakeServer({ version: "2.15.1", nonce: "n" }, async (url, received) => {
    const dial = createDial({ servers: [url.replace("nats:", "tls:")] });
    await assert.rejects(dial(dialAs), coded("NATS_UNREACHABLE", /tls/));
    assert.equal(received(), "");
  });
});

test("dial() gives up on a server that says nothing", async () => {
  await withFakeServer(undefined, async (url) => {
    const dial = createDial({ servers: [url], dialTimeoutMs: 100 });
    await assert.rejects(dial(dialAs), coded("NATS_UNREACHABLE", /timeout/i));
  });
});

test("unfitVersion() knows what is older, also among pre-releases and words", () => {
  for (const version of ["2.12.8", "2.12.9-RC.1", "2.13.0", "2.15.1", "3.0.0"])
    assert.equal(unfitVersion(version), undefined, version);
  for (const version of [undefined, "", "2.12.7", "2.12.8-beta.1", "2.9.99", "1.15.1", "latest"])
    assert.match(unfitVersion(version) ?? "", /may not be used/, String(version));
});
