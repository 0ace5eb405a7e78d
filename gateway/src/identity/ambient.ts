import { allowed, type Outcome, refused } from "../refusal.ts";
import type { Presented } from "./identity.ts";

/**
 * Decides whether a proof that the browser attaches by itself counts in this request. It does only if another
 * site cannot have caused the request: its `Origin` is one of ours; or there is none and `Sec-Fetch-Site` is
 * `same-origin` (`none` for a top-level GET: typed, bookmarked); or neither is there, as outside browsers, and
 * `Countersign-Request: 1` is, which a form, an image or a link of another site cannot send.
 *
 * To be asked on every request with such a proof, whatever its method: SSE and the WebSocket upgrade are GETs.
 *
 * @param origins  serialized origins, compared exactly; `null` is never among them
 * @returns `cross_site` with what was found
 * @source  W3C Fetch Metadata §2.3; RFC 10017 (CSRF defences); SameSite alone fails against sibling subdomains
 */
export function checkAmbient(
  presented: Pick<Presented, "method" | "origin" | "fetchSite" | "navigation" | "deliberate">,
  origins: ReadonlySet<string>,
): Outcome<void> {
  const { origin, fetchSite } = presented;
  const counts =
    origin !== null
      ? origin !== "null" && origins.has(origin)
      : fetchSite !== null
        ? fetchSite === "same-origin" ||
          (fetchSite === "none" && presented.navigation && presented.method === "GET")
        : presented.deliberate;
  return counts ? allowed(undefined) : refused({ reason: "cross_site", origin, fetchSite });
}
