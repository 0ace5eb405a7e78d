import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";

/** What only a server that is not sound would say. */
export interface FakeServer {
  readonly url: string;
  readonly received: () => string;
  readonly close: () => void;
}

/**
 * Says it is a nats-server with this INFO, and PONG to every PING.
 *
 * @param info  undefined: says nothing at all
 */
export async function startFakeServer(
  info: Readonly<Record<string, unknown>> | undefined,
  port = 0,
): Promise<FakeServer> {
  let received = "";
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    const said = { server_id: "X", max_payload: 1_000, headers: true, proto: 1, ...info };
    if (info) socket.write(`INFO ${JSON.stringify(said)}\r\n`);
    socket.on("data", (chunk) => {
      received += chunk.toString();
      if (chunk.includes("PING")) socket.write("PONG\r\n");
    });
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received: () => received,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
