import { payloadDigest, uuidv7 } from "@countersign/seal";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Entry, type Expected, type Place, subjectOf } from "../key-value.ts";
import type { HeaderList } from "../nats/connection.ts";
import type { Message } from "../prepare.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { traceparentOf } from "../trace.ts";
import { refuseDemands } from "./demands.ts";
import { httpHeadersOf, natsHeadersOf, valuesByName } from "./headers.ts";
import { type AnswerDefinition, addOperation, type HeaderDefinition, operation } from "./operation.ts";
import { type Kind, matching, required } from "./parameter.ts";
import type { EndpointParts } from "./parts.ts";
import { orRefuse, RefusalError } from "./server.ts";

export const BUCKET: Kind<string> = matching("The bucket.", {
  grammar: /^[A-Za-z0-9_-]{1,64}$/,
  expected: "the name of a bucket, 1–64 of A–Z a–z 0–9 _ -",
  example: "carts",
});

/** @source  NATS ADR-8; shorter than there, so that its subject fits into a seal */
const KEY = matching("The key.", {
  grammar: /^(?=.{1,180}$)[A-Za-z0-9_=/-]+(?:\.[A-Za-z0-9_=/-]+){0,12}$/,
  expected: "a key, 1–180 of A–Z a–z 0–9 _ = / - in up to 13 parts with dots between",
  example: "demo-alice.cart",
});

const ETAG: Readonly<Record<string, HeaderDefinition>> = {
  ETag: {
    description: "The revision of the key, in double quotes.",
    schema: { type: "string" },
    example: '"7"',
  },
};

const IF_MATCH: HeaderDefinition = {
  description: "The revision it must have, as its `ETag` said; or nothing is written.",
  schema: { type: "string", pattern: '^"\\d{1,16}"$' },
  example: '"7"',
};

const IF_NONE_MATCH: HeaderDefinition = {
  description: "`*`: there must be no value, or nothing is written.",
  schema: { type: "string", const: "*" },
  example: "*",
};

const PLACE = { bucket: required(BUCKET), key: required(KEY) };

const WRITTEN: AnswerDefinition = {
  description: "The bucket has it.",
  headers: ETAG,
  content: {
    "application/json": {
      schema: {
        type: "object",
        required: ["txn", "id", "bucket", "key", "revision"],
        properties: {
          txn: { type: "string", format: "uuid" },
          id: { type: "string" },
          bucket: { type: "string" },
          key: { type: "string" },
          revision: { type: "integer", minimum: 1 },
        },
      },
    },
  },
};

const WRITE_PROBLEMS = [
  "invalid_header",
  "precondition_failed",
  "payload_too_large",
  "rate_limited",
  "no_responders",
  "outcome_unknown",
] as const;

const GET = operation({
  id: "kv-get",
  method: "GET",
  path: "/v1/kv",
  tag: "key-value",
  summary: "Read a key",
  description:
    "The body is the value, its headers `Msg-…`. A copy of the bucket may answer, which is milliseconds behind; a write that compares revisions is not.",
  parameters: PLACE,
  headers: {
    "If-None-Match": {
      description: "Revisions that the caller has: answered with 304.",
      schema: { type: "string" },
      example: '"7"',
    },
  },
  answers: {
    200: { description: "The value.", headers: ETAG, content: { "*/*": {} } },
    304: { description: "The caller has it.", headers: ETAG },
  },
  problems: ["not_found", "no_responders", "timeout"],
});

const PUT = operation({
  id: "kv-put",
  method: "PUT",
  path: "/v1/kv",
  tag: "key-value",
  summary: "Write a key",
  description: "The body becomes the value, sealed as messages are.",
  parameters: PLACE,
  headers: { "If-Match": IF_MATCH, "If-None-Match": IF_NONE_MATCH },
  body: { description: "The value.", required: false, content: { "*/*": { example: "{}" } } },
  answers: { 200: WRITTEN },
  problems: WRITE_PROBLEMS,
});

const DELETE = operation({
  id: "kv-delete",
  method: "DELETE",
  path: "/v1/kv",
  tag: "key-value",
  summary: "Delete a key",
  description: "A mark is written in its place, whose revision counts on.",
  parameters: PLACE,
  headers: { "If-Match": IF_MATCH },
  answers: { 200: WRITTEN },
  problems: WRITE_PROBLEMS,
});

/** `GET`, `PUT` and `DELETE /v1/kv?bucket=&key=`: a key of a bucket, with its revision as `ETag`. */
export function addKv(app: FastifyInstance, parts: EndpointParts): void {
  const { admit, keyValue, presentedOf, clock } = parts;

  async function write(
    request: FastifyRequest,
    writing: Outcome<Writing>,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const asked = {
      presented: presentedOf(request),
      action: writing.ok ? allowed({ verb: "write-kv" as const, ...writing.value.place }) : writing,
      facts: request.facts,
      ...(writing.ok && { message: writing.value.message.facts }),
    };
    const admission = orRefuse(await admit(asked));
    const { place, message, expected } = orRefuse(writing);
    const { txn, id, sequence } = orRefuse(await keyValue.write(admission, message, place, expected));
    return reply.header("etag", `"${sequence}"`).send({ txn, id, ...place, revision: sequence });
  }

  addOperation(app, PUT, (request, query, reply) => {
    const headers = query.ok ? natsHeadersOf(request.raw.rawHeaders) : query;
    return write(request, writingOf(request, query, headers, clock), reply);
  });

  addOperation(app, GET, async (request, query, reply) => {
    const action = query.ok ? allowed({ verb: "read-kv" as const, ...query.value }) : query;
    const admission = orRefuse(
      await admit({ presented: presentedOf(request), action, facts: request.facts }),
    );
    const entry = orRefuse(await keyValue.read(admission, orRefuse(query)));
    if (!entry || entry.deleted) throw new RefusalError({ reason: "not_found", path: "/v1/kv" });
    return answerEntry(request, reply, entry);
  });

  addOperation(app, DELETE, (request, query, reply) =>
    write(request, writingOf(request, query, allowed([DELETION]), clock), reply),
  );
}

/** Covered by the seal, as whatever changes what a message means. */
const DELETION = ["KV-Operation", "DEL"] as const;

interface Writing {
  readonly place: Place;
  readonly message: Message;
  readonly expected: Expected;
}

function writingOf(
  request: FastifyRequest,
  query: Outcome<Place>,
  headers: Outcome<HeaderList>,
  clock: EndpointParts["clock"],
): Outcome<Writing> {
  if (!query.ok) return query;
  if (!headers.ok) return headers;
  const expected = readExpected(request);
  if (!expected.ok) return expected;
  const { bucket, key } = query.value;
  const place = { bucket, key };
  const payload = request.body instanceof Uint8Array ? request.body : new Uint8Array(0);
  const id = uuidv7(clock() * 1000);
  const facts = { id, subject: subjectOf(place), bytes: payload.length, digest: payloadDigest(payload) };
  const traceparent = traceparentOf(request.facts.txn, id);
  const message = { facts, payload, headers: headers.value, traceparent };
  return refuseDemands(request, { place, message, expected: expected.value });
}

/** @source  RFC 9110 §13.1.1, §13.1.2; one revision, as it was given: a list would leave open which was met */
function readExpected({ headers, method }: FastifyRequest): Outcome<Expected> {
  const { "if-match": match, "if-none-match": noneMatch } = headers;
  if (match !== undefined && noneMatch !== undefined) {
    return refused({
      reason: "header_refused",
      header: "if-none-match",
      why: "send it or If-Match, not both",
    });
  }
  if (match !== undefined) {
    const [, revision] = /^"([1-9]\d{0,15})"$/.exec(match) ?? [];
    if (revision !== undefined) return allowed({ revision: Number(revision) });
    return refused({
      reason: "header_refused",
      header: "if-match",
      why: 'expected one revision, such as "7"',
    });
  }
  if (noneMatch === undefined) return allowed(undefined);
  if (noneMatch === "*" && method === "PUT") return allowed("absent");
  const why =
    method === "PUT" ? "expected *, for a key that must not be there" : "a deletion takes If-Match only";
  return refused({ reason: "header_refused", header: "if-none-match", why });
}

function answerEntry(request: FastifyRequest, reply: FastifyReply, entry: Entry): FastifyReply {
  const etag = `"${entry.revision}"`;
  reply.header("etag", etag).header("cache-control", "private, no-cache");
  const modified = new Date(entry.at);
  if (!Number.isNaN(modified.getTime())) reply.header("last-modified", modified.toUTCString());
  if (has(request.headers["if-none-match"], etag)) return reply.code(304).send();
  for (const [name, values] of valuesByName(httpHeadersOf(entry.headers).headers)) reply.header(name, values);
  // Whoever wrote the value chose type and bytes: they must never run as a page of this origin.
  reply.header("content-security-policy", "sandbox; default-src 'none'");
  const { buffer, byteOffset, byteLength } = entry.payload;
  return reply.code(200).send(Buffer.from(buffer, byteOffset, byteLength));
}

/** @source  RFC 9110 §8.8.3.2: compared weakly */
function has(ifNoneMatch: string | undefined, etag: string): boolean {
  const tags = ifNoneMatch?.split(",").map((tag) => tag.trim().replace(/^W\//, "")) ?? [];
  return tags.includes(etag) || tags.includes("*");
}
