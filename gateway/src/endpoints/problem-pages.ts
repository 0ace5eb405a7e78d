import type { FastifyInstance } from "fastify";
import { PROBLEM_TITLES } from "./problem.ts";

/**
 * `GET /problems/<code>`: what the `type` of an error leads to. Needs no sign-in, and says no more than the error.
 *
 * @source RFC 9457 §3.1.1: a type that can be dereferenced should lead to words for people
 */
export function addProblemPages(app: FastifyInstance): void {
  for (const [code, title] of Object.entries(PROBLEM_TITLES)) {
    const text = `${code}: ${title}.

Countersign answered a request so. In the answer, "detail" says what the caller may do about it, where there is
something. "requestId" is what an administrator finds the record of the request by; it says why.
`;
    app.get(`/problems/${code}`, (_request, reply) =>
      reply
        .header("content-type", "text/plain; charset=utf-8")
        .header("cache-control", "public, max-age=86400")
        .send(text),
    );
  }
}
