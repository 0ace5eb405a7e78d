import { GatewayError } from "../errors.ts";
import type { KeysManifest, Trust } from "./keys-folder.ts";
import { renderAccounts, renderCallout } from "./server-accounts.ts";
import { quote } from "./server-quote.ts";

/** One nats-server of a cluster that trusts the gateway. */
export interface ServerOptions {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Where it keeps streams and account JWTs. Relative to the folder it is started in. */
  readonly storeDir: string;
  /** PEM files for clients and, with `caFile`, for the routes between servers. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string; readonly caFile?: string };
  /** Credentials in clear text, on 127.0.0.1 or ::1 only: for a laptop. One of this and `tls`. */
  readonly loopbackWithoutTls?: boolean;
  readonly cluster?: {
    readonly name: string;
    readonly host: string;
    readonly port: number;
    /** `nats://host:port` of the cluster port of each server. */
    readonly routes: readonly string[];
  };
}

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

/**
 * Writes the configuration file of one nats-server: its accounts or who may say what they are, a trusted proxy, and
 * the limits that the gateway's credentials need.
 *
 * @throws GatewayError CONFIG_INVALID  no TLS beyond loopback; routes without a CA; a value that cannot be quoted
 * @source https://docs.nats.io/running-a-nats-service/configuration
 */
export function renderServerConfig(manifest: KeysManifest, server: ServerOptions): string {
  checkSecurity(server);
  const { trust, accounts, proxyKey = "" } = manifest;
  return [
    head(server),
    client(server, accounts ? renderCallout(manifest, accounts) : ""),
    jetStream(server),
    proxies(proxyKey),
    accounts ? renderAccounts(accounts) : "",
    trust ? trustBlock(trust, server, manifest.direct?.sentinelJwt) : "",
    routes(server),
  ]
    .filter((block) => block !== "")
    .join("\n");
}

function checkSecurity({ name, host, tls, loopbackWithoutTls, cluster }: ServerOptions): void {
  const hosts = cluster ? [host, cluster.host] : [host];
  if (tls === undefined && !(loopbackWithoutTls && hosts.every((each) => LOOPBACK.has(each)))) {
    throw new GatewayError(
      "CONFIG_INVALID",
      `Cannot write the configuration of nats-server "${name}": it listens on ${hosts.join(", ")} without TLS, ` +
        "so credentials would cross the network in clear text. Give it a certificate, or listen on 127.0.0.1.",
    );
  }
  if (tls !== undefined && cluster !== undefined && tls.caFile === undefined) {
    throw new GatewayError(
      "CONFIG_INVALID",
      `Cannot write the configuration of nats-server "${name}": its routes have no CA, so anybody could join ` +
        "the cluster. Name the CA that signs the certificates of its servers.",
    );
  }
}

function head({ name }: ServerOptions): string {
  return `# Configuration of nats-server (2.12.8 or later), written by \`countersign init\`.
# Paths are relative to the folder nats-server is started in. Reload after a change: nats-server --signal reload

server_name: ${quote(name)}
`;
}

function client({ host, port, tls }: ServerOptions, callout: string): string {
  return `host: ${quote(host)}
port: ${port}

# A credential travels in one CONNECT line. The default, 4096 bytes, carries about 70 permissions.
max_control_line: 1MB

authorization {
  # Seconds until a connection must have shown its credential. After a restart all come at once.
  timeout: 10
${callout}}

# No monitoring port: /connz shows complete user JWTs to whoever can reach it.
${
  tls
    ? `
tls {
  cert_file: ${quote(tls.certFile)}
  key_file: ${quote(tls.keyFile)}${tls.caFile ? `\n  ca_file: ${quote(tls.caFile)}` : ""}
}
`
    : `
# No TLS, therefore loopback only: everything, credentials too, is clear text.
`
}`;
}

function jetStream({ storeDir }: ServerOptions): string {
  return `# Sessions, keys and the audit stream live here, in the account CONTROL: back it up, encrypt the disk.
jetstream {
  store_dir: ${quote(storeDir)}
}
`;
}

function proxies(proxyKey: string): string {
  return `# Credentials that say proxy_required are accepted only from a connection that this key vouches for. To shut
# a gateway out at once: remove its key and reload, which closes its connections.
proxies {
  trusted: [ { key: ${quote(proxyKey)} } ]
}
`;
}

function trustBlock(trust: Trust, { storeDir }: ServerOptions, sentinelJwt: string | undefined): string {
  const preload = trust.accounts.map(
    ({ name, publicKey, jwt }) => `  # ${name}\n  ${publicKey}: ${quote(jwt)}`,
  );
  return `# Who may say what an account is. The private keys belong in a safe, not on this machine.
operator: ${quote(trust.operatorJwt)}
system_account: ${quote(trust.systemAccount)}
${
  sentinelJwt === undefined
    ? ""
    : `
# Clients that show no JWT (a token alone, MQTT) are taken to the account WEB, where the gateway judges them.
default_sentinel: ${quote(sentinelJwt)}
`
}
# Account JWTs, kept on disk and updated while running (\`nsc push\`).
resolver {
  type: full
  dir: ${quote(`${storeDir}/accounts`)}
  allow_delete: false
  interval: "2m"
}
resolver_preload {
${preload.join("\n")}
}
`;
}

function routes({ cluster, tls }: ServerOptions): string {
  if (cluster === undefined) return "";
  const secured = tls
    ? `
  # Routes show certificates to each other, and only those of this CA may join.
  tls {
    cert_file: ${quote(tls.certFile)}
    key_file: ${quote(tls.keyFile)}
    ca_file: ${quote(tls.caFile ?? "")}
    verify: true
  }`
    : "";
  return `cluster {
  name: ${quote(cluster.name)}
  host: ${quote(cluster.host)}
  port: ${cluster.port}
  routes: [
${cluster.routes.map((route) => `    ${quote(route)}`).join("\n")}
  ]${secured}
}
`;
}
