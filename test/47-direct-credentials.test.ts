import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { connect, jwtAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { crossingsOf } from "countersign/credentials/crossings.ts";
import { loadNatsKeys } from "countersign/credentials/nats-keys.ts";
import { createNkey, type Nkey } from "countersign/credentials/nkey.ts";
import { until } from "countersign/nats/testing/cluster.ts";
import { ATTACKED, attackInside, openVictim, pub, type Victim } from "./attacks.ts";
import type { Answer, Call } from "./support.ts";
import { type CalloutStack, CONFIG_SET_UPS, type SetUp, startCalloutStack } from "./support-callout.ts";
import { signInAs } from "./support-operations.ts";
import { connectByHand } from "./wire-client.ts";

interface Issued {
  readonly jwt: string;
  readonly servers: readonly string[];
  readonly inboxPrefix: string;
  readonly expires: string;
}

function ask(stack: CalloutStack, how: Call): Promise<Answer> {
  return stack.call("/v1/credentials", { method: "POST", ...how });
}

async function issue(stack: CalloutStack, key: Nkey, how: Call): Promise<Issued> {
  const answer = await ask(stack, { ...how, body: key.publicKey });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers["cache-control"], "no-store");
  return answer.json() as unknown as Issued;
}

/** As a stock client does. */
function use(stack: CalloutStack, { jwt, inboxPrefix }: Issued, key: Nkey): Promise<NatsConnection> {
  const authenticator = jwtAuthenticator(jwt, Buffer.from(key.exportSeed()));
  return connect({ servers: stack.nats.url, inboxPrefix, authenticator, reconnect: false });
}

describe("POST /v1/credentials", () => {
  let stack: CalloutStack;
  before(async () => {
    stack = await startCalloutStack();
  });
  after(() => stack?.stop());

  test("gives a stock client a credential for its own key, and every connect is judged", async () => {
    const key = createNkey("user");
    const issued = await issue(stack, key, { token: stack.token("alice") });
    assert.deepEqual(issued.servers, [stack.websocketUrl]);
    assert.match(issued.inboxPrefix, /^_INBOX\.[A-Z2-7]{32}$/);
    assert.ok(Date.parse(issued.expires) > Date.now());
    const asked = Promise.withResolvers<string>();
    const watch = stack.admin.subscribe("inventory.check", {
      callback: (_, message) => asked.resolve(message.headers?.get("Nats-Request-Info") ?? "{}"),
    });
    await stack.admin.flush();
    for (const time of [1, 2]) {
      const connection = await use(stack, issued, key);
      const reply = await connection.request("inventory.check", "{}", { timeout: 10_000 });
      assert.match(reply.string(), /inStock/);
      await connection.close();
      assert.partialDeepStrictEqual(
        (await stack.callouts(time)).at(-1),
        { action: "connect direct", outcome: "allowed", user: "demo-alice", proof: { kind: "bearer" } },
        `time ${time}`,
      );
    }
    watch.unsubscribe();
    const info = await asked.promise;
    assert.match(info, /"user":"demo-alice - bearer:/);
    assert.doesNotMatch(
      info,
      /Orders\.Clerks/,
      "what the identity has besides is not the services' business",
    );
  });

  test("is worth nothing without its key, and nothing once it is over", async () => {
    const key = createNkey("user");
    const now = Math.floor(Date.now() / 1000);
    const token = stack.token("alice", { claims: { iat: now, exp: now + 6 } });
    const issued = await issue(stack, key, { token });
    // nats-server says nothing for as long as its timeout, since it asks the callout of an account it has not come to.
    const theft = assert.rejects(use(stack, issued, createNkey("user")), /Authorization Violation/);
    const connection = await use(stack, issued, key);
    assert.match(String(await connection.closed()), /Authentication Expired/);
    await assert.rejects(use(stack, issued, key), /Authorization Violation|Authentication Expired/);
    await theft;
  });

  test("refuses what is no key of a user's, and whoever may not connect directly", async () => {
    const token = stack.token("alice");
    const key = createNkey("user").publicKey;
    const bodies: readonly (readonly [string, Call["headers"], number])[] = [
      ["", {}, 400],
      [`${key}\n`, {}, 400],
      [key.toLowerCase(), {}, 400],
      [`${key.slice(0, 20)}${key[20] === "A" ? "B" : "A"}${key.slice(21)}`, {}, 400],
      [createNkey("account").publicKey, {}, 400],
      [createNkey("user").exportSeed(), {}, 400],
      [JSON.stringify({ nkey: key }), { "content-type": "application/json" }, 415],
    ];
    for (const [body, headers, status] of bodies) {
      const answer = await ask(stack, { token, body, headers: headers ?? {} });
      assert.equal(answer.status, status, `${body}: ${answer.text}`);
    }
    assert.equal((await ask(stack, { body: key })).status, 401);
    assert.equal((await ask(stack, { token: stack.token("carol"), body: key })).status, 403);
    const limited = await ask(stack, { token: stack.token("bob"), body: key });
    assert.equal(limited.status, 403);
    assert.match(String(limited.json().detail), /limits your rate/);
    assert.equal((await stack.call("/v1/credentials", { token })).status, 404);
  });

  test("is over with the session it was given for: its holder is cut, and stays out", async () => {
    const key = createNkey("user");
    const session = await signInAs("alice", stack.gatewayUrl);
    const issued = await issue(stack, key, { headers: session.headers });
    const connection = await use(stack, issued, key);
    const out = await stack.call("/auth/logout", { method: "POST", headers: session.headers });
    assert.ok(out.status < 400, out.text);
    await connection.closed();
    await assert.rejects(use(stack, issued, key), /Authorization Violation/);
    const [record] = await stack.callouts(1);
    assert.match(JSON.stringify(record), /"reason":"(proof_revoked|session_unknown)"/);
  });

  test("a request of another site gets none for the cookie that comes with it", async () => {
    const { cookie } = await signInAs("alice", stack.gatewayUrl);
    const headers = { cookie, origin: "https://evil.example", "sec-fetch-site": "cross-site" };
    const answer = await ask(stack, { headers, body: createNkey("user").publicKey });
    assert.equal(answer.status, 403, answer.text);
  });
});

test("where accounts stand in the server's configuration, the credential is shown as a token", async () => {
  const stack = await startCalloutStack({ setUp: CONFIG_SET_UPS.at(-1) as SetUp });
  try {
    const key = createNkey("user");
    const { jwt, inboxPrefix } = await issue(stack, key, { token: stack.token("alice") });
    const as = (signer: Nkey) =>
      connect({
        ...{ servers: stack.nats.url, inboxPrefix, reconnect: false },
        authenticator: (nonce = "") => ({
          auth_token: jwt,
          sig: signer.sign(nonce).toString("base64url"),
        }),
      });
    const connection = await as(key);
    assert.match((await connection.request("inventory.check", "{}")).string(), /inStock/);
    await connection.close();
    await assert.rejects(as(createNkey("user")), /Authorization Violation/);
    assert.partialDeepStrictEqual((await stack.callouts(1))[0], { refusal: { reason: "proof_invalid" } });

    // Signed out, its holder is cut here as well, and stays out.
    const session = await signInAs("alice", stack.gatewayUrl);
    const issued = await issue(stack, key, { headers: session.headers });
    const show = (nonce = "") => ({
      auth_token: issued.jwt,
      sig: key.sign(nonce).toString("base64url"),
    });
    const open = await connect({ servers: stack.nats.url, reconnect: false, authenticator: show });
    await stack.call("/auth/logout", { method: "POST", headers: session.headers });
    await open.closed();
    await assert.rejects(
      connect({ servers: stack.nats.url, reconnect: false, authenticator: show }),
      /Authorization Violation/,
    );
  } finally {
    await stack.stop();
  }
});

describe("the boundary between WEB and CORE", () => {
  const policy = `version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may:
      - connect direct
      - request inventory.check
      - subscribe notices.{user}.>${ATTACKED}
`;
  let stack: CalloutStack;
  let victim: Victim;
  before(async () => {
    const crossings = crossingsOf({
      requests: ["inventory.check", "stock.wipe"],
      subscriptions: ["notices.>"],
      streams: ["ORDERS"],
      buckets: ["carts"],
    });
    assert.ok(typeof crossings !== "string");
    stack = await startCalloutStack({ policy, crossings });
    victim = await openVictim(stack);
  });
  after(() => stack?.stop());

  /** As a client that connects by itself, in the account WEB. */
  async function attackAcross(text: string): Promise<string> {
    const key = createNkey("user");
    const { jwt } = await issue(stack, key, { token: stack.token("alice") });
    const client = await connectByHand(stack.nats.url, jwt, key);
    client.send(text.replace(/\r\n$/, ""));
    const { errors } = await client.flush();
    client.close();
    return errors.join();
  }

  test("each attack fails across it, and succeeds inside one account with the same permissions", async (t) => {
    for (const one of victim.attacks) {
      // First, while nothing has been done yet that would look the same.
      await t.test(`${one.name}: not from WEB into CORE`, async () => {
        for (const api of ["core.API", "$JS.API"]) {
          await victim.run(one, attackAcross, api);
          await victim.settled();
          assert.equal(await one.succeeded(), false, api);
        }
      });

      await t.test(`${one.name}: but inside CORE`, async () => {
        assert.equal(await victim.run(one, attackInside(stack, policy)), "", "nats-server takes it");
        await until(one.succeeded, 10_000);
      });
    }
  });

  test("what is imported can be asked through the answer of another service, and is told that it was", async () => {
    const asked = Promise.withResolvers<string>();
    stack.admin.subscribe("stock.wipe", {
      callback: (_, message) => asked.resolve(message.headers?.get("Nats-Request-Info") ?? "{}"),
    });
    await stack.admin.flush();
    assert.match(await attackAcross(pub("stock.wipe", "")), /Permissions Violation for Publish/);
    // Not a right that alice has; the answer of a service that she may ask goes there as if the service had sent it.
    assert.equal(await attackAcross(pub("inventory.check", "stock.wipe", "{}")), "");
    const { acc } = JSON.parse(await asked.promise) as { readonly acc: string };
    const { account, direct } = await loadNatsKeys(join(stack.stateDir, "nats"));
    assert.equal(acc, account, "so a service takes requests of the account WEB alone");
    assert.notEqual(acc, direct?.account);
  });

  test("what is imported works: a consumer that is there is read, a key, and what is published", async () => {
    const key = createNkey("user");
    const issued = await issue(stack, key, { token: stack.token("alice") });
    const connection = await use(stack, issued, key);
    const notice = connection.subscribe("notices.demo-alice.>", { max: 1 });
    await connection.flush();
    await (await new Kvm(stack.admin).open("carts")).put("demo-alice.x", "two apples");
    stack.admin.publish("notices.demo-alice.hello", "hi");
    for await (const message of notice) assert.equal(message.string(), "hi");
    const value = await connection.request("core.API.DIRECT.GET.KV_carts.$KV.carts.demo-alice.x", "");
    assert.equal(value.string(), "two apples");
    await jetstream(stack.admin).publish("orders.eu.5", "new");
    const client = jetstream(connection, { apiPrefix: "core.API" });
    const consumer = await client.consumers.get("ORDERS", "demo-alice-billing");
    const order = await consumer.next({ expires: 10_000 });
    assert.match(order?.subject ?? "", /^orders\.eu\./);
    assert.equal(await order?.ackAck({ timeout: 10_000 }), true);
    await connection.close();
  });
});
