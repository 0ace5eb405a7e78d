/**
 * An unmodified NATS client comes in over a WebSocket under the identity of its token: what it publishes is sealed, what
 * it may not do is refused in nats-server's own words, and renewals go on behind its back.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TRUST_DOMAIN } from "@countersign/devstack/stack.ts";
import { createVerifier, remoteKeySet } from "@countersign/seal";
import { headers, type Msg, type NatsConnection, wsconnect } from "@nats-io/nats-core";
import { startTestStack, type TestStack } from "./support.ts";

const POLICY = `
version: 1
subjects:
  lab.token.>: { seal: token, audit: durable }
roles:
  everybody:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may:
      - connect native
      - publish lab.>
      - subscribe lab.>
      - subscribe work.> queue workers
      - publish work.>
      - request inventory.check
      - request echo.>
      - respond echo.>
    limits: { payload: 1MiB }
`;

let stack: TestStack;
before(async () => {
  stack = await startTestStack({ policy: POLICY });
});
after(() => stack?.stop());

function natsUrl(): string {
  return `${stack.gatewayUrl.replace("http", "ws")}/v1/nats`;
}

async function connected(who: "alice" | "bob"): Promise<NatsConnection> {
  return await wsconnect({ servers: natsUrl(), token: stack.token(who), reconnect: false });
}

test("a stock client publishes, subscribes and requests, and its messages verify", async () => {
  const nc = await connected("alice");
  const verify = createVerifier({
    issuer: stack.gatewayUrl,
    audience: TRUST_DOMAIN,
    keys: remoteKeySet({ url: `${stack.gatewayUrl}/.well-known/jwks.json` }),
  });
  const seen: Msg[] = [];
  const sub = nc.subscribe("lab.>");
  await nc.flush();
  const h = headers();
  h.set("Kind", "apples");
  nc.publish("lab.one", "1", { headers: h });
  nc.publish("lab.token.two", "2");
  for await (const msg of sub) if (seen.push(msg) === 2) break;
  const [one, two] = await Promise.all(seen.map((msg) => verify(msg)));
  assert.equal(one?.sender.user, "demo-alice");
  assert.equal(two?.sender.user, "demo-alice");
  assert.equal(seen[0]?.headers?.get("Kind"), "apples");
  const reply = await nc.request("inventory.check", "apples", { timeout: 5_000 });
  assert.ok(reply.data.length > 0);
  await nc.drain();
});
