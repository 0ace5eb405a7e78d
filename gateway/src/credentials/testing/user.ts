import { type Auth, connect, type NatsConnection } from "@nats-io/transport-node";
import type { EpochSeconds } from "../../time.ts";
import { encodeNatsJwt } from "../nats-jwt.ts";
import type { GatewayUser } from "../nats-keys.ts";
import type { Nkey } from "../nkey.ts";

/** A user who is no gateway's: it may publish and read `a`, and needs no proxy. */
export function plainUserJwt(of: {
  readonly signer: Nkey;
  readonly account: string;
  readonly userKey: Nkey;
  readonly now: EpochSeconds;
}): string {
  return encodeNatsJwt<"user">({
    name: "u",
    subject: of.userKey.publicKey,
    signer: of.signer,
    issuedAt: of.now,
    claims: {
      type: "user",
      issuer_account: of.account,
      pub: { allow: ["a"] },
      sub: { allow: ["a"] },
      subs: -1,
      data: -1,
      payload: -1,
    },
  });
}

/** Connects as this user, through the proxy whose key is given or through none. */
export function dialAs(
  servers: string,
  { jwt, userKey, inboxPrefix }: Pick<GatewayUser, "jwt" | "userKey" | "inboxPrefix">,
  proxyKey: Nkey | undefined,
): Promise<NatsConnection> {
  const sign = (key: Nkey, nonce: string): string => key.sign(nonce).toString("base64url");
  return connect({
    servers,
    reconnect: false,
    inboxPrefix,
    // nats.js copies what the authenticator returns into CONNECT, proxy_sig too.
    authenticator: (nonce = "") =>
      ({
        jwt,
        sig: sign(userKey, nonce),
        ...(proxyKey && { proxy_sig: sign(proxyKey, nonce) }),
      }) as Auth,
  });
}
