// A stock WebSocket client: connects, asks the inventory, and prints what came of it.
import { jwtAuthenticator, tokenAuthenticator, wsconnect } from "@nats-io/nats-core";

interface Options {
  readonly url: string;
  readonly token: string;
  readonly sentinelJwt?: string;
  readonly inboxPrefix: string;
}

const { url, token, sentinelJwt, inboxPrefix } = JSON.parse(process.argv[2] ?? "{}") as Options;

try {
  const connection = await wsconnect({
    servers: url,
    inboxPrefix,
    reconnect: false,
    authenticator: [
      ...(sentinelJwt === undefined ? [] : [jwtAuthenticator(sentinelJwt)]),
      tokenAuthenticator(token),
    ],
  });
  const reply = await connection.request("inventory.check", "{}", { timeout: 10_000 });
  console.log(JSON.stringify({ reply: reply.string() }));
  await connection.close();
} catch (error) {
  console.log(JSON.stringify({ error: String(error) }));
}
