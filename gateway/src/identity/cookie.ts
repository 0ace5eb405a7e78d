/** 32 random bytes in base64url: 43 characters, the last of which carries four bits and so takes 16 values. */
const SESSION_ID = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

/**
 * The session cookie's name: `__Host-Http-countersign-<path>`. Its prefix demands `Path=/`, so the name carries
 * the base path instead, and two gateways of one host do not overwrite each other's sessions.
 *
 * @param publicUrl  its path is joined by `.`; every character outside `[A-Za-z0-9_-]` becomes `%XX`, so that
 *   different paths never meet in one name
 * @source  RFC 10017 (cookies of a backend for frontends); cookie names are RFC 6265 §4.1.1 tokens
 */
export function cookieNameOf(publicUrl: string): string {
  const path = new URL(publicUrl).pathname.split("/").filter((segment) => segment !== "");
  return ["__Host-Http-countersign", ...(path.length ? [path.map(escapeSegment).join(".")] : [])].join("-");
}

/** The name of the cookie that carries a sign-in from its start to its end: `~` stands in no base path's part. */
export function loginCookieNameOf(publicUrl: string): string {
  return `${cookieNameOf(publicUrl)}~login`;
}

function escapeSegment(segment: string): string {
  const bytes = Buffer.from(segment, "utf8");
  return Array.from(bytes, (byte) => {
    const char = String.fromCharCode(byte);
    return /[A-Za-z0-9_-]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }).join("");
}

/** Whether a cookie's value can be a session id at all: 256 bits, canonical base64url. */
export function isSessionId(value: string): boolean {
  return SESSION_ID.test(value);
}

/**
 * A `Set-Cookie` value. No `Domain`, as `__Host-` demands; `SameSite=Lax`, because Strict would not be sent on
 * the way back from another site's identity provider.
 *
 * @param maxAgeSeconds  absent = until the browser closes; the session ends on the server at any rate
 */
export function setCookie(name: string, value: string, maxAgeSeconds?: number): string {
  const maxAge = maxAgeSeconds === undefined ? "" : `; Max-Age=${Math.floor(maxAgeSeconds)}`;
  return `${name}=${value}; Path=/${maxAge}; Secure; HttpOnly; SameSite=Lax`;
}

/** A `Set-Cookie` value that makes the browser forget the cookie. */
export function clearCookie(name: string): string {
  return setCookie(name, "", 0);
}

/**
 * Finds a cookie by its exact name, for what needs no twin of it refused; the session's own is read by
 * `parsePresented`.
 *
 * @param rawHeaders  as node gives them; their parser bounds them
 * @returns its value as the browser sent it; undefined when it is not there, or twice: another host or path
 *   planted one of them
 */
export function readCookie(rawHeaders: readonly string[], name: string): string | undefined {
  const values: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() !== "cookie") continue;
    for (const pair of rawHeaders[i + 1]?.split(";") ?? []) {
      const equals = pair.indexOf("=");
      if (equals > 0 && pair.slice(0, equals).trim() === name) values.push(pair.slice(equals + 1).trim());
    }
  }
  return values.length === 1 ? values[0] : undefined;
}
