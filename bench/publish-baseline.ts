/**
 * What `POST /v1/publish` is measured against: a bare HTTP server that publishes each body to NATS, with no
 * identity, policy, seal or record. Run by bench/publish.ts as a process of its own.
 *
 * `node bench/publish-baseline.ts NATS_URL CREDS_FILE plain|coalesced`; prints its port as one line of JSON.
 */
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { connect, credsAuthenticator } from "@nats-io/transport-node";

const [url = "", credsFile = "", form = ""] = process.argv.slice(2);
const nats = await connect({ servers: url, authenticator: credsAuthenticator(await readFile(credsFile)) });

function answer(response: ServerResponse): void {
  response.writeHead(202, { "content-type": "application/json" });
  response.end('{"ok":true}');
}

function answerPlain(body: Buffer, response: ServerResponse): void {
  nats.publish("orders.eu.1.create", body);
  answer(response);
}

/** What one turn of the event loop brought is published, and answered, together at its end. */
let turn: { body: Buffer; response: ServerResponse }[] = [];
function answerCoalesced(body: Buffer, response: ServerResponse): void {
  if (turn.push({ body, response }) > 1) return;
  setImmediate(() => {
    const ended = turn;
    turn = [];
    for (const each of ended) nats.publish("orders.eu.1.create", each.body);
    for (const each of ended) answer(each.response);
  });
}

const take = form === "coalesced" ? answerCoalesced : answerPlain;
const server = createServer((request: IncomingMessage, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () =>
    take(chunks.length === 1 ? (chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(chunks), response),
  );
});
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ port: (server.address() as AddressInfo).port, pid: process.pid }));
});
process.on("SIGTERM", () => process.exit(0));
