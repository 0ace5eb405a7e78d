import { parseJsonObject } from "./json-object.ts";

/** What we read of a server's INFO. */
export interface ServerInfo {
  readonly serverId: string;
  readonly version: string;
  readonly payloadBytesMax: number;
  readonly nonce: string | undefined;
  readonly tlsRequired: boolean;
  readonly lameDuck: boolean;
  /** As it came, for `infoLine`. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/** @param text  what follows `INFO ` */
export function parseInfo(text: string): ServerInfo | undefined {
  const raw = parseJsonObject(text);
  const { server_id, version, max_payload, nonce, tls_required, ldm } = raw ?? {};
  if (!raw || typeof server_id !== "string" || typeof version !== "string" || typeof max_payload !== "number")
    return undefined;
  return {
    serverId: server_id,
    version,
    payloadBytesMax: max_payload,
    nonce: typeof nonce === "string" ? nonce : undefined,
    tlsRequired: tls_required === true,
    lameDuck: ldm === true,
    raw,
  };
}

/** Members of INFO that a client behind the gateway may see: nothing of addresses, nonces or how the server is guarded. */
const SHOWN = [
  "server_id",
  "server_name",
  "version",
  "proto",
  "headers",
  "jetstream",
  "client_id",
  "ldm",
] as const;

/** Bytes that a seal and the `traceparent` add to a message, at most: claims, path, root and the id, in base64url. */
export const SEAL_BYTES_MAX = 8_192;

/**
 * The INFO a client gets in place of the server's.
 *
 * @param payloadBytesMax  of the grant; what a message grows by when it is sealed must fit in as well
 */
export function infoLine(
  { raw, payloadBytesMax: serverMax }: Pick<ServerInfo, "raw" | "payloadBytesMax">,
  payloadBytesMax: number,
): string {
  const shown = Object.fromEntries(SHOWN.flatMap((name) => (name in raw ? [[name, raw[name]]] : [])));
  return `INFO ${JSON.stringify({ ...shown, max_payload: clientPayloadBytesMax(serverMax, payloadBytesMax) })}\r\n`;
}

export function clientPayloadBytesMax(serverMax: number, grantMax: number): number {
  return Math.max(0, Math.min(serverMax - SEAL_BYTES_MAX, grantMax));
}
