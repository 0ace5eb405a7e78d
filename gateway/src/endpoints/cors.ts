import type { IncomingHttpHeaders } from "node:http";

/** What a browser may read besides the safelisted headers (Fetch standard, CORS). */
const EXPOSED = "X-Request-Id, Retry-After, WWW-Authenticate, ETag";

/** How long a browser may remember a preflight, seconds: Chromium's own upper bound. */
const PREFLIGHT_MAX_AGE_SECONDS = 7200;

type Headers = Readonly<Record<string, string>>;

/** An origin that is not listed gets no header at all: its browser then keeps the answer from it. */
export function corsHeadersOf(origin: string | undefined, origins: ReadonlySet<string>): Headers {
  if (origin === undefined || !origins.has(origin)) return { vary: "Origin" };
  return {
    vary: "Origin",
    "access-control-allow-origin": origin,
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": EXPOSED,
  };
}

/** @returns undefined for an origin that is not listed, or what is no preflight */
export function preflightHeadersOf(
  headers: IncomingHttpHeaders,
  origins: ReadonlySet<string>,
): Headers | undefined {
  const { origin } = headers;
  if (origin === undefined || !origins.has(origin)) return undefined;
  const asked = headers["access-control-request-headers"];
  return {
    "access-control-allow-methods": "GET, POST, PUT, DELETE",
    // With credentials `*` is not a wildcard, and `Msg-<name>` has no fixed list: what is asked for is allowed.
    "access-control-allow-headers": typeof asked === "string" ? asked : "",
    "access-control-max-age": String(PREFLIGHT_MAX_AGE_SECONDS),
    vary: "Origin, Access-Control-Request-Headers",
  };
}
