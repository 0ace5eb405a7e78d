import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { after, before, test } from "node:test";
import { findFreePort, findPortHolder, isPortFree } from "./ports.ts";

let server: Server;
let port: number;
before(async () => {
  server = createServer((_request, response) => response.end());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ({ port } = server.address() as AddressInfo);
});
after(() => server.close());

test("findPortHolder() names the process that listens, and nobody when there is none", async () => {
  // A client on the port must not be taken for the one who listens.
  const client = connect(port, "127.0.0.1");
  await once(client, "connect");
  assert.match((await findPortHolder(port)) ?? "", new RegExp(`^node\\S* \\(process ${process.pid}\\)$`));
  assert.equal(await findPortHolder(await findFreePort()), undefined);
  client.destroy();
});

test("isPortFree() tells a taken port from a free one", async () => {
  assert.equal(await isPortFree(port), false);
  assert.equal(await isPortFree(await findFreePort()), true);
});
