import { setBounded } from "../bounded-map.ts";
import type { Session, SessionStore } from "./session.ts";
import { upstreamSessionHashOf } from "./session-proof.ts";

/** Sessions remembered; one that is forgotten is still refused with its next request. */
const REMEMBERED_MAX = 50_000;

/**
 * Follows provider sessions to ours. A back-channel logout names the provider's; streams and connections are held
 * by ours, and whoever holds them here must hear of it by that name. No index is stored for this: an instance knows
 * the sessions that came to it, which are those whose streams it carries.
 *
 * @returns notes a session that was used here
 */
export function followUpstreamSessions(sessions: SessionStore): (session: Session) => void {
  /** By the provider's session, ours that came here; least recently noted first. */
  const ours = new Map<string, Set<string>>();

  sessions.onNotBefore((key, at) => {
    if (key.session === undefined) return;
    for (const hash of ours.get(key.session) ?? []) {
      // If this cannot be written nothing is lost but time: the session is refused by the provider's name.
      sessions.raiseNotBefore({ session: hash }, at).catch(() => {});
    }
    ours.delete(key.session);
  });

  return function note(session) {
    if (session.upstreamSid === undefined) return;
    const key = upstreamSessionHashOf(session.identity.issuer, session.upstreamSid);
    const hashes = ours.get(key) ?? new Set();
    setBounded(ours, key, hashes.add(session.hash), REMEMBERED_MAX);
  };
}
