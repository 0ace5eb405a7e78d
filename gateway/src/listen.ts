import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { chmod, lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";
import type { TLSSocketOptions } from "node:tls";
import { createSecureContext } from "node:tls";
import type { FastifyInstance } from "fastify";
import { GatewayError } from "./errors.ts";

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
  return new GatewayError("LISTEN_FAILED", `Cannot listen on ${place}: ${why[error.code ?? ""] ?? error.message}`, {
    cause: error,
  });
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

export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** @throws GatewayError CONFIG_INVALID when the two do not make a certificate */
export function readCertificate(files: CertificateFiles): { readonly cert: string; readonly key: string } {
  try {
    const pem = { cert: readFileSync(files.cert, "utf8"), key: readFileSync(files.key, "utf8") };
    createSecureContext(pem);
    return pem;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new GatewayError("CONFIG_INVALID", `Cannot use ${files.cert} with ${files.key} for TLS: ${why}`);
  }
}

/**
 * Serves a renewed certificate to new connections. A pair that does not fit, as while it is being replaced,
 * changes nothing.
 *
 * @returns stops looking
 */
export function followCertificate(
  app: FastifyInstance,
  files: CertificateFiles,
  onChange: (error: unknown) => void,
): () => void {
  const server = app.server as typeof app.server & { setSecureContext?: (options: TLSSocketOptions) => void };
  function renew(): void {
    try {
      server.setSecureContext?.(readCertificate(files));
      onChange(undefined);
    } catch (error) {
      onChange(error);
    }
  }
  for (const file of [files.cert, files.key]) watchFile(file, { interval: CERTIFICATE_POLL_MS, persistent: false }, renew);
  return () => {
    for (const file of [files.cert, files.key]) unwatchFile(file, renew);
  };
}
