import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { connect, type NatsConnection, type NodeConnectionOptions } from "@nats-io/transport-node";
import { GatewayError, messageOf } from "../errors.ts";

/** Where NATS is and how to reach it. Checked when built. */
export interface NatsServers {
  /** `nats://host:port` or `tls://host:port`, 1–32, without user names or passwords. */
  readonly servers: readonly string[];
  /** PEM texts: the authority to trust instead of the system's, and our own certificate where servers ask for one. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** How long one attempt may take until nats-server has accepted the credential, 100–60,000 ms. Default 5,000. */
  readonly dialTimeoutMs?: number;
  /** How often an idle connection is probed, so that a dead one is noticed within three; 100–120,000 ms. Default 10,000. */
  readonly pingIntervalMs?: number;
  /** Sends messages unencrypted over the network to servers that are not on this machine. */
  readonly dangerouslyAllowPlaintext?: boolean;
}

/** What goes into CONNECT beside the options: a credential and the proofs that we hold its keys. */
export type Answer = Shown & {
  /** base64url of the user key's Ed25519 signature over the nonce. */
  readonly sig: string;
  /** base64url of the trusted proxy's signature over the nonce (ADR-55); absent on clusters without one. */
  readonly proxy_sig?: string;
};

type Shown =
  | { readonly jwt: string }
  /** A credential for the auth callout, where the server itself takes none. */
  | { readonly auth_token: string }
  /** U…: a user that the server knows by its key. */
  | { readonly nkey: string };

export interface DialAs {
  /** Shown by nats-server's monitoring. */
  readonly name: string;
  readonly inboxPrefix: string;
  /** Called for the nonce of every (re)connect; throwing ends the connection for good. */
  readonly answer: (nonce: string) => Answer;
  /** `host:port` to try first, so that a renewal meets the same server; or to try last, because it is leaving. */
  readonly first?: string;
  readonly last?: string;
  /** Reconnects for ever by itself. Default false: a lost connection is closed, and dialled anew by its owner. */
  readonly reconnect?: boolean;
}

/** @throws GatewayError `NATS_UNREACHABLE`, `NATS_UNFIT` */
export type Dial = (as: DialAs) => Promise<NatsConnection>;

/** Older servers ignore `proxy_required` (fails open) and keep subscriptions of a replaced user; CVE-2026-33223. */
export const SERVER_VERSION_MIN = "2.12.8";

const SERVERS_MAX = 32;
const DIAL_TIMEOUT_MS = 5_000;
const PING_INTERVAL_MS = 10_000;
const RECONNECT_WAIT_MS = 250;
/** Thousands of connections that come back at once must not come back at once. */
const RECONNECT_JITTER_MS = 1_000;

/** @throws GatewayError `CONFIG_INVALID` for servers that cannot be dialled safely */
export function createDial(options: NatsServers): Dial {
  const { servers, encrypted, dialTimeoutMs: timeout } = waysOf(options);
  // Set even where nothing is configured: nats-core then refuses a server (or whoever answers for it) without TLS.
  const tls = encrypted ? { tls: { ...options.tls, ...identityCheck(servers) } } : {};
  const pingInterval = bounded("pingIntervalMs", options.pingIntervalMs ?? PING_INTERVAL_MS, 100, 120_000);
  const addresses = servers.map(({ address }) => address);

  return async function dial(as) {
    const { name, inboxPrefix, answer, first, last, reconnect = false } = as;
    const connection = await reach({
      ...tls,
      servers: inOrder(addresses, first, last),
      noRandomize: first !== undefined || last !== undefined,
      name,
      inboxPrefix,
      timeout,
      pingInterval,
      maxPingOut: 2,
      reconnect,
      maxReconnectAttempts: -1,
      reconnectTimeWait: RECONNECT_WAIT_MS,
      reconnectJitter: RECONNECT_JITTER_MS,
      reconnectJitterTLS: RECONNECT_JITTER_MS,
      ignoreAuthErrorAbort: true,
      // An advertised address is neither in the configuration nor, perhaps, in the server's certificate.
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
      authenticator: (nonce?: string) => {
        if (nonce === undefined) throw new GatewayError("NATS_UNFIT", "nats-server sends no nonce to sign");
        return { ...answer(nonce) };
      },
    });
    const unfit = unfitVersion(connection.info?.version);
    if (unfit === undefined) return connection;
    await connection.close();
    throw new GatewayError("NATS_UNFIT", unfit);
  };
}

/** Where every connection may go, however it is made. */
export interface Ways {
  readonly servers: readonly Server[];
  /** Whether a server, or whoever answers for it, is refused without TLS. */
  readonly encrypted: boolean;
  readonly dialTimeoutMs: number;
}

/** @throws GatewayError `CONFIG_INVALID` */
export function waysOf(options: NatsServers): Ways {
  const servers = parseServers(options);
  const remote = servers.some(({ loopback }) => !loopback) && !options.dangerouslyAllowPlaintext;
  return {
    servers,
    encrypted: options.tls !== undefined || remote || servers.some((server) => server.tls),
    dialTimeoutMs: bounded("dialTimeoutMs", options.dialTimeoutMs ?? DIAL_TIMEOUT_MS, 100, 60_000),
  };
}

/** @returns in words what is wrong with a server of this version, or undefined */
export function unfitVersion(version: string | undefined): string | undefined {
  const found = parseVersion(version ?? "");
  const least = parseVersion(SERVER_VERSION_MIN);
  if (found && least && compare(found, least) >= 0) return undefined;
  return `nats-server ${version ?? "of unknown version"} may not be used: ${SERVER_VERSION_MIN} or later is needed, older ones accept a stolen credential`;
}

/**
 * nats-core names no host in the TLS handshake with an IP address, so that Node checks the certificate for
 * `localhost`. Then it must be one for a server that is configured: those are trusted alike.
 */
function identityCheck(servers: readonly Server[]): object {
  const hosts = servers.map(({ host }) => host);
  return {
    checkServerIdentity(named: string, certificate: PeerCertificate): Error | undefined {
      if (named !== "localhost") return checkServerIdentity(named, certificate);
      const errors = hosts.map((host) => checkServerIdentity(host, certificate));
      return errors.includes(undefined) ? undefined : errors[0];
    },
  };
}

interface Server {
  /** An IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
  /** `host:port`. */
  readonly address: string;
  readonly tls: boolean;
  readonly loopback: boolean;
}

function parseServers({ servers, dangerouslyAllowPlaintext, tls }: NatsServers): readonly Server[] {
  if (servers.length < 1 || servers.length > SERVERS_MAX)
    throw new GatewayError(
      "CONFIG_INVALID",
      `nats.servers needs 1–${SERVERS_MAX} addresses, found ${servers.length}`,
    );
  const parsed = servers.map(parseServer);
  const open = parsed.find((server) => !server.loopback && !server.tls);
  if (open && !tls && !dangerouslyAllowPlaintext)
    throw new GatewayError(
      "CONFIG_INVALID",
      `nats.servers: ${open.address} is not on this machine and would be reached unencrypted; write tls://${open.address}`,
    );
  return parsed;
}

function parseServer(text: string): Server {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const known = url?.protocol === "nats:" || url?.protocol === "tls:";
  const bare = url?.username === "" && url.password === "" && url.search === "" && /^\/?$/.test(url.pathname);
  if (!url || !known || !bare || url.hostname === "")
    throw new GatewayError(
      "CONFIG_INVALID",
      "nats.servers: an address is nats://host:port or tls://host:port, without user name, password or path",
    );
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(url.port || "4222"),
    address: `${url.hostname}:${url.port || "4222"}`,
    tls: url.protocol === "tls:",
    loopback: /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/i.test(url.hostname),
  };
}

async function reach(options: NodeConnectionOptions): Promise<NatsConnection> {
  try {
    return await connect(options);
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    const why = messageOf(error);
    const where = [options.servers ?? []].flat().join(", ");
    throw new GatewayError("NATS_UNREACHABLE", `cannot connect to NATS at ${where}: ${why}`, {
      cause: error,
    });
  }
}

/** The addresses in the order to be tried: at random, but for the one that is wished for and the one to avoid. */
export function inOrder(
  addresses: readonly string[],
  first: string | undefined,
  last: string | undefined,
): string[] {
  const others = addresses.filter((address) => address !== first && address !== last);
  for (let left = others.length - 1; left > 0; left--) {
    const right = Math.floor(Math.random() * (left + 1));
    [others[left], others[right]] = [others[right] ?? "", others[left] ?? ""];
  }
  const known = (address: string | undefined) => addresses.filter((other) => other === address);
  return [...known(first), ...others, ...(last === first ? [] : known(last))];
}

/** Major, minor, patch, and 0 for a pre-release, which comes before the release of that name (SemVer §11). */
function parseVersion(text: string): readonly number[] | undefined {
  const found = /^(\d{1,6})\.(\d{1,6})\.(\d{1,6})(-)?/.exec(text);
  return found ? [Number(found[1]), Number(found[2]), Number(found[3]), found[4] ? 0 : 1] : undefined;
}

function compare(left: readonly number[], right: readonly number[]): number {
  const at = left.findIndex((part, index) => part !== right[index]);
  return at < 0 ? 0 : (left[at] ?? 0) - (right[at] ?? 0);
}

function bounded(name: string, value: number, least: number, most: number): number {
  if (Number.isFinite(value) && value >= least && value <= most) return value;
  throw new GatewayError("CONFIG_INVALID", `nats ${name} must be ${least}–${most}, found ${value}`);
}
