import type { UserCreds } from "../credentials/creds.ts";
import { GatewayError } from "../errors.ts";
import type { InboundMessage } from "./connection.ts";
import { createDial } from "./dial.ts";
import { Link } from "./link.ts";

export interface ObserveOptions {
  /** `nats://host:port` or `tls://host:port`. */
  readonly server: string;
  /** A user of one's own: `dial` speaks to no server that does not ask for one. */
  readonly creds: Pick<UserCreds, "jwt" | "userKey">;
  /** PEM text of the authority to trust instead of the system's. */
  readonly ca?: string;
  readonly subject: string;
  /** Called when nats-server has taken the subscription: what is published from now on arrives. */
  readonly onSubscribed?: () => void;
  /** Called for each message, in order. Must not throw. */
  readonly onMessage: (message: InboundMessage) => void;
  /** Ends it when it aborts. */
  readonly signal: AbortSignal;
}

/**
 * Reads a live subject as a user of one's own, not as the gateway: for the command line.
 *
 * @returns when the signal aborts
 * @throws GatewayError NATS_UNREACHABLE  the server cannot be reached, refuses the user or the subject, or goes away
 */
export async function observe({
  server,
  creds,
  ca,
  subject,
  onSubscribed,
  onMessage,
  signal,
}: ObserveOptions): Promise<void> {
  const dial = createDial({ servers: [server], ...(ca !== undefined && { tls: { ca } }) });
  const connection = await dial({
    name: "countersign verify",
    inboxPrefix: "_INBOX",
    answer: (nonce) => ({ jwt: creds.jwt, sig: creds.userKey.sign(nonce).toString("base64url") }),
  });
  const link = new Link(connection, "_INBOX", Number.POSITIVE_INFINITY);
  const { promise: ended, resolve: end, reject: fail } = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => end(), { once: true });
  if (signal.aborted) end();
  void link.closed.then(() =>
    fail(new GatewayError("NATS_UNREACHABLE", `The connection to ${server} ended`)),
  );
  link.subscribe(subject, undefined, {
    take: onMessage,
    refused: () =>
      fail(new GatewayError("NATS_UNREACHABLE", `${server} does not let this user subscribe to ${subject}`)),
  });
  try {
    await Promise.race([connection.flush().catch(() => ended), ended]);
    if (!signal.aborted) onSubscribed?.();
    await ended;
  } finally {
    await link.close();
  }
}
