/**
 * One rule, enforced twice: what the gateway refuses, nats-server refuses too, given the credential that is minted
 * from the same grant; and that credential is worth nothing in other hands.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { NatsConnection } from "@nats-io/transport-node";
import { loadNatsKeys, type NatsKeys } from "countersign/credentials/nats-keys.ts";
import { createNkey, type Nkey } from "countersign/credentials/nkey.ts";
import { inboxPrefixOf, mintCredential } from "countersign/credentials/user.ts";
import type { Identity } from "countersign/identity/identity.ts";
import { createDial } from "countersign/nats/dial.ts";
import { compileGrant } from "countersign/policy/compile.ts";
import type { Grant } from "countersign/policy/grant.ts";
import { parsePolicy } from "countersign/policy/parse.ts";
import { permissionsOf } from "countersign/policy/permissions.ts";
import { queryOf, startTestStack, type TestStack } from "./support.ts";
import { connectByHand } from "./wire-client.ts";

let stack: TestStack;
let keys: NatsKeys;
let identity: Identity;
let grant: Grant;
before(async () => {
  stack = await startTestStack();
  keys = await loadNatsKeys(join(stack.stateDir, "nats"));
  const now = Date.now() / 1000;
  identity = {
    user: "demo-alice",
    issuer: "demo",
    id: "alice",
    kind: "user",
    attributes: { groups: ["Orders.Clerks"], region: ["eu"] },
    proof: { kind: "bearer", hash: "a".repeat(43) },
    provedAt: now,
    expiresAt: now + 600,
  };
  const text = readFileSync(stack.policyFile, "utf8");
  const parsed = parsePolicy([{ path: stack.policyFile, text }]);
  assert(parsed.ok);
  grant = compileGrant(parsed.policy, identity, now);
});
after(() => stack?.stop());

function mint(
  userKey: Nkey,
  now: number = Date.now() / 1000,
): { readonly jwt: string; readonly inboxPrefix: string } {
  const inboxPrefix = inboxPrefixOf(keys.clusterSecret.subkey("inbox"), identity, grant);
  const minted = mintCredential({
    identity,
    grant,
    permissions: permissionsOf(grant, inboxPrefix),
    userPublicKey: userKey.publicKey,
    signer: { accountPublicKey: keys.account, signingKey: keys.signingKey },
    now,
    inboxPrefix,
    controlLineBytesMax: 1_000_000,
  });
  assert(minted.ok);
  return minted.value;
}

interface Hands {
  readonly proxyKey?: Nkey | undefined;
  readonly now?: number;
}

/** Connects as the gateway does, or as somebody who has less than it. */
async function connectWith({ proxyKey, now }: Hands): Promise<NatsConnection> {
  const userKey = createNkey("user");
  const { jwt, inboxPrefix } = mint(userKey, now);
  return await createDial({ servers: [stack.nats.url] })({
    name: "test",
    inboxPrefix,
    answer: (nonce) => ({
      jwt,
      sig: userKey.sign(nonce).toString("base64url"),
      ...(proxyKey && { proxy_sig: proxyKey.sign(nonce).toString("base64url") }),
    }),
  });
}

/** @returns whether nats-server lets it through */
async function isTaken(connection: NatsConnection, act: () => void): Promise<boolean> {
  let refusals = 0;
  const watching = (async () => {
    for await (const { type } of connection.status()) {
      if (type === "error") refusals += 1;
      if (type === "close") break;
    }
  })();
  act();
  await connection.flush();
  await new Promise((resolve) => setImmediate(resolve));
  await connection.close();
  await watching;
  return refusals === 0;
}

describe("the gateway and nats-server give the same answer", () => {
  const publishing = [
    "orders.eu.1.create",
    "orders.eu.4711.create",
    "payments.eu.1.authorize",
    "inventory.check",
    "orders.us.1.create",
    "orders.eu.1.delete",
    "orders.eu.1.create.x",
    "orders.eu.create",
    "payments.eu.1.void",
    "payments.us.1.authorize",
    "notices.demo-alice.stock",
    "notices.demo-bob.stock",
    "other",
  ];
  for (const subject of publishing) {
    test(`publish ${subject}`, async () => {
      const answer = await stack.call(`/v1/publish?${queryOf([subject])}`, {
        method: "POST",
        token: stack.token("alice"),
      });
      // A request needs the right to publish, and nats-server knows only that one.
      const request = subject === "inventory.check";
      const connection = await connectWith({ proxyKey: keys.proxyKey });
      const taken = await isTaken(connection, () => connection.publish(subject, ""));
      assert.equal(taken, answer.status === 202 || request, `${answer.status}`);
    });
  }

  const subscribing = [
    "orders.eu.>",
    "orders.eu.1.create",
    "notices.demo-alice.>",
    "notices.demo-alice.stock",
    "orders.>",
    "orders.us.>",
    "orders.*.1.create",
    "notices.>",
    "notices.demo-bob.>",
    "payments.eu.>",
    "inventory.check",
  ];
  for (const subject of subscribing) {
    test(`subscribe ${subject}`, async () => {
      const sent = { token: stack.token("alice") };
      const reader = await stack.stream([subject], sent).catch(() => undefined);
      reader?.leave();
      const connection = await connectWith({ proxyKey: keys.proxyKey });
      const taken = await isTaken(connection, () => connection.subscribe(subject, { callback: () => {} }));
      assert.equal(taken, reader !== undefined);
    });
  }
});

describe("a credential in other hands", () => {
  test("is refused without the gateway's proof that it is the proxy", async () => {
    const mine = await connectWith({ proxyKey: keys.proxyKey });
    await mine.close();
    await assert.rejects(connectWith({}), { code: "NATS_UNREACHABLE", message: /[Aa]uthorization/ });
  });

  test("is refused with another proxy's proof", async () => {
    const proxyKey = createNkey("account");
    await assert.rejects(connectWith({ proxyKey }), {
      code: "NATS_UNREACHABLE",
      message: /[Aa]uthorization/,
    });
  });

  test("is refused when only the JWT was stolen, and another key signs", async () => {
    const { jwt } = mint(createNkey("user"));
    await assert.rejects(connectByHand(stack.nats.url, jwt, createNkey("user")), /Authorization|closed/);
  });

  test("is refused when it has expired, whoever presents it", async () => {
    const now = Date.now() / 1000 - grant.limits.credentialSeconds - 10;
    await assert.rejects(connectWith({ proxyKey: keys.proxyKey, now }), { code: "NATS_UNREACHABLE" });
  });
});
