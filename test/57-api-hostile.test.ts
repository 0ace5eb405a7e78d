/**
 * Every operation, as its own description says, is asked for what it does not take: no answer is a fault of ours, and
 * none is of a kind that the description does not name.
 */
import assert from "node:assert/strict";
import { Agent, type IncomingHttpHeaders, request } from "node:http";
import { after, before, test } from "node:test";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { type JsonObject, send, startTestStack, type TestStack } from "./support.ts";

const RUNS = Number(process.env.API_RUNS ?? 120);
/** An operation that waits for others is not waited for: that it has not failed by then is its answer. */
const PATIENCE_MS = 2_000;

interface Described {
  readonly operationId: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: "query" | "header";
    readonly example: unknown;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly example?: unknown }>> };
  readonly responses: Readonly<Record<string, unknown>>;
}

interface Attempt {
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

let stack: TestStack;
const agent = new Agent({ keepAlive: true, maxSockets: 4 });

before(async () => {
  stack = await startTestStack({ ports: { admin: await findFreePort() } });
});

after(async () => {
  agent.destroy();
  await stack.stop();
});

test("no operation of the public listener fails on what it does not take", (t) =>
  attackAll(t, stack.gatewayUrl, "alice"));

test("no operation of the administration listener fails on what it does not take", (t) =>
  attackAll(t, String(stack.adminUrl), "carol"));

async function attackAll(t: test.TestContext, url: string, who: "alice" | "carol"): Promise<void> {
  const description = (await send(`${url}/openapi.json`, {})).json();
  const problem = new Ajv2020({ strict: false, validateFormats: false }).compile(
    (description.components as { schemas: { Problem: object } }).schemas.Problem,
  );
  for (const [path, methods] of Object.entries(description.paths as JsonObject)) {
    for (const [method, operation] of Object.entries(methods as Readonly<Record<string, Described>>)) {
      await t.test(operation.operationId, async () => {
        await fc.assert(
          fc.asyncProperty(attempts(path, method, operation), async (attempt) => {
            const answer = await exchange(url, attempt, stack.token(who));
            if (answer)
              judge(answer, attempt.method, attempt.method === method.toUpperCase() ? operation : undefined);
          }),
          { numRuns: RUNS, endOnFailure: true },
        );
      });
    }
  }

  function judge({ status, headers, text }: Answer, method: string, operation: Described | undefined): void {
    assert.match(String(headers["x-request-id"]), /^[0-9a-f-]{36}$/);
    if (operation) assert(operation.responses[String(status)], `${status} is not described: ${text}`);
    if (status < 400 || method === "HEAD" || (status === 503 && operation?.operationId === "ready")) return;
    assert.match(String(headers["content-type"]), /^application\/problem\+json\b/, text);
    const body = JSON.parse(text) as JsonObject;
    assert(problem(body), `no problem: ${text}`);
    // Nobody answering is an answer. That a part of ours fails is none.
    const ours = status >= 500 && body.code !== "no_responders" && body.code !== "timeout";
    assert(!ours, text);
  }
}

const HOSTILE: readonly string[] = [
  "",
  " ",
  "0",
  "-1",
  "1e309",
  "NaN",
  "null",
  "true",
  "[]",
  "{}",
  "*",
  ">",
  "a..b",
  ".",
  "$JS.API.INFO",
  "_INBOX.x",
  "a b",
  "é",
  "\u0000",
  "\r\nX: y",
  "../../etc/passwd",
  "__proto__",
  "constructor",
  "'\"<script>",
  "%",
  "99999999999999999999",
  "2s",
  "2026-02-30T00:00:00Z",
  "ORDERS:4711",
  "KV_carts",
  "x".repeat(257),
  "x".repeat(3_000),
];

function attempts(path: string, method: string, operation: Described): fc.Arbitrary<Attempt> {
  const { parameters = [], requestBody } = operation;
  const query = parameters.filter((parameter) => parameter.in === "query");
  const header = parameters.filter((parameter) => parameter.in === "header");
  return fc
    .record({
      method: fc.oneof({ weight: 9, arbitrary: fc.constant(method.toUpperCase()) }, METHODS),
      query: fc.tuple(...query.map(({ name, example }) => valuesOf(name, example))),
      more: fc.array(fc.tuple(texts(), texts()), { maxLength: 2 }),
      raw: fc.oneof({ weight: 9, arbitrary: fc.constant("") }, fc.constantFrom("%", "%zz", "&&=&", "%C0%AF")),
      headers: fc.tuple(...[...header, ...HEADERS].map(({ name, example }) => headerOf(name, example))),
      body: bodyOf(requestBody?.content),
    })
    .map(({ method, query, more, raw, headers, body }) => {
      const pairs = [...query.flat(), ...more];
      const text = pairs.map((pair) => pair.map(encode).join("=")).join("&") + raw;
      return {
        method,
        target: text === "" ? path : `${path}?${text}`,
        headers: Object.fromEntries(headers.flat()),
        body,
      };
    });
}

const METHODS = fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS");

const HEADERS = [
  { name: "Content-Type", example: "application/json" },
  { name: "Accept", example: "application/json" },
  { name: "Origin", example: "https://elsewhere.example" },
  { name: "Cookie", example: "__Host-Http-countersign=x" },
  { name: "Msg-Trace", example: "7" },
  { name: "X-Request-Id", example: "mine" },
];

function texts(): fc.Arbitrary<string> {
  return fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ maxLength: 40 }), fc.string({ unit: "binary" }));
}

/** A parameter that is missing, as in the example, something else, or there more than once. */
function valuesOf(name: string, example: unknown): fc.Arbitrary<[string, string][]> {
  const good = String(Array.isArray(example) ? example[0] : example);
  const value = fc.oneof({ weight: 3, arbitrary: fc.constant(good) }, texts());
  return fc
    .oneof(
      { weight: 6, arbitrary: value.map((one) => [one]) },
      { weight: 1, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(value, { maxLength: 40 }) },
    )
    .map((values) => values.map((one) => [name, one]));
}

function headerOf(name: string, example: unknown): fc.Arbitrary<[string, string][]> {
  const value = fc.oneof(fc.constant(String(example)), texts());
  return fc.option(value, { freq: 2, nil: undefined }).map((found) => {
    // Node refuses to send what cannot stand in a header; what can is sent byte by byte.
    const sendable = found?.replace(/[^\t\x20-\x7e\x80-\xff]/g, "?");
    return sendable === undefined ? [] : [[name, sendable]];
  });
}

function bodyOf(
  content: NonNullable<Described["requestBody"]>["content"] | undefined,
): fc.Arbitrary<Uint8Array> {
  const examples = Object.values(content ?? {}).map(({ example }) =>
    typeof example === "string" ? example : JSON.stringify(example ?? null),
  );
  const text = fc.oneof(
    fc.constantFrom("", ...examples),
    fc.json({ maxDepth: 3 }),
    fc.constantFrom("[".repeat(5_000), '{"a":'.repeat(2_000), "{", '{"subject":1}', "\n\n\n"),
    texts(),
  );
  return fc.oneof(
    text.map((one) => Buffer.from(one)),
    fc.uint8Array({ maxLength: 64 }),
  );
}

function encode(text: string): string {
  // Lone surrogates cannot be encoded; a caller cannot send them either.
  return encodeURIComponent(text.toWellFormed());
}

/** @returns undefined when the answer is a stream that began, or does not come within the patience */
function exchange(url: string, attempt: Attempt, token: string): Promise<Answer | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer | undefined>();
  const { port } = new URL(url);
  const bodied = attempt.method !== "GET" && attempt.method !== "HEAD";
  const sending = request({
    agent,
    host: "127.0.0.1",
    port,
    method: attempt.method,
    path: attempt.target,
    headers: {
      authorization: `Bearer ${token}`,
      ...attempt.headers,
      // Node frames a body by itself only where one is usual.
      ...(bodied && { "content-length": attempt.body.length }),
    },
  });
  const timer = setTimeout(() => {
    resolve(undefined);
    sending.destroy();
  }, PATIENCE_MS);
  sending.once("close", () => clearTimeout(timer));
  sending.once("error", reject);
  sending.once("response", (response) => {
    if (response.headers["content-type"]?.startsWith("text/event-stream")) {
      resolve(undefined);
      sending.destroy();
      return;
    }
    let text = "";
    response.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    response.once("end", () =>
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
    );
  });
  sending.end(bodied ? attempt.body : undefined);
  return promise;
}
