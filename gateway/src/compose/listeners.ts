import type { FastifyInstance } from "fastify";
import { addApi } from "../endpoints/api.ts";
import { addAdmin, addHealth } from "../endpoints/health.ts";
import { addKick, type KickParts } from "../endpoints/kick.ts";
import { addPolicy, type PolicyParts } from "../endpoints/policy.ts";
import { addResourceMetadata } from "../endpoints/resource-metadata.ts";
import { createEndpointServer, type EndpointServerOptions } from "../endpoints/server.ts";
import { addShutdown } from "../endpoints/shutdown.ts";
import { cookieNameOf } from "../identity/cookie.ts";
import { VERSION } from "../version.ts";
import type { Base } from "./base.ts";
import { judgeHopOf, shutdownPathOf } from "./hop.ts";
import { withFindings } from "./hop-findings.ts";
import { followCertificate, listen, readCertificate } from "./listen.ts";

export interface PublicParts {
  readonly addEndpoints: (app: FastifyInstance) => void;
  readonly recordRefused: NonNullable<EndpointServerOptions["recordRefused"]>;
  /** IIS asks this process to end, and has its answer. */
  readonly onShutdown: () => void;
}

/**
 * Starts the public listener, once everything behind it is there: all endpoints hang under the path of the public URL.
 *
 * @returns where it listens: `host:port`, or a path
 * @throws GatewayError LISTEN_FAILED, CONFIG_INVALID (a certificate that does not fit its key)
 */
export async function startPublic(
  base: Base,
  { addEndpoints, recordRefused, onShutdown }: PublicParts,
): Promise<string> {
  const { config, log, running } = base;
  const { clientCa } = config.listen;
  const tls = config.listen.tls && { ...config.listen.tls, ...(clientCa && { clientCa }) };
  const app = serverOf(base, "http", {
    judgeHop: withFindings(judgeHopOf(base), base),
    recordRefused,
    ...(tls && { tls: readCertificate(tls) }),
  });
  const shutdownPath = shutdownPathOf(config);
  if (shutdownPath !== undefined) addShutdown(app, shutdownPath, onShutdown);
  const prefix = new URL(config.publicUrl).pathname.replace(/\/$/, "");
  await app.register(async (scope) => addEndpoints(scope), { prefix });
  addResourceMetadata(
    app,
    config.publicUrl,
    config.issuers.map(({ url }) => url),
  );
  running.add(() => closeWithin(app, config.limits.drainTimeoutMs));
  const address = await listen(
    app,
    config.listen.path === undefined ? config.listen : { path: config.listen.path },
  );
  if (tls) {
    running.add(
      followCertificate(app, tls, (error) => {
        if (error === undefined) log.info("the renewed certificate is served");
        else log.error({ why: String(error) }, "the certificate cannot be renewed; the old one is served on");
      }),
    );
  }
  return address;
}

/** What the administration listener acts on, once it is there. */
export interface AdminParts {
  readonly policy: PolicyParts;
  readonly kick: KickParts;
}

/** Starts the administration listener, before anything is waited for: whoever waits can ask it what for. */
export async function startAdmin(
  base: Base,
  at: { readonly host: string; readonly port: number },
  partsNow: () => AdminParts | undefined,
): Promise<string> {
  const app = serverOf(base, "admin");
  addHealth(app);
  addAdmin(app, { readiness: () => base.readiness.all(), metrics: () => base.metrics.render() });
  addPolicy(app, () => partsNow()?.policy);
  addKick(app, () => partsNow()?.kick);
  addApi(app, { ...ADMIN_PLACE, version: VERSION, cookieName: cookieNameOf(base.config.publicUrl) });
  base.running.add(() => closeWithin(app, 0));
  return listen(app, at);
}

/** It has no name of its own in the configuration: callers know where they reach it. */
const ADMIN_PLACE = { url: "/", exampleUrl: "$ADMIN" };

function serverOf(
  base: Base,
  lane: EndpointServerOptions["lane"],
  more: Pick<EndpointServerOptions, "tls" | "judgeHop" | "recordRefused"> = {},
): FastifyInstance {
  const { config, log, clock } = base;
  return createEndpointServer({
    publicUrl: config.publicUrl,
    origins: new Set(config.origins),
    lane,
    limits: config.limits,
    ...more,
    clock,
    onFault: (error, requestId) =>
      log.error({ requestId, error: error instanceof Error ? error.stack : String(error) }, "fault"),
  });
}

/** Requests in flight may finish; after that their connections are cut, or a slow client would keep us for ever. */
async function closeWithin(app: FastifyInstance, timeoutMs: number): Promise<void> {
  const timer = setTimeout(() => app.server.closeAllConnections(), timeoutMs);
  try {
    await app.close();
  } finally {
    clearTimeout(timer);
  }
}
