import { curlOf } from "./curl.ts";
import { type Content, type HeaderDefinition, OPERATION_TAGS, type Operation } from "./operation.ts";
import type { Parameter } from "./parameter.ts";
import { PROBLEM_STATUS, PROBLEM_TITLES, type ProblemCode } from "./problem.ts";

type Json = Readonly<Record<string, unknown>>;

/** Problems that any operation may answer with. */
const OF_ALL: readonly ProblemCode[] = ["invalid_request", "internal_error"];
/** Those of every operation that needs an identity. */
const OF_IDENTITY: readonly ProblemCode[] = [
  "invalid_proof",
  "unauthenticated",
  "not_allowed",
  "unavailable",
];

/**
 * Describes operations as OpenAPI 3.1 does, by what reads their requests.
 *
 * @param operations  those of one listener
 * @source  OpenAPI Specification 3.1.1
 */
export function openApiOf(
  operations: readonly Operation[],
  { url, exampleUrl, version, cookieName }: ApiPlace,
): Json {
  const paths = Map.groupBy(operations, ({ path }) => path);
  const describe = (one: Operation) => [one.method.toLowerCase(), describeOperation(one, exampleUrl)];
  return {
    openapi: "3.1.0",
    info: {
      title: "Countersign",
      version,
      summary: "NATS behind your web sign-in, over HTTP",
      description:
        "Every answer has an `X-Request-Id`. Errors are `application/problem+json` (RFC 9457). A query parameter that an operation does not know is refused.",
    },
    servers: [{ url }],
    tags: Object.entries(OPERATION_TAGS).map(([name, description]) => ({ name, description })),
    paths: Object.fromEntries(
      [...paths].map(([path, those]) => [path, Object.fromEntries(those.map(describe))]),
    ),
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "An access token of a configured issuer." },
        session: {
          type: "apiKey",
          in: "cookie",
          name: cookieName,
          description: "Of a browser that signed in at `/auth/login`.",
        },
      },
      schemas: { Problem: PROBLEM_SCHEMA },
      headers: {
        "X-Request-Id": {
          description: "Joins the answer with the record and the logs in front.",
          schema: { type: "string" },
        },
      },
    },
  };
}

/** Where the API stands, and as what. */
export interface ApiPlace {
  /** All paths hang under it; without a trailing slash. */
  readonly url: string;
  /** The same for the examples; may name a variable of the shell. */
  readonly exampleUrl: string;
  readonly version: string;
  readonly cookieName: string;
}

const PROBLEM_SCHEMA: Json = {
  type: "object",
  required: ["type", "title", "status", "code", "requestId"],
  properties: {
    type: { type: "string", format: "uri" },
    title: { type: "string" },
    status: { type: "integer" },
    code: { type: "string", enum: Object.keys(PROBLEM_TITLES) },
    detail: { type: "string", description: "What the caller may do about it, where there is something." },
    requestId: { type: "string" },
  },
};

function describeOperation(operation: Operation, exampleUrl: string): Json {
  const { id, tag, summary, description, needs, parameters, headers = {}, body } = operation;
  const described = [
    ...Object.entries(parameters).map(([name, parameter]) => describeParameter(name, parameter)),
    ...Object.entries(headers).map(([name, header]) => ({
      ...{ name, in: "header" },
      ...describeHeader(header),
    })),
  ];
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    ...(described.length > 0 && { parameters: described }),
    ...(body && {
      requestBody: {
        description: body.description,
        required: body.required,
        content: contentOf(body.content),
      },
    }),
    responses: responsesOf(operation),
    security: securityOf(needs),
    "x-codeSamples": [{ lang: "Shell", label: "curl", source: curlOf(operation, exampleUrl) }],
  };
}

function securityOf(needs: Operation["needs"]): readonly Json[] {
  if (needs === "nothing") return [];
  return needs === "session" ? [{ session: [] }] : [{ bearer: [] }, { session: [] }];
}

function describeHeader({ description, schema, example }: HeaderDefinition): Json {
  return { description, schema, example };
}

function describeParameter(name: string, parameter: Parameter<unknown>): Json {
  const { description, schema, example, required, timesMax } = parameter;
  const many = { type: "array", minItems: 1, maxItems: timesMax, items: schema };
  return {
    name,
    in: "query",
    description,
    required,
    schema: timesMax > 1 ? many : schema,
    example: timesMax > 1 ? [example] : schema.type === "integer" ? Number(example) : example,
  };
}

function contentOf(content: Readonly<Record<string, Content>>): Json {
  return Object.fromEntries(
    Object.entries(content).map(([type, { schema, example }]) => [
      type,
      { ...(schema && { schema }), ...(example !== undefined && { example }) },
    ]),
  );
}

function responsesOf({ answers, needs, problems }: Operation): Json {
  const answered = Object.entries(answers).map(([status, { description, content, headers = {} }]) => [
    status,
    {
      description,
      headers: {
        ...REQUEST_ID,
        ...Object.fromEntries(
          Object.entries(headers).map(([name, header]) => [name, describeHeader(header)]),
        ),
      },
      ...(content && { content: contentOf(content) }),
    },
  ]);
  const codes = new Set([...OF_ALL, ...(needs === "nothing" ? [] : OF_IDENTITY), ...problems]);
  const byStatus = Map.groupBy(codes, (code) => PROBLEM_STATUS[code]);
  const refused = [...byStatus]
    // An answer that is no problem stands for its status by itself.
    .filter(([status]) => !(status in answers))
    .map(([status, those]) => [
      String(status),
      {
        description: those.map((code) => `\`${code}\`: ${PROBLEM_TITLES[code]}.`).join("\n\n"),
        headers: REQUEST_ID,
        content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
      },
    ]);
  return Object.fromEntries([...answered, ...refused]);
}

const REQUEST_ID: Json = { "X-Request-Id": { $ref: "#/components/headers/X-Request-Id" } };
