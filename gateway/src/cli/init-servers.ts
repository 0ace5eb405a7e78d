import { join } from "node:path";
import type { InitOptions } from "../credentials/init.ts";

const ROUTE_PORT = 6222;

/**
 * One configuration file per server of a new cluster; more than one server makes a cluster with routes.
 *
 * @param servers  host and port as clients address them; with routes, as the servers address each other too
 */
export function planServers(
  { servers, loopbackWithoutTls }: { readonly servers: readonly URL[]; readonly loopbackWithoutTls: boolean },
  out: string,
): InitOptions["servers"] {
  const routePortOf = (index: number): number => (loopbackWithoutTls ? ROUTE_PORT + index : ROUTE_PORT);
  const routes = servers.map(({ hostname }, index) => `nats://${hostname}:${routePortOf(index)}`);
  return servers.map(({ hostname, port }, index) => {
    const alone = servers.length === 1;
    const host = loopbackWithoutTls ? hostname.replace(/^\[|\]$/g, "") : "0.0.0.0";
    return {
      name: loopbackWithoutTls ? `nats${index + 1}` : hostname,
      host,
      port: Number(port),
      storeDir: alone || !loopbackWithoutTls ? "data" : `data/${index + 1}`,
      ...(loopbackWithoutTls
        ? { loopbackWithoutTls }
        : {
            tls: {
              certFile: "certs/nats.pem",
              keyFile: "certs/nats.key",
              ...(!alone && { caFile: "certs/nats-ca.pem" }),
            },
          }),
      ...(!alone && { cluster: { name: "countersign", host, port: routePortOf(index), routes } }),
      configPath: join(
        out,
        alone ? "nats-server.conf" : `nats-server-${loopbackWithoutTls ? index + 1 : hostname}.conf`,
      ),
    };
  });
}

/** @returns the files that must be there before these servers start, each once */
export function certificatesOf(servers: InitOptions["servers"]): readonly string[] {
  const files = servers.flatMap(({ tls }) => (tls ? [tls.certFile, tls.keyFile, tls.caFile] : []));
  return [...new Set(files)].filter((file) => file !== undefined);
}
