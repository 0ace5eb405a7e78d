import type { FastifyInstance } from "fastify";

/** One thing the gateway needs in order to serve. */
export interface Readiness {
  readonly check: string;
  readonly ok: boolean;
  /** What was found, for the operator. */
  readonly found: string;
  /** What to do about it, when not ok. */
  readonly remedy?: string;
}

/** `GET /healthz`: the process answers. Says nothing of what it needs: that is `readyz`, on the admin listener. */
export function addHealth(app: FastifyInstance): void {
  app.get("/healthz", (_request, reply) => reply.header("cache-control", "no-store").send({ status: "ok" }));
}

/** The admin listener's own: `GET /readyz` in full, 503 while anything is missing, and `GET /metrics`. */
export function addAdmin(
  app: FastifyInstance,
  { readiness, metrics }: { readonly readiness: () => readonly Readiness[]; readonly metrics: () => string },
): void {
  app.get("/readyz", (_request, reply) => {
    const checks = readiness();
    const ready = checks.every(({ ok }) => ok);
    return reply
      .code(ready ? 200 : 503)
      .header("cache-control", "no-store")
      .send({ ready, checks });
  });
  app.get("/metrics", (_request, reply) =>
    reply.header("content-type", "text/plain; version=0.0.4").send(metrics()),
  );
}
