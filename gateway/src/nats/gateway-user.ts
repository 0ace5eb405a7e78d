import type { NatsConnection } from "@nats-io/transport-node";
import type { GatewayUser } from "../credentials/nats-keys.ts";
import type { Nkey } from "../credentials/nkey.ts";
import type { Answer, Dial } from "./dial.ts";

/** How a user of the gateway's own shows who it is, on each connection anew. */
export function answerAs(user: GatewayUser, proxyKey: Nkey | undefined): (nonce: string) => Answer {
  return (nonce) => ({
    ...(user.jwt === "" ? { nkey: user.userKey.publicKey } : { jwt: user.jwt }),
    sig: user.userKey.sign(nonce).toString("base64url"),
    ...(proxyKey && { proxy_sig: proxyKey.sign(nonce).toString("base64url") }),
  });
}

/**
 * Connects a user of the gateway's own for as long as the gateway runs: it reconnects by itself.
 *
 * @throws GatewayError `NATS_UNREACHABLE`, `NATS_UNFIT`
 */
export function dialGatewayUser({
  dial,
  user,
  proxyKey,
  name,
}: {
  readonly dial: Dial;
  readonly user: GatewayUser;
  /** Absent where no proxy is trusted. */
  readonly proxyKey?: Nkey;
  /** Shown in nats-server's list of connections. */
  readonly name: string;
}): Promise<NatsConnection> {
  const answer = answerAs(user, proxyKey);
  return dial({ name, inboxPrefix: user.inboxPrefix, reconnect: true, answer });
}

/** @returns what says in words why this connection is of no use now, or undefined */
export function followConnection(connection: NatsConnection): () => string | undefined {
  let unready: string | undefined;
  async function watch(): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type === "disconnect") unready = "the connection is lost";
      else if (type === "reconnect") unready = undefined;
    }
    unready = "the connection is closed";
  }
  void watch();
  return () => unready;
}
