import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Identity } from "../identity/identity.ts";
import { type Action, formatAction, parseAction } from "../policy/action.ts";
import type { Explanation } from "../policy/explain.ts";
import { missingText } from "../policy/explain-text.ts";
import type { Outcome, RuleRef } from "../refusal.ts";
import type { EndpointParts } from "./parts.ts";
import { readSingles } from "./query.ts";
import { orRefuse } from "./server.ts";

/**
 * `GET /v1/explain?action=publish&subject=…`: may I, and if not, what I may know of why. Shown are lines of the
 * caller's own roles; what other roles there are, and who has them, concerns others.
 */
export function addExplain(
  app: FastifyInstance,
  { admit, presentedOf, clock }: EndpointParts,
  explainTo: (identity: Identity, action: Action, now: number) => Explanation,
): void {
  app.get("/v1/explain", async (request, reply) => {
    const action = readAction(request);
    const asked = action.ok ? { question: `explain ${formatAction(action.value)}` } : action;
    const { identity } = orRefuse(
      await admit({ presented: presentedOf(request), action: asked, facts: request.facts }),
    );
    const explanation = explainTo(identity, orRefuse(action), clock());
    return reply.header("cache-control", "no-store").send(answerOf(explanation));
  });
}

function readAction(request: FastifyRequest): Outcome<Action> {
  const query = readSingles(request, ["action", "subject"]);
  if (!query.ok) return query;
  const { action: verb, subject } = query.value;
  return parseAction([verb, subject].filter((word) => word !== undefined).join(" "));
}

function answerOf({ outcome, action, roles, rule, near, policy }: Explanation): object {
  const mine = near.filter((one) => one.rule.role !== undefined && roles.includes(one.rule.role));
  return {
    outcome,
    action,
    roles,
    policy,
    ...(outcome === "allowed" && rule && { rule: lineOf(rule) }),
    ...(outcome === "refused" && {
      near: mine.map((one) => ({ ...lineOf(one.rule), missing: one.missing.map(missingText) })),
    }),
  };
}

/** Without the file and line: those are for whoever has the policy. */
function lineOf({ role, text }: RuleRef): object {
  return { ...(role !== undefined && { role }), text };
}
