import { open } from "node:fs/promises";
import { CachedKeys, type KeySet } from "./cached-keys.ts";
import { JWKS_BYTES_MAX, JWKS_DEPTH_MAX, parseKeys, type SealPublicKey } from "./jwks.ts";
import { parseStrictJson } from "./strict-json.ts";

const FETCH_TIMEOUT_MS = 5_000;
const HTTP_NOT_FOUND = 404;

/** Keys that are given and never change: a test, a pinned set. */
export function staticKeySet(jwks: unknown): KeySet {
  const keys = parseKeys(jwks);
  return { get: async (kid) => keys.get(kid) };
}

/** Keys in a file, for the air-gapped: read again every ten minutes, and for an unknown kid at most once a minute. */
export function fileKeySet(path: string): KeySet {
  return new CachedKeys({ loadKeys: async () => parseKeys(parseJson(await readBounded(path))) });
}

export interface RemoteKeySetOptions {
  /** The JWK Set: `https:`, or `http:` on loopback, without credentials. */
  readonly url: string;
  /** Sends the request, for a proxy or a certificate authority of one's own. Default the platform's. */
  readonly fetch?: typeof globalThis.fetch;
}

/**
 * Keys over HTTPS: held for ten minutes, for an hour when the source fails. A kid that is not among them is asked
 * for at most once a minute, all such kids together: the set anew, then `?kid=` for each, which answers with a set
 * of that one historical key, or 404. No redirect is followed, since it could lead anywhere; an answer is at most
 * 256 KiB and takes at most five seconds.
 *
 * @throws TypeError for a `url` it may not use
 */
export function remoteKeySet(options: RemoteKeySetOptions): KeySet {
  const url = parseKeySetUrl(options.url);
  const send = options.fetch ?? globalThis.fetch;
  return new CachedKeys({
    loadKeys: async () => parseKeys(parseJson(await download(send, url))),
    loadKey: (kid) => loadPastKey(send, url, kid),
  });
}

async function loadPastKey(
  send: typeof globalThis.fetch,
  url: URL,
  kid: string,
): Promise<SealPublicKey | undefined> {
  const one = new URL(url);
  one.searchParams.set("kid", kid);
  const bytes = await download(send, one);
  return bytes ? parseKeys(parseJson(bytes)).get(kid) : undefined;
}

function parseKeySetUrl(text: string): URL {
  const url = URL.parse(text);
  const isLoopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(url?.hostname ?? "");
  const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback);
  if (!url || !isSafe || url.username || url.password) {
    throw new TypeError(
      `Cannot use the key set ${url ? url.origin : "given"}: expected an https: URL, or http: on loopback, without credentials`,
    );
  }
  return url;
}

/** @returns undefined for 404 */
async function download(send: typeof globalThis.fetch, url: URL): Promise<Uint8Array | undefined> {
  const response = await send(url, {
    redirect: "error",
    headers: { accept: "application/jwk-set+json, application/json" },
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    if (response.status === HTTP_NOT_FOUND) return undefined;
    throw new Error(`Cannot load the key set: expected 200, found ${response.status}`);
  }
  return readAll(response.body ?? new ReadableStream());
}

async function readAll(body: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop cancels the body.
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > JWKS_BYTES_MAX) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function readBounded(path: string): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(JWKS_BYTES_MAX + 1) });
    if (bytesRead > JWKS_BYTES_MAX) throw tooLarge();
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function parseJson(bytes: Uint8Array | undefined): unknown {
  const json = bytes && parseStrictJson(bytes, { bytesMax: JWKS_BYTES_MAX, depthMax: JWKS_DEPTH_MAX });
  if (json === undefined) throw new TypeError("Cannot read the key set: expected strict JSON");
  return json;
}

function tooLarge(): RangeError {
  return new RangeError(`Cannot load the key set: expected at most ${JWKS_BYTES_MAX} bytes`);
}
