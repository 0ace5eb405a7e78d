import type { FastifyInstance } from "fastify";
import type { Outcome } from "../refusal.ts";
import { askOf, readMessage } from "./message.ts";
import type { EndpointParts } from "./parts.ts";
import { readQuery, single } from "./query.ts";
import { orRefuse } from "./server.ts";

/** `POST /v1/publish?subject=…`: the body becomes the payload. 202 once it is sealed and on its way. */
export function addPublish(app: FastifyInstance, parts: EndpointParts): void {
  const { admit, effects, presentedOf, clock } = parts;

  app.post("/v1/publish", async (request, reply) => {
    const subject = readSubject(readQuery(request, ["subject"]));
    const message = subject.ok ? readMessage(request, subject.value, clock) : subject;
    const admission = orRefuse(await admit(askOf("publish", presentedOf(request), message, request)));
    const published = orRefuse(await effects.publish(admission, orRefuse(message)));
    return reply.code(202).header("content-type", "application/json").send(JSON.stringify(published));
  });
}

function readSubject(query: Outcome<{ readonly subject?: readonly string[] }>): Outcome<string | undefined> {
  return query.ok ? single("subject", query.value.subject) : query;
}
