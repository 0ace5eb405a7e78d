import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { connect as connectMqtt, type MqttClient } from "mqtt";
import {
  type CalloutStack,
  OPERATOR_SET_UPS,
  runWebSocketClient,
  startCalloutStack,
} from "./support-callout.ts";
import { eventually } from "./support-operations.ts";

for (const setUp of OPERATOR_SET_UPS) {
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
});
