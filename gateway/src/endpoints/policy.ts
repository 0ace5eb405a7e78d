import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Admission, Admit } from "../admit.ts";
import type { AuditLog } from "../audit/record.ts";
import type { Candidate } from "../policy/candidate.ts";
import { type Change, diffPolicies } from "../policy/diff.ts";
import type { Policy, PolicyFile } from "../policy/policy.ts";
import type { PolicyStore } from "../policy/store.ts";
import { allowed, type Outcome, type Refusal, refused } from "../refusal.ts";
import { type Clock, isoTimeOf } from "../time.ts";
import { addOperation, operation } from "./operation.ts";
import { matching, required } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { dress } from "./problem.ts";
import { orRefuse } from "./server.ts";

export interface PolicyParts extends Pick<EndpointParts, "presentedOf"> {
  readonly admit: Admit;
  readonly audit: AuditLog;
  readonly store: PolicyStore;
  readonly current: () => Policy;
  readonly state: () => { readonly source: "file" | "pushed"; readonly problem: string | undefined };
  readonly judge: (files: readonly PolicyFile[]) => Candidate;
  /** Makes this instance take up what was pushed; the others look by themselves within a second. */
  readonly follow: () => Promise<void>;
  readonly publicUrl: string;
  readonly clock: Clock;
  readonly instance: string;
}

const FILES_MAX = 100;
/** A label for rules and mistakes: it is never opened. */
const FILE_PATH = /^(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}$/;
const PUSHED_MEANWHILE = "Look at the policy that is in force now, and push again.";
/** Keeps the record's line well under 64 KiB. */
const WIDENING_CHARACTERS_MAX = 8_192;

const LIVE_ANSWER = {
  description: "In force here; the other instances follow within two seconds.",
  content: {
    "application/json": {
      schema: {
        type: "object",
        required: ["version", "former", "wider", "changes", "warnings"],
        properties: {
          version: { type: "string" },
          former: { type: "string" },
          wider: { type: "boolean", description: "Whether anybody may do more than before." },
          changes: { type: "array", items: { type: "object" } },
          warnings: { type: "array", items: { type: "string" } },
        },
      },
    },
  },
} as const;

const SHOW = operation({
  id: "policy",
  method: "GET",
  path: "/v1/policy",
  tag: "administration",
  summary: "The policy in force",
  parameters: {},
  answers: {
    200: {
      description: "Its version, where it came from, and what was in force before.",
      content: {
        "application/json": {
          schema: {
            type: "object",
            required: ["version", "source", "history"],
            properties: {
              version: { type: "string" },
              source: { type: "string", enum: ["file", "pushed"] },
              problem: { type: "string" },
              history: { type: "array", items: { type: "object" } },
            },
          },
        },
      },
    },
  },
  problems: [],
});

const PUSH = operation({
  id: "policy-push",
  method: "POST",
  path: "/v1/policy",
  tag: "administration",
  summary: "Put a policy in force",
  description: "On every instance. One that does not parse, or fails its own tests, changes nothing.",
  parameters: {},
  body: {
    description: "Its files; paths are labels for mistakes, and are never opened.",
    required: true,
    content: {
      "application/json": {
        schema: {
          type: "object",
          required: ["files"],
          properties: {
            files: {
              type: "array",
              minItems: 1,
              maxItems: FILES_MAX,
              items: {
                type: "object",
                required: ["path", "text"],
                properties: { path: { type: "string", pattern: FILE_PATH.source }, text: { type: "string" } },
              },
            },
          },
        },
        example: { files: [{ path: "policy.yaml", text: "$POLICY" }] },
      },
    },
  },
  answers: { 200: LIVE_ANSWER },
  problems: ["invalid_policy", "conflict", "payload_too_large"],
});

const ROLLBACK = operation({
  id: "policy-rollback",
  method: "POST",
  path: "/v1/policy/rollback",
  tag: "administration",
  summary: "Go back to a policy that was pushed before",
  parameters: {
    to: required(
      matching("Its version.", {
        grammar: /^[0-9a-f]{64}$/,
        expected: "a version that was pushed before",
        example: "$VERSION",
      }),
    ),
  },
  answers: { 200: LIVE_ANSWER },
  problems: ["invalid_policy", "conflict"],
});

/**
 * On the administration listener, for who may `push-policy`: what is in force, pushing another, going back.
 *
 * @param partsNow  undefined while the gateway is starting: the listener is up before NATS is
 */
export function addPolicy(app: FastifyInstance, partsNow: () => PolicyParts | undefined): void {
  function started(): PolicyParts {
    const why = "the gateway is still starting";
    return orRefuse(allowedOr(partsNow(), { reason: "check_unavailable", check: "policy", why }));
  }

  addOperation(app, SHOW, async (request, query) => {
    const parts = started();
    await admitPush(parts, request, query);
    const { source, problem } = parts.state();
    const history = await parts.store.history();
    return { version: parts.current().version, source, ...(problem !== undefined && { problem }), history };
  });

  addOperation(app, PUSH, async (request, query, reply) => {
    const parts = started();
    const admission = await admitPush(parts, request, query);
    return goLive(parts, { request, reply, admission, files: orRefuse(readFiles(request.body)) });
  });

  addOperation(app, ROLLBACK, async (request, query, reply) => {
    const parts = started();
    const admission = await admitPush(parts, request, query);
    const { to } = orRefuse(query);
    const why = `expected a version that was pushed before, found "${to}"`;
    const files = await parts.store.filesOf(to);
    const known = allowedOr(files, { reason: "request_invalid", what: "query parameter to", why });
    return goLive(parts, { request, reply, admission, files: orRefuse(known) });
  });
}

function allowedOr<T>(value: T | undefined, refusal: Refusal): Outcome<T> {
  return value === undefined ? refused(refusal) : allowed(value);
}

async function admitPush(
  { admit, presentedOf }: PolicyParts,
  request: FastifyRequest,
  query: Outcome<unknown>,
): Promise<Admission> {
  const action = query.ok ? allowed({ verb: "push-policy" as const }) : query;
  return orRefuse(await admit({ presented: presentedOf(request), action, facts: request.facts }));
}

interface Push {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly admission: Admission;
  readonly files: readonly PolicyFile[];
}

/** Judged as at every other door: what does not parse, or fails its own tests, is told why and changes nothing. */
async function goLive(parts: PolicyParts, { request, reply, admission, files }: Push): Promise<FastifyReply> {
  const { store, judge, current, follow, publicUrl, clock } = parts;
  const where = { publicUrl, requestId: request.facts.requestId };
  const candidate = judge(files);
  if (!candidate.ok) {
    const { status, headers, body } = dress({ code: "invalid_policy" }, where);
    return reply
      .code(status)
      .headers(headers)
      .send({ ...body, mistakes: candidate.mistakes });
  }
  const former = current();
  const { version } = candidate.policy;
  const diff = diffPolicies(former, candidate.policy);
  const changes = diff.roles.flatMap(({ role = "(everybody)", changes: each }) =>
    each.map((change) => ({ role, ...change })),
  );
  const pushed = { version, by: admission.identity.user, at: clock(), former: former.version };
  if (!(await store.push(pushed, files, await store.current()))) {
    const { status, headers, body } = dress({ code: "conflict", detail: PUSHED_MEANWHILE }, where);
    return reply.code(status).headers(headers).send(body);
  }
  recordChange(parts, admission, former.version, version, changes);
  await follow();
  return reply.send({
    version,
    former: former.version,
    wider: diff.wider,
    changes,
    warnings: candidate.warnings,
  });
}

/** Completes the decision's record with what came of it: from which version to which, and what became wider. */
function recordChange(
  { audit, clock, instance }: PolicyParts,
  { facts }: Admission,
  former: string,
  version: string,
  changes: readonly (Change & { readonly role: string })[],
): void {
  const wider = changes
    .filter((change) => change.wider)
    .map(({ role, what, text }) => `${role} ${what} ${text}`);
  const widening = wider.length > 0 ? `wider: ${wider.join("; ")}` : "not wider";
  audit.complete({
    kind: "completion",
    at: isoTimeOf(clock()),
    instance,
    txns: [facts.txn],
    outcome: "received",
    why: `policy ${former} → ${version}; ${widening.slice(0, WIDENING_CHARACTERS_MAX)}`,
  });
}

function readFiles(body: unknown): Outcome<readonly PolicyFile[]> {
  const invalid = refused({
    reason: "request_invalid",
    what: "body",
    why: `expected JSON {"files": [{"path", "text"}, …]}, 1 to ${FILES_MAX} of them, paths of [A-Za-z0-9._/-]`,
  });
  let value: unknown;
  try {
    value = body instanceof Uint8Array ? JSON.parse(Buffer.from(body).toString("utf8")) : undefined;
  } catch {
    return invalid;
  }
  const found = isRecord(value) && Array.isArray(value.files) ? (value.files as readonly unknown[]) : [];
  const files = found.flatMap((file) => (isFile(file) ? [{ path: file.path, text: file.text }] : []));
  return files.length >= 1 && files.length === found.length && files.length <= FILES_MAX
    ? allowed(files)
    : invalid;
}

function isFile(file: unknown): file is PolicyFile {
  return (
    isRecord(file) &&
    typeof file.text === "string" &&
    typeof file.path === "string" &&
    FILE_PATH.test(file.path)
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
