/** Longest token `escapeToken` and `userName` make, in bytes: it leaves room in a subject of 256. */
export const TOKEN_BYTES_MAX = 200;

export interface EscapeOptions {
  /**
   * Whether the token opens a subject. Then a leading `_` is escaped too, because `_INBOX` and nats-server's
   * own `_R_` and `_GR_` begin with one. Default false.
   */
  readonly first?: boolean;
}

const UNESCAPED = /^[A-Za-z0-9_-]+$/;
const ISSUER = /^[a-z0-9]+$/;
const LEADING_UNDERSCORE = "=5F";

/**
 * Makes one NATS subject token of any value: every UTF-8 byte outside `[A-Za-z0-9_-]` becomes `=XX`, upper-case
 * hex. Different values make different tokens, and `unescapeToken` gives the value back. The token is as good a
 * KV key and consumer name, since `=` is legal in all three.
 *
 * @param value  any text; compared by bytes, so no normalisation of Unicode happens here or may happen later
 * @returns undefined when there is no such token: the value is empty, is ill-formed UTF-16 (all lone surrogates
 *          would meet in the bytes of U+FFFD), or the token would exceed `TOKEN_BYTES_MAX` (200) bytes
 */
export function escapeToken(value: string, options: EscapeOptions = {}): string | undefined {
  // Escaping never shortens, so that an over-long value need not be walked.
  if (value.length === 0 || value.length > TOKEN_BYTES_MAX) return undefined;
  const underscore = options.first === true && value.startsWith("_");
  const token = underscore ? LEADING_UNDERSCORE + escapeBytes(value.slice(1)) : escapeBytes(value);
  return value.isWellFormed() && token.length <= TOKEN_BYTES_MAX ? token : undefined;
}

/**
 * Gives back the value of a token, and accepts only what `escapeToken` with the same options makes of it: upper-
 * case hex, nothing escaped without need, valid UTF-8.
 *
 * @returns undefined for anything else
 */
export function unescapeToken(token: string, options: EscapeOptions = {}): string | undefined {
  if (token.length === 0 || token.length > TOKEN_BYTES_MAX) return undefined;
  if (!/^(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+$/.test(token)) return undefined;
  const bytes = Buffer.from(
    token.replace(/=(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    "latin1",
  );
  const value = bytes.toString("utf8");
  // Invalid UTF-8 decodes to U+FFFD and a needless escape to the plain character; neither comes back the same.
  return escapeToken(value, options) === token ? value : undefined;
}

/**
 * The one string that names a user everywhere (subjects, the seal's `sub`, audit): `<issuer>-<escaped id>`. The
 * first `-` divides, since no issuer's name contains one.
 *
 * @param issuer  the issuer's name in the configuration, `[a-z0-9]+`
 * @param id      the id as the issuer writes it
 * @returns undefined when there is no such name; at most 200 bytes, one subject token, safe as the first one
 */
export function userName(issuer: string, id: string): string | undefined {
  if (!ISSUER.test(issuer)) return undefined;
  const token = escapeToken(id);
  if (token === undefined) return undefined;
  const user = `${issuer}-${token}`;
  return user.length <= TOKEN_BYTES_MAX ? user : undefined;
}

/**
 * The inverse of `userName`.
 *
 * @returns undefined for anything `userName` does not make
 */
export function parseUserName(user: string): { readonly issuer: string; readonly id: string } | undefined {
  if (user.length > TOKEN_BYTES_MAX) return undefined;
  const dash = user.indexOf("-");
  const issuer = user.slice(0, dash);
  if (dash < 1 || !ISSUER.test(issuer)) return undefined;
  const id = unescapeToken(user.slice(dash + 1));
  return id === undefined ? undefined : { issuer, id };
}

function escapeBytes(value: string): string {
  if (UNESCAPED.test(value)) return value;
  let token = "";
  for (const byte of Buffer.from(value, "utf8")) {
    const character = String.fromCharCode(byte);
    token += UNESCAPED.test(character) ? character : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return token;
}
