import type { FastifyInstance, FastifyRequest } from "fastify";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { askOf, readMessage } from "./message.ts";
import type { EndpointParts } from "./parts.ts";
import { readSingles } from "./query.ts";
import { orRefuse } from "./server.ts";

/** `POST /v1/publish?subject=…`: the body becomes the payload. 202 once it is sealed and on its way. */
export function addPublish(app: FastifyInstance, parts: EndpointParts): void {
  const { admit, effects, presentedOf, clock } = parts;

  app.post("/v1/publish", async (request, reply) => {
    const subject = readSubject(request);
    const message = subject.ok ? readMessage(request, subject.value, clock) : subject;
    const admission = orRefuse(await admit(askOf("publish", presentedOf(request), message, request)));
    const published = orRefuse(await effects.publish(admission, orRefuse(message)));
    return reply.code(202).header("content-type", "application/json").send(JSON.stringify(published));
  });
}

function readSubject(request: FastifyRequest): Outcome<string | undefined> {
  const found = request.headers["content-type"] ?? "";
  // A batch taken for one message today would be many messages tomorrow.
  if (/^application\/x-ndjson\b/i.test(found)) {
    return refused({
      reason: "media_type_unsupported",
      found,
      expected: "one message; batches are not offered yet",
    });
  }
  const query = readSingles(request, ["subject"]);
  return query.ok ? allowed(query.value.subject) : query;
}
