import { readFile } from "node:fs/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import { loadKeys, natsServersOf } from "../compose/from-config.ts";
import type { Config } from "../config/config.ts";
import { parseCreds } from "../credentials/creds.ts";
import { fileFaultOf, GatewayError } from "../errors.ts";
import { createDial, type NatsServers } from "../nats/dial.ts";
import { answerAs } from "../nats/gateway-user.ts";

/**
 * Connects as a user of one's own, by its credentials file.
 *
 * @throws GatewayError CONFIG_INVALID, NATS_UNREACHABLE, NATS_UNFIT
 */
export async function connectAs(
  servers: NatsServers,
  credsFile: string,
  name: string,
): Promise<NatsConnection> {
  const creds = parseCreds(await read(credsFile));
  if (typeof creds === "string") {
    throw new GatewayError("CONFIG_INVALID", `Cannot use ${credsFile} as credentials: ${creds}`);
  }
  const { jwt, userKey } = creds;
  return createDial(servers)({
    name,
    inboxPrefix: "_INBOX",
    answer: (nonce) => ({ jwt, sig: userKey.sign(nonce).toString("base64url") }),
  });
}

/** Connects as the gateway's own user in its account CONTROL, with the keys that the configuration names. */
export async function connectControl(config: Config, name: string): Promise<NatsConnection> {
  const { control, proxyKey } = await loadKeys(config);
  return createDial(natsServersOf(config))({
    name,
    inboxPrefix: control.inboxPrefix,
    answer: answerAs(control, proxyKey),
  });
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new GatewayError("CONFIG_INVALID", `Cannot read "${path}": ${fileFaultOf(error)}`);
  }
}
