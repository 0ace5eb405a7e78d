/**
 * NATS permissions are no integrity boundary inside an account: what they let through reaches further than the
 * subject it is published to. Each attack here succeeds against nats-server alone, under the very permissions that
 * the attacker's Grant compiles to, and fails through the gateway.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { until } from "countersign/nats/testing/cluster.ts";
import { ATTACKED, attackInside, openVictim, type Victim } from "./attacks.ts";
import { nativeUrl } from "./native-client.ts";
import { openRaw } from "./raw-websocket.ts";
import { startTestStack, type TestStack } from "./support.ts";

const POLICY = `
version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may:
      - connect native${ATTACKED}
    limits: { connections: 5 }
`;

let stack: TestStack;
let victim: Victim;

before(async () => {
  stack = await startTestStack({ policy: POLICY });
  victim = await openVictim(stack);
});
after(() => stack?.stop());

async function attackThroughGateway(text: string): Promise<string> {
  const { webSocket } = await openRaw(nativeUrl(stack));
  const connect = { verbose: false, headers: true, protocol: 1, auth_token: stack.token("alice") };
  webSocket.send(`CONNECT ${JSON.stringify(connect)}\r\nPING\r\n`);
  const before = await webSocket.until(/PONG\r\n$/);
  webSocket.send(`SUB _INBOX.mine.> 1\r\n${text}PING\r\n`);
  const all = await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n$/);
  webSocket.close();
  return all.slice(before.length);
}

test("each attack fails through the gateway, and succeeds on nats-server alone", async (t) => {
  for (const one of victim.attacks) {
    // First, while nothing has been done yet that would look the same.
    await t.test(`${one.name}: not through the gateway`, async () => {
      const said = await victim.run(one, attackThroughGateway);
      if (one.refusal) assert.match(said, one.refusal);
      else assert.doesNotMatch(said, /-ERR/);
      assert.equal(await one.succeeded(), false);
    });

    await t.test(`${one.name}: but on nats-server alone, with the same permissions`, async () => {
      assert.equal(await victim.run(one, attackInside(stack, POLICY)), "", "nats-server takes it");
      await until(one.succeeded, 10_000);
    });
  }
});
