/** The API that people can discover: its description is valid, describes all there is, and its examples run. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020 } from "ajv/dist/2020.js";
import { type JsonObject, send, startTestStack, type TestStack } from "./support.ts";
import { signInAs } from "./support-operations.ts";

interface Described {
  readonly id: string;
  readonly path: string;
  readonly method: string;
  readonly curl: string;
  /** Statuses that are not problems, with what each carries. */
  readonly answers: Readonly<Record<string, JsonObject>>;
}

/** Routes that no caller asks for by itself, and so are not described. */
const NOT_DESCRIBED: Readonly<Record<string, string>> = {
  "auth.ts": "the provider leads the browser to /auth/callback",
  "demo.ts": "a page of the devstack",
  "nats.ts": "a WebSocket of another protocol (docs/nats-clients.md)",
  "problem-pages.ts": "where the `type` of a problem leads",
  "resource-metadata.ts": "stands at the origin's root (RFC 9728)",
  "server.ts": "preflights",
  "shutdown.ts": "asked by IIS alone",
};

let stack: TestStack;
/** Of the public listener, and of the administration's. */
let descriptions: readonly JsonObject[];

before(async () => {
  stack = await startTestStack({ ports: { admin: await findFreePort() } });
  const answers = [await stack.call("/openapi.json"), await send(`${stack.adminUrl}/openapi.json`, {})];
  descriptions = answers.map((answer) => answer.json());
});

after(() => stack.stop());

test("/openapi.json is OpenAPI 3.1", async () => {
  for (const description of descriptions) {
    const { valid, errors } = await new Validator().validate(description);
    assert.deepEqual({ valid, errors }, { valid: true, errors: undefined });
    assert.equal(description.openapi, "3.1.0");
  }
});

test("every entrance is an operation, but for those named here", () => {
  const folder = "gateway/src/endpoints";
  const plain = globSync(`${folder}/*.ts`, { exclude: ["**/*.test.ts"] })
    .filter((file) => /\bapp\.(?:get|post|put|delete|all|options)\(/.test(readFileSync(file, "utf8")))
    .map((file) => file.slice(folder.length + 1));
  assert.deepEqual(plain.sort(), Object.keys(NOT_DESCRIBED).sort());
});

test("the page for people names every operation, and runs nothing", async () => {
  for (const [index, url] of [stack.gatewayUrl, String(stack.adminUrl)].entries()) {
    const page = await send(`${url}/api`, {});
    assert.equal(page.headers["content-type"], "text/html; charset=utf-8");
    assert.match(String(page.headers["content-security-policy"]), /^default-src 'none'/);
    for (const { id, path } of operationsOf(descriptions[index])) {
      assert(page.text.includes(`<article id="${id}">`), `${id} ${path}`);
    }
    assert.doesNotMatch(page.text, /<script/);
  }
});

/** What the examples name, by what a reader would put there. */
async function variables(): Promise<Readonly<Record<string, string>>> {
  const policy = await readFile(stack.policyFile, "utf8");
  const pushed = await send(`${stack.adminUrl}/v1/policy`, {
    method: "POST",
    token: stack.token("carol"),
    body: JSON.stringify({ files: [{ path: "policy.yaml", text: policy }] }),
  });
  const token = stack.token("alice");
  await stack.call("/v1/publish?subject=orders.eu.1.create&stream=ORDERS", { method: "POST", token });
  const fetched = await stack.call("/v1/fetch?stream=ORDERS&consumer=desk", { method: "POST", token });
  const [message] = fetched.json().messages as readonly JsonObject[];
  return {
    TOKEN: token,
    ACK: String(message?.ack),
    ADMIN: String(stack.adminUrl),
    COOKIE: (await signInAs("alice", stack.gatewayUrl)).cookie,
    LOGOUT_TOKEN: logoutToken(),
    POLICY: JSON.stringify(`${policy}\n# pushed`).slice(1, -1),
    VERSION: String(pushed.json().version),
  };
}

test("each published example runs as it stands there, and is answered as it says", async (t) => {
  const [open, administration] = descriptions.map(operationsOf);
  const env = await variables();
  const carol = { ...env, TOKEN: stack.token("carol") };
  for (const one of open ?? []) await t.test(one.id, () => tryOut(one, env));
  for (const one of administration ?? [])
    await t.test(`on the administration listener: ${one.id}`, () => tryOut(one, carol));
});

async function tryOut(
  { id, curl, answers }: Described,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const { code, output, status, type } = await run(curl, env);
  const answer = answers[status];
  assert(answer, `${curl}\nanswered ${status}, which is not described; ended with ${code}: ${output}`);
  const content = (answer.content ?? {}) as Readonly<Record<string, JsonObject>>;
  const described = content[type] ?? content["*/*"];
  assert(described || Object.keys(content).length === 0, `${id} answered ${type}`);
  if (type.endsWith("json") && described?.schema) checkSchema(described.schema, JSON.parse(output));
}

function operationsOf(description: JsonObject | undefined): readonly Described[] {
  assert(description);
  const found: Described[] = [];
  for (const [path, methods] of Object.entries(
    description.paths as Record<string, Record<string, JsonObject>>,
  )) {
    for (const [method, { operationId, responses, "x-codeSamples": samples }] of Object.entries(methods)) {
      const [sample] = samples as readonly { readonly source: string }[];
      assert(sample, `${method} ${path} has no example`);
      const answers = Object.entries(responses as Record<string, JsonObject>).filter(
        ([, { content = {} }]) => !("application/problem+json" in (content as object)),
      );
      found.push({
        ...{ id: String(operationId), path, method },
        curl: sample.source,
        answers: Object.fromEntries(answers),
      });
    }
  }
  return found;
}

function checkSchema(schema: unknown, value: unknown): void {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  assert(ajv.validate(schema as object, value), `${ajv.errorsText()} in ${JSON.stringify(value)}`);
}

interface Ran {
  readonly code: number | null;
  readonly output: string;
  readonly status: string;
  readonly type: string;
}

/** Runs what is published in a shell; what it prints is what came, and curl adds how. A stream is left at its first line. */
function run(command: string, env: Readonly<Record<string, string>>): Promise<Ran> {
  const { promise, resolve, reject } = Promise.withResolvers<Ran>();
  const streams = command.includes(" -N ");
  const facts = "-w '%{stderr}%{http_code} %{content_type}' ";
  const child = spawn("sh", ["-c", command.replace("curl ", `exec curl ${streams ? "-i " : facts}`)], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
  });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    if (streams && output.includes("\r\n\r\n")) child.kill();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  child.once("error", reject);
  child.once("close", (code) => {
    const [, status = "", type = ""] = streams
      ? (/^HTTP\/1\.1 (\d{3})[\s\S]*?^content-type: ([^;\r\n]*)/im.exec(output) ?? [])
      : (/(\d{3}) ([^;\s]*)[^\n]*$/.exec(errors) ?? []);
    resolve({ code, output, status, type });
  });
  return promise;
}

function logoutToken(): string {
  const now = Math.floor(Date.now() / 1000);
  const { issuer, gatewayClient, sign } = stack.identityProvider;
  const claims = {
    iss: issuer,
    aud: gatewayClient.id,
    iat: now,
    exp: now + 120,
    jti: randomUUID(),
    sub: "bob",
  };
  const events = { "http://schemas.openid.net/event/backchannel-logout": {} };
  return sign({ ...claims, events }, { typ: "logout+jwt" });
}
