import { allowed, type Outcome, refused } from "../../refusal.ts";
import type { Connection } from "../connection.ts";

/** What JetStream's API answers; all of it as far as we look into it. */
export interface JetStreamAnswer {
  readonly error?: JetStreamError;
  readonly num_pending?: number;
  readonly delivered?: { readonly stream_seq?: number };
}

export interface JetStreamError {
  readonly code?: number;
  readonly err_code?: number;
  readonly description?: string;
}

/** A consumer that the meta leader has to place answers within milliseconds, but for an election: it takes 4 to 5 s. */
const ANSWER_TIMEOUT_MS = 3_000;

/**
 * Asks JetStream's API on an identity's connection, within that identity's permissions.
 *
 * @param request  such as `CONSUMER.CREATE.ORDERS.demo-alice-0.orders.eu.>`
 * @returns its answer, which may be an error; `nats_unavailable`, `no_responders`, `timeout` when there was none
 */
export async function askJetStream(
  connection: Connection,
  request: string,
  body?: object,
): Promise<Outcome<JetStreamAnswer>> {
  const payload = Buffer.from(body ? JSON.stringify(body) : "");
  const message = { subject: `$JS.API.${request}`, payload, headers: [] };
  const answer = await connection.request(message, ANSWER_TIMEOUT_MS);
  if (!answer.ok) return answer;
  try {
    const read: unknown = JSON.parse(Buffer.from(answer.value.payload).toString("utf8"));
    if (typeof read === "object" && read !== null) return allowed(read);
  } catch {
    // Below.
  }
  return refused({ reason: "nats_unavailable", why: "JetStream answered something else than JSON" });
}
