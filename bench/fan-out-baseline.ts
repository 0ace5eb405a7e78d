/**
 * What fan-out is measured against: a bare HTTP server that writes what comes from NATS to each of its responses, as it
 * is. Run by bench/fan-out.ts as a process of its own.
 *
 * `node bench/fan-out-baseline.ts NATS_URL CREDS_FILE SUBJECT`; prints its port as one line.
 */
import { readFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { connect, credsAuthenticator } from "@nats-io/transport-node";

const [url = "", credsFile = "", subject = ""] = process.argv.slice(2);
const nats = await connect({ servers: url, authenticator: credsAuthenticator(await readFile(credsFile)) });
const responses = new Set<ServerResponse>();
nats.subscribe(subject, {
  callback: (_, { data }) => {
    for (const response of responses) response.write(data);
  },
});
const server = createServer((_, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" }).write(": open\n\n");
  responses.add(response);
  response.on("close", () => responses.delete(response));
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
