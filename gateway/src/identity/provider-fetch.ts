import { lookup as lookupAll } from "node:dns/promises";
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import { mayConnect, type Reach } from "./addresses.ts";

/** Bytes of any answer of a provider: discovery, keys, tokens. Real ones are under 20 KB. */
export const ANSWER_BYTES_MAX: number = 256 * 1024;
/** From the name's lookup to the answer's last byte. */
export const ANSWER_TIMEOUT_MS = 5_000;

/**
 * Requests under way at a time: strangers can begin sign-ins, and neither our sockets nor the provider are theirs
 * to use up.
 */
export const REQUESTS_MAX = 64;

export interface ProviderRequest {
  readonly method?: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface ProviderAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
}

/** Rejects with an Error whose message names no secret and no part of the answer. */
export type ProviderFetch = (url: string, request?: ProviderRequest) => Promise<ProviderAnswer>;

export type ResolveHost = (
  host: string,
) => Promise<readonly { readonly address: string; readonly family: number }[]>;

/**
 * Makes the one way in which identity talks to providers: over HTTPS (plain HTTP only to this machine), without
 * following redirects, bounded in time and bytes, and only to addresses of the provider's reach: the name is
 * resolved once, every address checked, and the connection pinned to what was checked.
 *
 * `fetch` would follow redirects by default and resolve the name by itself, after and apart from any check.
 */
export function createProviderFetch({
  reach,
  resolve = (host) => lookupAll(host, { all: true }),
  timeoutMs = ANSWER_TIMEOUT_MS,
}: {
  readonly reach: Reach;
  /** Default: as the operating system resolves. */
  readonly resolve?: ResolveHost;
  /** 1–30,000. Default 5,000. */
  readonly timeoutMs?: number;
}): ProviderFetch {
  let underWay = 0;

  return async function providerFetch(url, request) {
    if (underWay >= REQUESTS_MAX)
      throw new Error(`More than ${REQUESTS_MAX} requests to the provider are under way`);
    underWay++;
    try {
      return await send(url, request);
    } finally {
      underWay--;
    }
  };

  async function send(
    url: string,
    { method = "GET", headers = {}, body }: ProviderRequest = {},
  ): Promise<ProviderAnswer> {
    const target = new URL(url);
    const secure = target.protocol === "https:";
    if (!secure && !(target.protocol === "http:" && reach === "loopback")) {
      throw new Error(`Cannot ask ${target.host}: the URL must begin with https://`);
    }
    const host = target.hostname.replace(/^\[|\]$/g, "");
    if (isIP(host) !== 0 && !mayConnect(host, reach)) throw addressError(host);
    const signal = AbortSignal.timeout(timeoutMs);
    const options = {
      method,
      headers: { accept: "application/json", "user-agent": "countersign", ...headers },
      lookup: pinningLookup(reach, resolve),
      // One connection for each request: a pooled one would have been checked for another request.
      agent: false as const,
      signal,
    };
    return new Promise((fulfil, reject) => {
      const fail = (error: unknown): void =>
        reject(signal.aborted ? timeoutError(target.host, timeoutMs) : error);
      const outgoing = (secure ? requestHttps : requestHttp)(target, options, (answer) => {
        readBounded(answer).then(fulfil, fail);
      });
      outgoing.on("error", fail);
      outgoing.end(body);
    });
  }
}

async function readBounded(answer: IncomingMessage): Promise<ProviderAnswer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) {
      answer.destroy();
      throw new Error(`The provider's answer is larger than ${ANSWER_BYTES_MAX} bytes`);
    }
    chunks.push(chunk);
  }
  const headers = Object.entries(answer.headers).map(([name, value]) => [name, String(value)] as const);
  return {
    status: answer.statusCode ?? 0,
    headers: Object.fromEntries(headers),
    body: Buffer.concat(chunks),
  };
}

/** Hands the socket exactly the addresses that were checked; one bad address refuses them all. */
function pinningLookup(reach: Reach, resolve: ResolveHost): LookupFunction {
  return (host, options, callback) => {
    resolve(host).then(
      (addresses) => {
        const bad = addresses.find(({ address }) => !mayConnect(address, reach));
        const [first] = addresses;
        if (bad) callback(addressError(bad.address), "");
        else if (!first) callback(new Error(`No address for ${host}`), "");
        else if (options.all) callback(null, [...addresses]);
        else callback(null, first.address, first.family);
      },
      (error) => callback(error, ""),
    );
  };
}

function addressError(address: string): Error {
  return new Error(`Cannot connect to ${address}: not an address where this provider may stand`);
}

function timeoutError(host: string, timeoutMs: number): Error {
  return new Error(`No full answer from ${host} within ${timeoutMs} ms`);
}
