import { parseUserName } from "@countersign/seal";
import type { FastifyInstance } from "fastify";
import type { Admission, Admit } from "../admit.ts";
import type { AuditLog } from "../audit/record.ts";
import { messageOf } from "../errors.ts";
import { parseStrictJson } from "../identity/strict-json.ts";
import type { Ended, EndUser } from "../nats/end-user.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { type Clock, isoTimeOf } from "../time.ts";
import { addOperation, operation } from "./operation.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse } from "./server.ts";

export interface KickParts extends Pick<EndpointParts, "presentedOf"> {
  readonly admit: Admit;
  readonly audit: AuditLog;
  readonly endUser: EndUser;
  readonly clock: Clock;
  readonly instance: string;
}

/** `{"user": "<200 bytes>"}` and some white space. */
const BODY_BYTES_MAX = 1_024;
/** Keeps the record's line well under 64 KiB. */
const WHY_CHARACTERS_MAX = 8_192;

const KICK = operation({
  id: "kick",
  method: "POST",
  path: "/v1/kick",
  tag: "administration",
  summary: "End everything a user has open",
  description:
    "Needs the verb `end-sessions`. Every proof of the user made until now is refused from then on, on every instance; streams and connections end, direct ones too. A new sign-in gets in: who is to stay out has to lose the right in the policy, or the account at the identity provider.",
  parameters: {},
  body: {
    description: "The user, as `whoami` and the record write it.",
    required: true,
    content: {
      "application/json": {
        schema: {
          type: "object",
          required: ["user"],
          additionalProperties: false,
          properties: { user: { type: "string", maxLength: 200 } },
        },
        example: { user: "demo-bob" },
      },
    },
  },
  answers: {
    200: {
      description:
        "Nothing that was proved until then gets in any more; `notReached` says what may still be open.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: ["user", "notBefore", "ended", "notReached"],
            properties: {
              user: { type: "string" },
              notBefore: { type: "string", format: "date-time" },
              ended: {
                type: "array",
                description:
                  "NATS connections that closed. `way`: `gateway` for those it carried, with the streams on them; `nats`, `websocket` and `mqtt` for direct ones.",
                items: {
                  type: "object",
                  required: ["way", "server", "connections"],
                  properties: {
                    way: { type: "string" },
                    server: { type: "string" },
                    connections: { type: "integer" },
                  },
                },
              },
              notReached: { type: "array", items: { type: "string" } },
            },
          },
        },
      },
    },
  },
  problems: ["unavailable"],
});

/**
 * On the administration listener, for who may `end-sessions`.
 *
 * @param partsNow  undefined while the gateway is starting: the listener is up before NATS is
 */
export function addKick(app: FastifyInstance, partsNow: () => KickParts | undefined): void {
  addOperation(app, KICK, async (request, query, reply) => {
    const parts = partsNow();
    const starting = {
      reason: "check_unavailable",
      check: "kick",
      why: "the gateway is still starting",
    } as const;
    const { admit, presentedOf, endUser, clock } = orRefuse(parts ? allowed(parts) : refused(starting));
    const user = query.ok ? readUser(request.body) : query;
    const admission = orRefuse(
      await admit({
        presented: presentedOf(request),
        action: user.ok ? allowed({ verb: "end-sessions" }) : user,
        ...(user.ok && { object: user.value }),
        facts: request.facts,
      }),
    );
    const whom = orRefuse(user);
    const at = clock();
    const ended = await endUser(whom, at).then(allowed, (error: unknown) => unavailable(messageOf(error)));
    if (parts) complete(parts, admission, whom, ended);
    return reply.send({ user: whom, notBefore: isoTimeOf(at), ...orRefuse(ended) });
  });
}

/** Completes the decision's record with what came of it. */
function complete(
  { audit, clock, instance }: KickParts,
  { facts }: Admission,
  user: string,
  outcome: Outcome<Ended>,
): void {
  audit.complete({
    kind: "completion",
    at: isoTimeOf(clock()),
    instance,
    txns: [facts.txn],
    outcome: outcome.ok ? "received" : "failed",
    why: `${user}: ${outcome.ok ? textOf(outcome.value) : outcome.refusal.reason}`.slice(
      0,
      WHY_CHARACTERS_MAX,
    ),
  });
}

function textOf({ ended, notReached }: Ended): string {
  const counts = ended.map(({ way, server, connections }) => `${connections} ${way} on ${server}`);
  const missed = notReached.map((what) => `not reached: ${what}`);
  return [counts.length > 0 ? `ended ${counts.join(", ")}` : "nothing was open", ...missed].join("; ");
}

function readUser(body: unknown): Outcome<string> {
  const bytes = body instanceof Uint8Array && body.length <= BODY_BYTES_MAX ? body : new Uint8Array();
  const { user, ...rest } = parseStrictJson(Buffer.from(bytes).toString("utf8")) ?? {};
  return typeof user === "string" && parseUserName(user) && Object.keys(rest).length === 0
    ? allowed(user)
    : refused({
        reason: "request_invalid",
        what: "body",
        why: `expected JSON {"user": "…"} and nothing else, the user as whoami writes it: <issuer>-<id>`,
      });
}

function unavailable(why: string): Outcome<never> {
  return refused({ reason: "check_unavailable", check: "sign-outs", why });
}
