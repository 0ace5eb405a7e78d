import type { FastifyInstance } from "fastify";
import { API_PAGE_POLICY, apiPageOf } from "./api-page.ts";
import { type ApiPlace, openApiOf } from "./openapi.ts";
import { addOperation, operation } from "./operation.ts";

const OPENAPI = operation({
  id: "openapi",
  method: "GET",
  path: "/openapi.json",
  tag: "keys",
  needs: "nothing",
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

const API_PAGE = operation({
  id: "api",
  method: "GET",
  path: "/api",
  tag: "keys",
  needs: "nothing",
  summary: "The same for people",
  parameters: {},
  answers: { 200: { description: "One page.", content: { "text/html": { schema: { type: "string" } } } } },
  problems: [],
});

/** `GET /openapi.json` and `GET /api`: all operations of this server, those that are added later too. */
export function addApi(app: FastifyInstance, place: ApiPlace): void {
  let text: string | undefined;
  let page: string | undefined;

  addOperation(app, OPENAPI, async (_request, _query, reply) => {
    text ??= JSON.stringify(openApiOf(app.operations, place));
    return reply
      .header("content-type", "application/json")
      .header("cache-control", "public, max-age=300")
      .send(text);
  });

  addOperation(app, API_PAGE, async (_request, _query, reply) => {
    page ??= apiPageOf(app.operations, place);
    return reply
      .header("content-type", "text/html; charset=utf-8")
      .header("content-security-policy", API_PAGE_POLICY)
      .header("cache-control", "public, max-age=300")
      .send(page);
  });
}
