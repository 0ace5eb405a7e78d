import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { after, before, test } from "node:test";
import { createVerifier, payloadDigest, sealTree, staticKeySet } from "@countersign/seal";
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { type NatsServer, startNatsServer } from "./nats-server.ts";
import { runSubscriber } from "./subscriber.ts";

const ISSUER = "http://127.0.0.1:8480";
const AUDIENCE = "demo.example";
const SUBJECT = "orders.eu.1.create";

let server: NatsServer;
let connection: NatsConnection;
before(async () => {
  server = await startNatsServer({ config: "" });
  connection = await connect({ servers: server.url });
});
after(async () => {
  await connection.close();
  await server.stop();
});

test("runSubscriber() prints who sent what it verified, and the code of what it refuses", async () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const now = Date.now() / 1000;
  const jwk = {
    ...createPublicKey(privateKey).export({ format: "jwk" }),
    kid: "k",
    alg: "ES256",
    use: "sig",
    nbf: Math.floor(now) - 60,
    exp: Math.floor(now) + 60,
  };
  const verify = createVerifier({
    issuer: ISSUER,
    audience: AUDIENCE,
    keys: staticKeySet({ keys: [jwk] }),
  });
  const publish = (sealed: string, sent: string, id: string): void => {
    const draft = {
      issuer: ISSUER,
      audience: AUDIENCE,
      workload: "countersign/test",
      txn: "019c0000-0000-7000-8000-000000000000",
      user: "demo-alice",
      scope: "publish:orders.eu.*.create",
      subject: SUBJECT,
      digest: payloadDigest(Buffer.from(sealed)),
      id,
      headers: [],
      requestId: "r",
    };
    const sealHeaders = headers();
    for (const [name, value] of sealTree({ kid: "k", privateKey }, [draft], now).seals[0] ?? []) {
      sealHeaders.set(name, value);
    }
    connection.publish(SUBJECT, sent, { headers: sealHeaders });
  };

  const lines: string[] = [];
  const running = runSubscriber({ connection, verify, print: (line) => lines.push(line) });
  await connection.flush();
  publish("three apples", "three apples", "one");
  publish("three apples", "all the apples", "two");
  connection.publish(SUBJECT, "no seal");
  publish("\u001b[2Jgone", "\u001b[2Jgone", "three");
  await connection.drain();
  await running;
  assert.deepEqual(lines, [
    `✓ ${SUBJECT}  alice (demo-alice)  three apples`,
    `✗ ${SUBJECT}  refused: payload_changed`,
    `✗ ${SUBJECT}  refused: seal_missing`,
    `✓ ${SUBJECT}  alice (demo-alice)  �[2Jgone`,
  ]);
});
