import type { FastifyInstance } from "fastify";
import { type ApiPlace, openApiOf } from "./openapi.ts";
import { addOperation, operation } from "./operation.ts";

const OPENAPI = operation({
  id: "openapi",
  method: "GET",
  path: "/openapi.json",
  tag: "keys",
  open: true,
  summary: "This description",
  parameters: {},
  answers: {
    200: {
      description: "OpenAPI 3.1.",
      content: { "application/json": { schema: { type: "object", required: ["openapi", "info", "paths"] } } },
    },
  },
  problems: [],
});

/** `GET /openapi.json`: all operations of this server, those that are added later too. */
export function addApi(app: FastifyInstance, place: ApiPlace): void {
  let text: string | undefined;

  addOperation(app, OPENAPI, async (_request, _query, reply) => {
    text ??= JSON.stringify(openApiOf(app.operations, place));
    return reply
      .header("content-type", "application/json")
      .header("cache-control", "public, max-age=300")
      .send(text);
  });
}
