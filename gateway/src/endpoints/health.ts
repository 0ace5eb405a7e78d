import type { FastifyInstance } from "fastify";
import { addOperation, operation } from "./operation.ts";

/** One thing the gateway needs in order to serve. */
export interface Readiness {
  readonly check: string;
  readonly ok: boolean;
  /** What was found, for the operator. */
  readonly found: string;
  /** What to do about it, when not ok. */
  readonly remedy?: string;
}

// What monitors add to their query changes nothing here, and is not refused: theirs to choose, and not ours to break.

const HEALTH = operation({
  id: "health",
  method: "GET",
  path: "/healthz",
  tag: "keys",
  needs: "nothing",
  summary: "The process answers",
  parameters: {},
  answers: {
    200: {
      description: "It does.",
      content: {
        "application/json": {
          schema: { type: "object", properties: { status: { type: "string", const: "ok" } } },
        },
      },
    },
  },
  problems: [],
});

const READY = operation({
  id: "ready",
  method: "GET",
  path: "/readyz",
  tag: "administration",
  needs: "nothing",
  summary: "What the gateway needs in order to serve, and whether it is there",
  parameters: {},
  answers: {
    200: { description: "All of it.", content: { "application/json": { schema: readinessSchema() } } },
    503: { description: "Not all of it.", content: { "application/json": { schema: readinessSchema() } } },
  },
  problems: [],
});

const METRICS = operation({
  id: "metrics",
  method: "GET",
  path: "/metrics",
  tag: "administration",
  needs: "nothing",
  summary: "Counters and gauges, in the text format of Prometheus",
  parameters: {},
  answers: { 200: { description: "Now.", content: { "text/plain": { schema: { type: "string" } } } } },
  problems: [],
});

function readinessSchema(): Readonly<Record<string, unknown>> {
  const text = { type: "string" };
  const check = {
    type: "object",
    properties: { check: text, ok: { type: "boolean" }, found: text, remedy: text },
  };
  return {
    type: "object",
    properties: { ready: { type: "boolean" }, checks: { type: "array", items: check } },
  };
}

/** `GET /healthz`: the process answers. Says nothing of what it needs: that is `readyz`, on the admin listener. */
export function addHealth(app: FastifyInstance): void {
  addOperation(app, HEALTH, async (_request, _query, reply) =>
    reply.header("cache-control", "no-store").send({ status: "ok" }),
  );
}

/** The admin listener's own: `GET /readyz` in full, 503 while anything is missing, and `GET /metrics`. */
export function addAdmin(
  app: FastifyInstance,
  { readiness, metrics }: { readonly readiness: () => readonly Readiness[]; readonly metrics: () => string },
): void {
  addOperation(app, READY, async (_request, _query, reply) => {
    const checks = readiness();
    const ready = checks.every(({ ok }) => ok);
    return reply
      .code(ready ? 200 : 503)
      .header("cache-control", "no-store")
      .send({ ready, checks });
  });
  addOperation(app, METRICS, async (_request, _query, reply) =>
    reply.header("content-type", "text/plain; version=0.0.4").send(metrics()),
  );
}
