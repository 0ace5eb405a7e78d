import type { FastifyInstance } from "fastify";
import { refused } from "../refusal.ts";
import type { EndpointParts } from "./parts.ts";
import { RefusalError, refusalOf } from "./server.ts";

/**
 * Makes a decision of a body beyond the listener's limit, which is not read, so that no endpoint sees its request:
 * whoever sent it is identified and recorded as refused, as for every other message.
 *
 * @param app  the scope of the endpoints that take messages
 */
export function recordOversized(
  app: FastifyInstance,
  { admit, presentedOf }: Pick<EndpointParts, "admit" | "presentedOf">,
): void {
  app.setErrorHandler(async (error, request) => {
    const refusal = refusalOf(error, request);
    if (error instanceof RefusalError || refusal?.reason !== "payload_too_large") throw error;
    const presented = presentedOf(request);
    const outcome = await admit({ presented, action: refused(refusal), facts: request.facts });
    throw outcome.ok ? error : new RefusalError(outcome.refusal);
  });
}
