import { readFile } from "node:fs/promises";
import type { FastifyInstance } from "fastify";

/** `GET /demo`: one page from a file, read anew each time. For the devstack; off unless the configuration names it. */
export function addDemo(app: FastifyInstance, path: string): void {
  app.get("/demo", async (_request, reply) =>
    reply
      .header("content-type", "text/html; charset=utf-8")
      .header("cache-control", "no-store")
      .header(
        "content-security-policy",
        "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'",
      )
      .send(await readFile(path)),
  );
}
