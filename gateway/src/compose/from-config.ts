import { hostname } from "node:os";
import type { Config } from "../config/config.ts";
import type { AccountSigner } from "../credentials/nats-jwt.ts";
import { loadNatsKeys, type NatsKeys } from "../credentials/nats-keys.ts";
import { type Nkey, parsePublicNkey } from "../credentials/nkey.ts";
import { GatewayError } from "../errors.ts";
import type { ControlStreamOptions } from "../nats/control-streams.ts";
import type { NatsServers } from "../nats/dial.ts";
import type { FitnessParts } from "../nats/fitness.ts";

/** One NATS subject token that differs between machines; instances on one machine are named in the configuration. */
export function instanceNameOf({ instance }: Config): string {
  if (instance !== undefined) return instance;
  const [name = ""] = hostname().split(".");
  return name.replaceAll(/[^A-Za-z0-9_-]/g, "-").slice(0, 64) || "gateway";
}

/**
 * @param nats.mode  absent when the configuration is wrong there
 * @throws GatewayError KEYS_INVALID, also when they were made for another kind of cluster than is configured
 */
export async function loadKeys({
  nats,
}: {
  readonly nats: Pick<Config["nats"], "keys"> & Partial<Pick<Config["nats"], "mode">>;
}): Promise<NatsKeys> {
  const keys = await loadNatsKeys(nats.keys);
  if (nats.mode !== undefined && keys.kind !== nats.mode) {
    const message = `Cannot use the keys in ${nats.keys}: made for \`mode: ${keys.kind}\`, and the configuration says ${nats.mode}`;
    throw new GatewayError("KEYS_INVALID", message);
  }
  return keys;
}

export function natsServersOf({ nats }: Config): NatsServers {
  const { ca, cert, key } = nats.tls ?? {};
  return {
    servers: nats.servers,
    dangerouslyAllowPlaintext: nats.dangerouslyAllowPlaintext,
    ...(nats.tls && {
      tls: { ...(ca && { ca: ca() }), ...(cert && { cert: cert() }), ...(key && { key: key() }) },
    }),
  };
}

export function controlStreamsOf({ session, nats }: Config): ControlStreamOptions {
  return {
    replicas: nats.replicas,
    proofLifeSecondsMax: Math.max(session.absoluteSeconds, TOKEN_LIFE_SECONDS_MAX),
    auditSeconds: 0,
  };
}

/** Access tokens that live longer than a day are beyond what signing out can promise to outlast. */
const TOKEN_LIFE_SECONDS_MAX = 86_400;

/** `init` writes 1 MB into the server's configuration; a hosted cluster has nats-server's own default. */
export const CONTROL_LINE_BYTES_MAX: Readonly<Record<Config["nats"]["mode"], number>> = {
  operator: 1_000_000,
  // The callout is asked with the credential in it and answered with one, both in base64, within max_payload.
  callout: 500_000,
  hosted: 4_096,
};

export function fitnessPartsOf(
  { nats }: Config,
  { keys, ...parts }: Pick<FitnessParts, "dial" | "control" | "clock"> & { readonly keys: NatsKeys },
): FitnessParts {
  return {
    ...parts,
    user: keys.control,
    ...(keys.proxyKey && { proxyKey: keys.proxyKey }),
    ...(keys.system && { system: keys.system }),
    controlLineBytesMax: CONTROL_LINE_BYTES_MAX[nats.mode],
  };
}

/** @param account  A…, or its name where accounts stand in the server's configuration */
export function signerOf(account: string, signingKey: Nkey): AccountSigner {
  const isDelegated = parsePublicNkey(account) !== undefined && signingKey.publicKey !== account;
  return { signingKey, accountPublicKey: isDelegated ? account : undefined };
}
