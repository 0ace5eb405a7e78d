import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startNatsServer } from "@countersign/devstack/nats-server.ts";
import { connect, tokenAuthenticator, usernamePasswordAuthenticator } from "@nats-io/transport-node";
import { loadNatsKeys, type NatsKeys } from "countersign/credentials/nats-keys.ts";
import { createNkey, type Nkey } from "countersign/credentials/nkey.ts";
import { mintCredential } from "countersign/credentials/user.ts";
import type { Identity } from "countersign/identity/identity.ts";
import { connect as connectMqtt, type MqttClient } from "mqtt";
import {
  type CalloutStack,
  CONFIG_SET_UPS,
  OPERATOR_SET_UPS,
  runWebSocketClient,
  type SetUp,
  startCalloutStack,
} from "./support-callout.ts";
import { eventually, runCommand } from "./support-operations.ts";

for (const setUp of [...CONFIG_SET_UPS, ...OPERATOR_SET_UPS]) {
  describe(`auth callout, ${setUp.name}`, () => {
    let stack: CalloutStack;
    before(async () => {
      stack = await startCalloutStack({ setUp });
    });
    after(() => stack.stop());

    test("a token in auth_token lets nats.js in, under the permissions of its user", async () => {
      const token = stack.token("alice");
      const connection = await stack.direct({ token, inboxPrefix: await stack.inboxPrefixOf(token) });
      const subscription = connection.subscribe("orders.eu.>", { max: 1 });
      connection.publish("orders.eu.1.create", "x");
      for await (const message of subscription) assert.equal(message.subject, "orders.eu.1.create");
      await assert.rejects(
        connection.request("orders.us.1.create", "x", { timeout: 2_000 }),
        /Permissions Violation for Publish to "orders.us.1.create"/,
      );
      await connection.close();
      const [record] = await stack.callouts(1);
      assert.partialDeepStrictEqual(record, {
        action: "connect direct",
        outcome: "allowed",
        user: "demo-alice",
        remote: "127.0.0.1",
        connection: { type: "standard" },
        rule: { text: "connect direct" },
      });
    });

    test("a token as password does, and a service in the other account is told whose it is", async () => {
      const token = stack.token("alice");
      const inboxPrefix = await stack.inboxPrefixOf(token);
      const connection = await stack.direct({ token, as: "password", inboxPrefix });
      const asked = Promise.withResolvers<string>();
      const watch = stack.admin.subscribe("inventory.check", {
        callback: (_, message) => asked.resolve(message.headers?.get("Nats-Request-Info") ?? "{}"),
      });
      await stack.admin.flush();
      const reply = await connection.request("inventory.check", "{}", { timeout: 10_000 });
      assert.match(reply.string(), /inStock/);
      const info = JSON.parse(await asked.promise) as Readonly<Record<string, unknown>>;
      assert.match(String(info.user), /^demo-alice - bearer:/);
      watch.unsubscribe();
      await connection.close();
    });

    test("nats.js over WebSocket gets in", async () => {
      const token = stack.token("alice");
      const answer = await runWebSocketClient({
        url: stack.websocketUrl,
        token,
        sentinelJwt: stack.sentinelJwt,
        inboxPrefix: await stack.inboxPrefixOf(token),
      });
      assert.match(String(answer.reply), /inStock/);
      assert.partialDeepStrictEqual((await stack.callouts(1))[0], { connection: { type: "websocket" } });
    });

    // It has no place for a sentinel besides its token.
    if (setUp.defaultSentinel)
      test("an MQTT client gets in with a token as password", async () => {
        const client = await mqtt(stack, stack.token("alice"));
        const received = new Promise<string>((resolve) => {
          client.on("message", (topic, payload) => resolve(`${topic} ${payload.toString()}`));
        });
        await client.subscribeAsync("orders/eu/1", { qos: 1 });
        await client.publishAsync("orders/eu/1", "hello", { qos: 1 });
        assert.equal(await received, "orders/eu/1 hello");
        await client.endAsync();
        const record = (await stack.callouts(1))[0];
        assert.partialDeepStrictEqual(record, { action: "connect mqtt", connection: { type: "mqtt" } });
      });

    test("what the gateway carries itself comes and goes as ever", async () => {
      const token = stack.token("alice");
      const reader = await stack.stream(["orders.eu.>"], { token });
      const published = await stack.call("/v1/publish?subject=orders.eu.7.create", {
        method: "POST",
        token,
        body: "{}",
      });
      assert.equal(published.status, 202, published.text);
      const [event] = await reader.read(1);
      assert.partialDeepStrictEqual(event?.data, { sender: { user: "demo-alice", verified: true } });
      reader.leave();
    });

    test("whoever is refused is told Authorization Violation and no more, while the record says why", async () => {
      const now = Math.floor(Date.now() / 1000);
      const refusals: readonly (readonly [string, string])[] = [
        [stack.token("alice", { claims: { exp: now - 60, iat: now - 120 } }), "proof_expired"],
        [stack.token("alice", { claims: { aud: "somebody-else" } }), "audience_mismatch"],
        [stack.token("alice", { claims: { iss: "https://evil.example" } }), "issuer_unknown"],
        [`${stack.token("alice").slice(0, -8)}AAAAAAAA`, "proof_invalid"],
        ["nothing", "proof_invalid"],
        ["", "proof_missing"],
        [stack.token("carol"), "not_granted"],
        [stack.token("bob"), "limit_unenforceable"],
      ];
      for (const [token, reason] of refusals) {
        await assert.rejects(stack.direct({ token }), /Authorization Violation/, reason);
        const [record] = await stack.callouts(1);
        assert.partialDeepStrictEqual(record, { outcome: "refused", refusal: { reason } });
        const logged = `${reason} (txn ${record?.txn})`;
        await eventually(
          `${logged} in the server's log`,
          () => stack.nats.log().includes(logged) || undefined,
        );
      }
    });
  });
}

async function mqtt(stack: CalloutStack, password: string): Promise<MqttClient> {
  const client = connectMqtt(stack.mqttUrl, { username: "anybody", password, reconnectPeriod: 0 });
  await new Promise<void>((resolve, reject) => {
    client.once("connect", () => resolve());
    client.once("error", reject);
  });
  return client;
}

describe("auth callout, accounts in the server's configuration", () => {
  let stack: CalloutStack;
  let keys: NatsKeys;
  before(async () => {
    stack = await startCalloutStack({ setUp: CONFIG_SET_UPS.at(-1) as SetUp });
    keys = await loadNatsKeys(join(stack.stateDir, "nats"));
  });
  after(() => stack.stop());

  /** As the gateway mints one for a connection of its own. */
  function carried(changes: Partial<Parameters<typeof mintCredential>[0]> = {}) {
    const userKey = createNkey("user");
    const now = Date.now() / 1000;
    const identity: Identity = {
      ...{ user: "demo-alice", issuer: "demo", id: "alice", kind: "user", attributes: {} },
      ...{ proof: { kind: "bearer", hash: "h" }, provedAt: now, expiresAt: now + 60 },
    };
    const limits = { credentialSeconds: 60, payloadBytes: 1_000_000, connections: 5 };
    const minted = mintCredential({
      identity,
      grant: { user: "demo-alice", policy: "p", hash: "h", roles: [], may: [], never: [], limits },
      permissions: { pub: { allow: ["a"] }, sub: { deny: [">"] } },
      userPublicKey: userKey.publicKey,
      signer: { signingKey: keys.signingKey, accountPublicKey: undefined },
      ...{ now, inboxPrefix: "_INBOX.x", controlLineBytesMax: 100_000 },
      ...changes,
    });
    assert.ok(minted.ok);
    return { jwt: minted.value.jwt, userKey };
  }

  function dial({ jwt, userKey }: ReturnType<typeof carried>, proxy: Nkey | undefined, signs = userKey) {
    return connect({
      ...{ servers: stack.nats.url, reconnect: false },
      authenticator: (nonce = "") => ({
        ...{ auth_token: jwt, sig: signs.sign(nonce).toString("base64url") },
        ...(proxy && { proxy_sig: proxy.sign(nonce).toString("base64url") }),
      }),
    });
  }

  test("a credential for what the gateway carries is good through the gateway's proxy key alone", async () => {
    const credential = carried();
    await (await dial(credential, keys.proxyKey)).close();
    const before = stack.audit().length;
    // The thief has the JWT and even the user's key: nats-server refuses what the callout allows.
    await assert.rejects(dial(credential, undefined), /Authorization Violation/);
    await assert.rejects(dial(credential, createNkey("user")), /Authorization Violation/);
    assert.equal(stack.audit().length, before, "what its callers ask for is recorded, not how it is carried");
    await assert.rejects(dial(credential, keys.proxyKey, createNkey("user")), /Authorization Violation/);
    const [record] = await stack.callouts(1);
    assert.partialDeepStrictEqual(record, { outcome: "refused", refusal: { reason: "proof_invalid" } });
    const foreign = carried({ signer: { signingKey: createNkey("account"), accountPublicKey: undefined } });
    await assert.rejects(dial(foreign, keys.proxyKey), /Authorization Violation/);
    const withoutProxy = carried({ dangerouslyWithoutTrustedProxy: true });
    await assert.rejects(dial(withoutProxy, keys.proxyKey), /Authorization Violation/);
  });

  test("doctor finds everything in order", async () => {
    const { code, out } = await runCommand(["doctor", "--config", stack.configFile]);
    assert.equal(code, 0, out);
    assert.match(out, /^ok +auth callout +the gateway's user that answers it is let in$/m);
  });

  test("proofs of two users at once are nobody's", async () => {
    const authenticator = [
      tokenAuthenticator(stack.token("alice")),
      usernamePasswordAuthenticator("anybody", stack.token("carol")),
    ];
    await assert.rejects(stack.direct({ authenticator }), /Authorization Violation/);
    const [record] = await stack.callouts(1);
    assert.partialDeepStrictEqual(record, { outcome: "refused", refusal: { reason: "proof_ambiguous" } });
  });
});

describe("auth callout, what is not let in", () => {
  test("an address and a kind of connection that are not configured are refused, whoever it is", async () => {
    const elsewhere = await startCalloutStack({ direct: "sources: [ 10.0.0.0/8, 'fd00::/8' ]" });
    try {
      await assert.rejects(elsewhere.direct({ token: elsewhere.token("alice") }), /Authorization Violation/);
      assert.partialDeepStrictEqual((await elsewhere.callouts(1))[0], {
        user: "demo-alice",
        refusal: { reason: "source_refused", remote: "127.0.0.1" },
      });
    } finally {
      await elsewhere.stop();
    }
    const websocket = await startCalloutStack({
      direct: "sources: [ 127.0.0.0/8 ], connections: [ websocket ]",
    });
    try {
      const token = websocket.token("alice");
      await assert.rejects(websocket.direct({ token }), /Authorization Violation/);
      assert.partialDeepStrictEqual((await websocket.callouts(1))[0], {
        user: "demo-alice",
        refusal: { reason: "connection_type_refused", type: "standard" },
      });
      const inboxPrefix = await websocket.inboxPrefixOf(token);
      const answer = await runWebSocketClient({ url: websocket.websocketUrl, token, inboxPrefix });
      assert.match(String(answer.reply), /inStock/);
    } finally {
      await websocket.stop();
    }
  });

  test("a leaf node comes in only where that is configured, and reaches what its user may", async () => {
    for (const direct of ["", "connections: [ standard, leafnode ]"]) {
      const stack = await startCalloutStack({ direct });
      const token = stack.token("alice");
      const url = `nats-leaf://anybody:${token}@127.0.0.1:${stack.leafPort}`;
      const leaf = await startNatsServer({ config: `leafnodes { remotes: [ { url: "${url}" } ] }` });
      try {
        const [record] = await stack.callouts(1);
        assert.partialDeepStrictEqual(record, { user: "demo-alice", connection: { type: "leafnode" } });
        if (direct === "") {
          assert.partialDeepStrictEqual(record, { refusal: { reason: "connection_type_refused" } });
          continue;
        }
        const reader = await stack.direct({ token });
        const behind = await connect({ servers: leaf.url });
        const arrived = reader.subscribe("orders.eu.>", { max: 1 });
        await reader.flush();
        // Once the leaf node has heard of the subscription, what it publishes goes there.
        const asked = setInterval(() => {
          for (const subject of ["orders.us.1", "secret.x", "orders.eu.1"]) behind.publish(subject);
        }, 50);
        for await (const message of arrived) assert.equal(message.subject, "orders.eu.1");
        clearInterval(asked);
        await behind.close();
        await reader.close();
      } finally {
        await leaf.stop();
        await stack.stop();
      }
    }
  });
});
