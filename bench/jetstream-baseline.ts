/**
 * What publishing to a stream over HTTP is measured against: nats.js doing the same directly, with as many messages in
 * flight. Run by bench/jetstream.ts as a process of its own.
 *
 * `node bench/jetstream-baseline.ts NATS_URL CREDS_FILE IN_FLIGHT SECONDS BODY`; prints messages a second and latencies
 * as one line of JSON.
 */
import { readFile } from "node:fs/promises";
import { jetstream } from "@nats-io/jetstream";
import { connect, credsAuthenticator } from "@nats-io/transport-node";

const WARM_UP_MS = 1_000;
const [url = "", credsFile = "", inFlight = "", seconds = "", body = ""] = process.argv.slice(2);
const connection = await connect({
  servers: url,
  authenticator: credsAuthenticator(await readFile(credsFile)),
});
const client = jetstream(connection);
const latencies: number[] = [];
const begun = performance.now() + WARM_UP_MS;
const end = begun + Number(seconds) * 1000;

async function publishOn(): Promise<void> {
  for (let now = performance.now(); now < end; now = performance.now()) {
    await client.publish("orders.eu.1.create", body, { expect: { streamName: "ORDERS" } });
    if (now >= begun) latencies.push(performance.now() - now);
  }
}

await Promise.all(Array.from({ length: Number(inFlight) }, publishOn));
await connection.close();
latencies.sort((a, b) => a - b);
const at = (part: number): number => latencies[Math.floor(latencies.length * part)] ?? 0;
console.log(
  JSON.stringify({ perSecond: latencies.length / Number(seconds), p50Ms: at(0.5), p99Ms: at(0.99) }),
);
