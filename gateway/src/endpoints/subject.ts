import { checkSubject, isReservedSubject } from "@countersign/seal";
import { allowed, type Outcome, refused } from "../refusal.ts";

/**
 * A subject as a caller wrote it, checked before anything else touches it: one over-long subject makes
 * nats-server drop the whole connection, and `$…` and `_INBOX` reach the server's own interfaces.
 */
export function parseSubject(
  text: string | undefined,
  { wildcards }: { readonly wildcards: boolean },
): Outcome<string> {
  if (text === undefined) {
    return refused({
      reason: "request_invalid",
      what: "query parameter subject",
      why: "expected once, found none",
    });
  }
  const why = checkSubject(text, { wildcards }) ?? (isReservedSubject(text) ? RESERVED : undefined);
  return why === undefined ? allowed(text) : refused({ reason: "subject_invalid", subject: text, why });
}

const RESERVED = "subjects beginning with $ or _INBOX belong to the server";
