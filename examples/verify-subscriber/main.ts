/**
 * A back end that believes only sealed messages: it prints who sent what on `orders.>`, and why it refused the rest.
 *
 * Environment: ISSUER, the gateway's public URL; AUDIENCE, its trust domain; NATS_URL, default
 * nats://127.0.0.1:4222; CREDS, a credentials file, where the server asks for one; SUBJECT, default `orders.>`.
 */
import { readFile } from "node:fs/promises";
import { createVerifier, SealError } from "@countersign/seal";
import { connect, credsAuthenticator } from "@nats-io/transport-node";

const { ISSUER, AUDIENCE, NATS_URL = "nats://127.0.0.1:4222", CREDS, SUBJECT = "orders.>" } = process.env;
if (!ISSUER || !AUDIENCE) {
  console.error("Usage: ISSUER=https://apps.example.com/bus AUDIENCE=example.com node main.ts");
  process.exit(2);
}

const nc = await connect({
  servers: NATS_URL,
  ...(CREDS && { authenticator: credsAuthenticator(await readFile(CREDS)) }),
});
process.once("SIGINT", () => void nc.drain());
process.once("SIGTERM", () => void nc.drain());

// The five lines that a subscriber needs; seal/README.md shows them.
const verify = createVerifier({ issuer: ISSUER, audience: AUDIENCE });
for await (const msg of nc.subscribe(SUBJECT)) {
  try {
    const order = await verify(msg);
    console.log(order.sender.user, order.subject, order.text());
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    console.log("refused", error.code);
  }
}
