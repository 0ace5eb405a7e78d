import { type IncomingHttpHeaders, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { messageOf } from "../../errors.ts";

/** Nothing that is asked for here takes a tenth of it. */
const TIMEOUT_MS = 15_000;
const BODY_BYTES_MAX = 65_536;

export interface Sent {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** At most 64 KiB of it. */
  readonly body: string;
  /** The gateway's own; undefined on what something in front answered by itself. */
  readonly requestId: string | undefined;
}

/** Why there is no answer. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

/**
 * Sends one request on a connection of its own. Redirects are answers.
 *
 * @throws Unreachable  no connection, no answer in time, or one that breaks off
 */
export async function send(
  url: string,
  { method = "GET", headers = {} }: Sent,
  signal: AbortSignal,
): Promise<Answer> {
  const response = await open(
    url,
    { method, headers },
    AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  );
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > BODY_BYTES_MAX) break;
      chunks.push(chunk);
    }
  } catch (error) {
    throw new Unreachable(messageOf(error));
  } finally {
    response.destroy();
  }
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(chunks).toString("utf8"),
    requestId: requestIdOf(response.headers),
  };
}

/** Sends one request; its body is left to the caller, who has to destroy the response. */
export async function open(
  url: string,
  { method = "GET", headers = {} }: Sent,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = url.startsWith("https:") ? requestHttps : requestHttp;
  request(url, { method, headers, agent: false, signal })
    .once("response", resolve)
    .once("error", (error) => reject(new Unreachable(messageOf(error))))
    .end();
  return promise;
}

export function requestIdOf(headers: IncomingHttpHeaders): string | undefined {
  const id = headers["x-request-id"];
  return typeof id === "string" ? id : undefined;
}

/** The `code` of a problem document; undefined for any other body. */
export function problemCodeOf({ headers, body }: Answer): string | undefined {
  if (!headers["content-type"]?.startsWith("application/problem+json")) return undefined;
  return stringOf(jsonOf(body), "code");
}

export function jsonOf(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

export function stringOf(value: unknown, key: string): string | undefined {
  if (typeof value !== "object" || value === null || !(key in value)) return undefined;
  const found = (value as Readonly<Record<string, unknown>>)[key];
  return typeof found === "string" ? found : undefined;
}
