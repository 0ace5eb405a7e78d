import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Issue } from "../issue.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { isoTimeOf } from "../time.ts";
import { addOperation, operation } from "./operation.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse } from "./server.ts";

/** A public nkey as NATS writes it. */
const NKEY = /^U[A-Z2-7]{55}$/;

const CREDENTIALS = operation({
  id: "credentials",
  method: "POST",
  path: "/v1/credentials",
  tag: "you",
  summary: "Get a NATS credential for a key of one's own",
  description:
    "For a client that connects to nats-server by itself. The credential says who and nothing of what: every connect is judged anew.",
  parameters: {},
  body: {
    description: "The public nkey of a user, whose private half never leaves the caller.",
    required: true,
    content: {
      "text/plain": {
        schema: { type: "string", pattern: NKEY.source },
        example: "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
      },
    },
  },
  answers: {
    200: {
      description: "The credential.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: ["jwt", "servers", "inboxPrefix", "expires"],
            properties: {
              jwt: { type: "string", description: "A NATS user JWT for the key." },
              servers: { type: "array", items: { type: "string" }, description: "Where to connect." },
              inboxPrefix: {
                type: "string",
                description: "Where replies arrive: the client has to be told so.",
              },
              expires: { type: "string", format: "date-time" },
            },
          },
        },
      },
    },
  },
  problems: ["unsupported_media_type"],
});

/** `POST /v1/credentials`: a credential for the caller's own key, and where to use it. */
export function addCredentials(
  app: FastifyInstance,
  { presentedOf }: Pick<EndpointParts, "presentedOf">,
  { issue, servers }: { readonly issue: Issue; readonly servers: readonly string[] },
): void {
  addOperation(app, CREDENTIALS, async (request, query, reply) => {
    const nkey = query.ok ? readNkey(request) : query;
    const asked = { presented: presentedOf(request), nkey, facts: request.facts };
    const { jwt, inboxPrefix, expiresAt } = orRefuse(await issue.credential(asked));
    return reply
      .header("cache-control", "no-store")
      .send({ jwt, servers, inboxPrefix, expires: isoTimeOf(expiresAt) });
  });
}

/** The body and nothing else in it: no line end, no JSON. Whether its checksum is right is asked where it is used. */
function readNkey({ headers, body }: FastifyRequest): Outcome<string> {
  const type = headers["content-type"];
  if (type !== undefined && !/^text\/plain(?:;|$)/i.test(type)) {
    return refused({ reason: "media_type_unsupported", found: type, expected: "text/plain" });
  }
  const text = body instanceof Uint8Array ? Buffer.from(body).toString("latin1") : "";
  if (text.length === 56 && NKEY.test(text)) return allowed(text);
  return refused({
    reason: "request_invalid",
    what: "body",
    why: `expected the public nkey of a user, 56 characters that begin with U; found ${text.length} bytes`,
  });
}
