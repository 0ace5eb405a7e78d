import type { FastifyInstance } from "fastify";
import type { Admission } from "../admit.ts";
import { isoTimeOf } from "../time.ts";
import { addOperation, operation } from "./operation.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse } from "./server.ts";

const WHOAMI = operation({
  id: "whoami",
  method: "GET",
  path: "/v1/whoami",
  tag: "you",
  summary: "Who am I here",
  description: "For whom the gateway takes the caller, and until when.",
  parameters: {},
  answers: {
    200: {
      description: "The caller.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: ["user", "issuer", "kind", "roles", "expires", "inboxPrefix", "policy"],
            properties: {
              user: { type: "string", description: "The name in policies, seals and records." },
              issuer: { type: "string" },
              name: { type: "string", description: "For display only." },
              actor: { type: "string", description: "Who acts for the user." },
              kind: { type: "string", enum: ["user", "service", "unknown"] },
              roles: { type: "array", items: { type: "string" } },
              expires: { type: "string", format: "date-time" },
              inboxPrefix: { type: "string", description: "Where replies arrive on NATS." },
              policy: { type: "string", description: "The version in force." },
            },
          },
        },
      },
    },
  },
  problems: [],
});

/** `GET /v1/whoami`: who the gateway takes the caller for, and until when. */
export function addWhoami(
  app: FastifyInstance,
  { admit, presentedOf }: EndpointParts,
  inboxPrefixOf: (admission: Admission) => string,
): void {
  addOperation(app, WHOAMI, async (request, query, reply) => {
    const presented = presentedOf(request);
    const action = query.ok ? { question: "whoami" } : query;
    const admission = orRefuse(await admit({ presented, action, facts: request.facts }));
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
