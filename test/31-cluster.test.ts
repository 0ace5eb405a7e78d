import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { IdentityProvider } from "@countersign/devstack/oidc.ts";
import { type Answer, openStream, send } from "./support.ts";
import { type ClusterGateway, startTestCluster, type TestCluster } from "./support-cluster.ts";
import { eventually } from "./support-operations.ts";

const POLICY = (subjects: string): string => `version: 1
roles:
  clerk: { given-to: [ { issuer: demo, groups: Orders.Clerks } ], may: [ ${subjects} ] }
  auditor: { given-to: [ { issuer: demo, groups: Audit } ], may: [ push-policy ] }
`;
const BOTH = POLICY("publish orders.>, subscribe orders.>");

let cluster: TestCluster;
let provider: IdentityProvider;
let first: ClusterGateway;
let second: ClusterGateway;

before(async () => {
  cluster = await startTestCluster({ policy: BOTH });
  ({ provider, first, second } = cluster);
});
after(() => cluster?.stop());

async function publish({ url }: ClusterGateway, body: string): Promise<Answer> {
  const token = provider.tokenFor("alice");
  return await send(`${url}/v1/publish?subject=orders.eu.1`, { method: "POST", token, body });
}

async function versionAt({ adminUrl }: ClusterGateway): Promise<unknown> {
  return (await send(`${adminUrl}/v1/policy`, { token: provider.tokenFor("carol") })).json().version;
}

test("a message published through one gateway is verified by the other", async () => {
  const token = provider.tokenFor("alice");
  const reader = await openStream(`${second.url}/v1/subscribe?subject=orders.%3E`, { token });
  const published = await publish(first, "1");
  assert.equal(published.status, 202, published.text);
  const [event] = await reader.read(1);
  reader.leave();
  const { verified, user } = (event?.data.sender ?? {}) as { verified?: boolean; user?: string };
  assert.deepEqual([verified, user], [true, "demo-alice"]);
});

test("a pushed policy ends what it no longer allows on both gateways, within two seconds", async () => {
  const token = provider.tokenFor("alice");
  const readers = await Promise.all(
    [first, second].map(({ url }) => openStream(`${url}/v1/subscribe?subject=orders.%3E`, { token })),
  );
  const began = performance.now();
  const pushed = await send(`${first.adminUrl}/v1/policy`, {
    method: "POST",
    token: provider.tokenFor("carol"),
    body: JSON.stringify({ files: [{ path: "policy.yaml", text: POLICY("publish orders.>") }] }),
  });
  assert.equal(pushed.status, 200, pushed.text);
  for (const reader of readers) {
    assert.deepEqual(await reader.ended, { event: "end", data: { code: "policy", reconnect: true } });
  }
  assert.ok(performance.now() - began < 2_000, "within two seconds");
  assert.equal(await versionAt(second), pushed.json().version);
});

test("a server that dies takes its gateway to another one, and policies still go live", async () => {
  const [home] = cluster.servers;
  await home?.stop();
  await eventually("publishing through the gateway whose server died", async () =>
    (await publish(first, "2")).status === 202 ? true : undefined,
  );
  const answer = await eventually("a majority that takes a push", async () => {
    const pushed = await send(`${second.adminUrl}/v1/policy`, {
      method: "POST",
      token: provider.tokenFor("carol"),
      body: JSON.stringify({ files: [{ path: "policy.yaml", text: BOTH }] }),
    });
    return pushed.status === 200 ? pushed.json() : undefined;
  });
  await eventually("the other gateway to follow", async () =>
    (await versionAt(first)) === answer.version ? true : undefined,
  );
});
