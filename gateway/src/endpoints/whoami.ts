import type { FastifyInstance } from "fastify";
import type { Admission } from "../admit.ts";
import { isoTimeOf } from "../time.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse } from "./server.ts";

/** `GET /v1/whoami`: who the gateway takes the caller for, and until when. */
export function addWhoami(
  app: FastifyInstance,
  { admit, presentedOf }: EndpointParts,
  inboxPrefixOf: (admission: Admission) => string,
): void {
  app.get("/v1/whoami", async (request, reply) => {
    const presented = presentedOf(request);
    const admission = orRefuse(
      await admit({ presented, action: { question: "whoami" }, facts: request.facts }),
    );
    const { identity, grant } = admission;
    return reply.header("cache-control", "no-store").send({
      user: identity.user,
      issuer: identity.issuer,
      ...(identity.name !== undefined && { name: identity.name }),
      ...(identity.actor && { actor: identity.actor.user }),
      kind: identity.kind,
      roles: grant.roles,
      expires: isoTimeOf(identity.expiresAt),
      inboxPrefix: inboxPrefixOf(admission),
      policy: grant.policy,
    });
  });
}
