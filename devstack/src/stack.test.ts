import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { loadConfig } from "countersign/config/load.ts";
import { findFreePort, isPortFree } from "./ports.ts";
import { startStack } from "./stack.ts";

describe("startStack() without a gateway", () => {
  let stateDir: string;
  beforeEach(async () => {
    stateDir = await mkdtemp(join(tmpdir(), "stack-"));
  });
  afterEach(() => rm(stateDir, { recursive: true, force: true }));

  test("startStack() starts NATS, the stream ORDERS, the inventory service and the identity provider, and ends all of it", async () => {
    const stack = await startStack({ stateDir, gateway: false });
    const reply = await stack.admin.request("inventory.check", "apples");
    assert.deepEqual(JSON.parse(reply.string()), { article: "apples", inStock: 42 });
    const { config } = await (await jetstreamManager(stack.admin)).streams.info("ORDERS");
    assert.deepEqual(config.subjects, ["orders.>"]);
    const discovery = await fetch(`${stack.identityProvider.issuer}/.well-known/openid-configuration`);
    assert.equal(discovery.status, 200);
    const { publicUrl, issuers, audit } = await loadConfig(stack.configFile);
    assert.equal(publicUrl, stack.gatewayUrl);
    assert.equal(issuers[0]?.url, stack.identityProvider.issuer);
    assert.equal(issuers[0]?.client?.secret?.(), stack.identityProvider.gatewayClient.secret);
    assert.deepEqual(
      audit.map((target) => target.to === "file" && target.path),
      [stack.auditFile],
    );

    await stack.stop();
    await stack.stop();
    assert.deepEqual(
      [await isPortFree(stack.nats.port), await isPortFree(stack.identityProvider.port)],
      [true, true],
    );
  });

  test("startStack() takes the state of a former start: streams, keys, secrets", async () => {
    const first = await startStack({ stateDir, gateway: false });
    await first.admin.request("orders.eu.1.create", "kept").catch(() => {});
    await first.stop();
    const second = await startStack({ stateDir, gateway: false });
    const { state } = await (await jetstreamManager(second.admin)).streams.info("ORDERS");
    assert.equal(state.messages, 1);
    assert.deepEqual(second.identityProvider.gatewayClient, first.identityProvider.gatewayClient);
    await second.stop();
  });

  test("startStack() ends what had started when a later part does not start", async () => {
    const blocker = await startStack({ stateDir, gateway: false });
    const { port: taken } = blocker.identityProvider;
    const other = await mkdtemp(join(tmpdir(), "stack-"));
    const ports = { nats: await findFreePort(), identityProvider: taken };
    await assert.rejects(startStack({ stateDir: other, gateway: false, ports }), { code: "EADDRINUSE" });
    assert.equal(await isPortFree(ports.nats), true);
    await blocker.stop();
    await rm(other, { recursive: true });
  });
});
