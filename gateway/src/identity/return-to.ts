import { allowed, type Outcome, refused } from "../refusal.ts";

/** Characters; it travels in the login cookie. */
const RETURN_TO_MAX = 1_024;

/**
 * Judges where the browser goes after signing in: a path of our own origin, or an open redirect would lend our name
 * to any site.
 *
 * @param returnTo  as the caller wrote it
 * @returns path, query and fragment, normalised; `request_invalid` for everything that a browser could read as
 *   another origin: `//evil`, `/\evil`, `https:…`, tabs and newlines that it would drop, dots that leave `//` behind
 * @source  WHATWG URL: `\` is `/`, tab and newline vanish; RFC 9700 §4.11 (open redirectors)
 */
export function parseReturnTo(returnTo: string, publicUrl: string): Outcome<string> {
  if (returnTo.length > RETURN_TO_MAX) return invalid("longer than 1024 characters");
  if (!/^\/[\x21-\x5b\x5d-\x7e]*$/.test(returnTo)) return invalid("not a path of this origin");
  const base = new URL(publicUrl);
  const target = URL.canParse(returnTo, base) ? new URL(returnTo, base) : undefined;
  if (target?.origin !== base.origin || target.pathname.startsWith("//"))
    return invalid("not a path of this origin");
  return allowed(target.pathname + target.search + target.hash);
}

function invalid(why: string): Outcome<never> {
  return refused({ reason: "request_invalid", what: "return-to", why });
}
