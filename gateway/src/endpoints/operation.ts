import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type Outcome, refused } from "../refusal.ts";
import { type Parameters, readParameters, type Values } from "./parameter.ts";
import type { ProblemCode } from "./problem.ts";

/**
 * One thing a caller may ask of the gateway over HTTP: what reads its request, and what `/openapi.json` says of it. The
 * two come from here alone.
 */
export interface Operation<P extends Parameters = Parameters> {
  /** OpenAPI's `operationId`, and the name of its example: `publish`. */
  readonly id: string;
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Under the path of the public URL; nothing a caller chooses stands in it. */
  readonly path: `/${string}`;
  /** Under which heading it stands. */
  readonly tag: OperationTag;
  /** What the caller presents; absent = any proof of identity. */
  readonly needs?: "nothing" | "session";
  /** A few words, and the sentences below them. */
  readonly summary: string;
  readonly description?: string;
  readonly parameters: P;
  readonly headers?: Readonly<Record<string, HeaderDefinition>>;
  /** Absent = the request has no body. */
  readonly body?: BodyDefinition;
  /** By status; problems are not among them. */
  readonly answers: Readonly<Record<number, AnswerDefinition>>;
  /** Codes of the problems it may answer with, besides those that every operation has. */
  readonly problems: readonly ProblemCode[];
}

/** Headings of the API's description, in their order. */
export const OPERATION_TAGS = {
  messages: "Publish messages, send requests",
  streams: "Watch and fetch messages",
  "key-value": "Read and write keys of a bucket",
  you: "Who you are here, and what you may do",
  session: "The web session of a browser",
  keys: "What verifiers and monitors ask for",
  administration: "For operators, on the administration listener",
} as const;

export type OperationTag = keyof typeof OPERATION_TAGS;

/** A request header that changes what an operation does. */
export interface HeaderDefinition {
  readonly description: string;
  /** Of a request's: whether the operation's published example has it. */
  readonly shown?: true;
  readonly schema: Readonly<Record<string, unknown>>;
  readonly example: string;
}

export interface BodyDefinition {
  readonly description: string;
  readonly required: boolean;
  /** By media type. */
  readonly content: Readonly<Record<string, Content>>;
}

export interface Content {
  /** JSON Schema of what is sent; absent for bytes. */
  readonly schema?: Readonly<Record<string, unknown>>;
  /** As it is sent. */
  readonly example?: unknown;
}

export interface AnswerDefinition {
  readonly description: string;
  readonly content?: BodyDefinition["content"];
  readonly headers?: Readonly<Record<string, HeaderDefinition>>;
}

declare module "fastify" {
  interface FastifyInstance {
    /** Everything that was added to this server: what `/openapi.json` describes. */
    operations: Operation[];
  }
}

/** Declares an operation, and keeps what its parameters are. */
export function operation<P extends Parameters>(definition: Operation<P>): Operation<P> {
  return definition;
}

/** Answers requests for it; its query is read already, and may have been refused. */
export function addOperation<P extends Parameters>(
  app: FastifyInstance,
  added: Operation<P>,
  answer: (request: FastifyRequest, query: Outcome<Values<P>>, reply: FastifyReply) => Promise<unknown>,
): void {
  const { method, path, parameters, body } = added;
  app.operations.push(added);
  app.route({
    method,
    url: path,
    handler: (request, reply) => {
      const query = readParameters(request, parameters);
      return answer(request, query.ok && body === undefined ? withoutBody(request, query) : query, reply);
    },
  });
}

/** A body that nobody reads would be taken for understood. */
function withoutBody<T>(request: FastifyRequest, query: Outcome<T>): Outcome<T> {
  const { body } = request;
  if (!(body instanceof Uint8Array) || body.length === 0) return query;
  return refused({
    reason: "request_invalid",
    what: "body",
    why: `expected none, found ${body.length} bytes`,
  });
}
