import { chmod, lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { createSecureContext, type Server } from "node:tls";
import type { FastifyInstance } from "fastify";
import { GatewayError, messageOf } from "../errors.ts";

export type ListenAt =
  | { readonly host: string; readonly port: number }
  /** A Unix socket, or on Windows a named pipe (`\\.\pipe\…`). */
  | { readonly path: string };

/** How often certificate files are looked at, so that a renewed one is served without a restart. */
const CERTIFICATE_POLL_MS = 10_000;

/**
 * @returns where it listens: a URL's origin, or the path
 * @throws GatewayError LISTEN_FAILED, naming the address and what to do
 */
export async function listen(app: FastifyInstance, at: ListenAt): Promise<string> {
  if ("path" in at) await removeStaleSocket(at.path);
  try {
    await app.listen(at);
  } catch (error) {
    throw listenFailed(at, error as NodeJS.ErrnoException);
  }
  if ("port" in at) {
    const address = app.server.address();
    return `${at.host}:${typeof address === "object" && address ? address.port : at.port}`;
  }
  // Whoever may write to the socket may call; the web server in front shares our group.
  if (process.platform !== "win32") await chmod(at.path, 0o660);
  return at.path;
}

function listenFailed(at: ListenAt, error: NodeJS.ErrnoException): GatewayError {
  const place = "path" in at ? at.path : `${at.host}:${at.port}`;
  const why: Partial<Record<string, string>> = {
    EADDRINUSE: "something listens there already; end it, or choose another `listen: address`",
    EACCES: "not ours to take: ports below 1024 need a privilege; choose a higher one, or grant it",
    EADDRNOTAVAIL: "this machine has no such address; choose one it has, such as 127.0.0.1",
  };
  return new GatewayError(
    "LISTEN_FAILED",
    `Cannot listen on ${place}: ${why[error.code ?? ""] ?? error.message}`,
    {
      cause: error,
    },
  );
}

/** A socket file outlives a process that was killed; one that nobody answers on is in nobody's use. */
async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isSocket()) return;
  const answered = await new Promise<boolean>((resolve) => {
    const socket = connect(path, () => resolve(true)).on("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
  if (!answered) await unlink(path);
}

/** PEM texts, read anew at each call. */
export interface Certificate {
  readonly cert: () => string;
  readonly key: () => string;
  /** Of the authority whose certificate everybody who connects must show. */
  readonly clientCa?: () => string;
}

/** What was read, PEM. Node calls the authorities of clients `ca`; without one it takes all those of the Internet. */
export interface CertificatePem {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/** @throws GatewayError CONFIG_INVALID when certificate and key do not fit together */
export function readCertificate({ cert, key, clientCa }: Certificate): CertificatePem {
  const pem = { cert: cert(), key: key(), ...(clientCa && { ca: clientCa() }) };
  try {
    createSecureContext(pem);
  } catch (error) {
    // The library's own words tell which of the two is wrong, and quote neither.
    const why = messageOf(error);
    throw new GatewayError(
      "CONFIG_INVALID",
      `Cannot use \`listen: tls\`: certificate and key do not fit: ${why}`,
    );
  }
  return pem;
}

/**
 * Serves a renewed certificate to new connections, without a restart. A pair that does not fit, as while it is
 * being replaced, changes nothing.
 *
 * @returns stops looking
 */
export function followCertificate(
  app: FastifyInstance,
  certificate: Certificate,
  onChange: (error?: unknown) => void,
): () => void {
  let served = readCertificate(certificate);
  const timer = setInterval(() => {
    try {
      const found = readCertificate(certificate);
      if (found.cert === served.cert && found.key === served.key && found.ca === served.ca) return;
      (app.server as unknown as Server).setSecureContext(found);
      served = found;
      onChange();
    } catch (error) {
      onChange(error);
    }
  }, CERTIFICATE_POLL_MS).unref();
  return () => clearInterval(timer);
}
