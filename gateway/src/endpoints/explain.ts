import type { FastifyInstance } from "fastify";
import type { Identity } from "../identity/identity.ts";
import { type Action, formatAction, parseAction } from "../policy/action.ts";
import type { Explanation } from "../policy/explain.ts";
import { missingText } from "../policy/explain-text.ts";
import { VERBS } from "../policy/line.ts";
import type { Outcome, RuleRef } from "../refusal.ts";
import { addOperation, operation } from "./operation.ts";
import { choice, matching, optional, required, type Values } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse } from "./server.ts";

const EXPLAIN = operation({
  id: "explain",
  method: "GET",
  path: "/v1/explain",
  tag: "you",
  summary: "May I, and if not, why not",
  description:
    "Shows lines of the caller's own roles. An object of several words stands in `subject` as in a policy.",
  parameters: {
    action: required(choice("The verb.", VERBS, "publish")),
    subject: optional(
      matching("Its object: for most verbs a subject.", {
        grammar: /^[\x21-\x7e]+(?: [\x21-\x7e]+)*$/,
        expected: "an object as a policy writes it",
        example: "orders.us.4711.create",
      }),
      { shown: true },
    ),
  },
  answers: {
    200: {
      description: "The decision, and how far the nearest lines were from it.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: ["outcome", "action", "roles", "policy"],
            properties: {
              outcome: { type: "string", enum: ["allowed", "refused"] },
              action: { type: "string" },
              roles: { type: "array", items: { type: "string" } },
              policy: { type: "string" },
              rule: { type: "object", properties: { role: { type: "string" }, text: { type: "string" } } },
              near: {
                type: "array",
                items: {
                  type: "object",
                  properties: {
                    role: { type: "string" },
                    text: { type: "string" },
                    missing: { type: "array", items: { type: "string" } },
                  },
                },
              },
            },
          },
        },
      },
    },
  },
  problems: [],
});

/**
 * `GET /v1/explain?action=publish&subject=…`: may I, and if not, what I may know of why. Shown are lines of the
 * caller's own roles; what other roles there are, and who has them, concerns others.
 */
export function addExplain(
  app: FastifyInstance,
  { admit, presentedOf, clock }: EndpointParts,
  explainTo: (identity: Identity, action: Action, now: number) => Explanation,
): void {
  addOperation(app, EXPLAIN, async (request, query, reply) => {
    const action = actionOf(query);
    const asked = action.ok ? { question: `explain ${formatAction(action.value)}` } : action;
    const { identity } = orRefuse(
      await admit({ presented: presentedOf(request), action: asked, facts: request.facts }),
    );
    const explanation = explainTo(identity, orRefuse(action), clock());
    return reply.header("cache-control", "no-store").send(answerOf(explanation));
  });
}

function actionOf(query: Outcome<Values<(typeof EXPLAIN)["parameters"]>>): Outcome<Action> {
  if (!query.ok) return query;
  const { action: verb, subject } = query.value;
  return parseAction(subject === undefined ? verb : `${verb} ${subject}`);
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
