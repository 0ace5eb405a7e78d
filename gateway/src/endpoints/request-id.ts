/** 1–128 characters that no log format, URL or terminal minds. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** W3C Trace Context §3.2: version, trace-id, parent-id, flags; version 00 only, not all zeros. */
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/**
 * The caller's own `X-Request-Id`, for the record only. The request's id is minted, equal to `txn`: nobody may
 * choose an id that spoils the join of the audit log.
 *
 * @param header  as node:http gives it
 * @returns undefined when absent, repeated or not 1–128 characters of `[A-Za-z0-9._-]`
 */
export function clientRequestIdOf(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === "string" && REQUEST_ID.test(header) ? header : undefined;
}

/**
 * The caller's `traceparent`, to link to: the trace is restarted at the edge.
 *
 * @returns undefined when absent, repeated or not well-formed
 * @source W3C Trace Context §3.2
 */
export function clientTraceparentOf(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === "string" && TRACEPARENT.test(header) ? header : undefined;
}
