/**
 * A trace that starts anew at this edge, since a caller's own could be forged to join somebody else's: the
 * transaction is the trace, the message the span. Not sampled (00): a sampled one makes nats-server publish traces.
 *
 * @source W3C Trace Context §3.2
 */
export function traceparentOf(txn: string, id: string): string {
  return `00-${hexOf(txn)}-${hexOf(id).slice(16)}-00`;
}

/** A UUID without its hyphens, which stand at fixed places. */
function hexOf(uuid: string): string {
  return uuid.slice(0, 8) + uuid.slice(9, 13) + uuid.slice(14, 18) + uuid.slice(19, 23) + uuid.slice(24);
}
