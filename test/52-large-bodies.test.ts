/** Bodies that are too large are refused before they are read to their end, and the connection stays in step. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { startTestStack, type TestStack } from "./support.ts";
import { eventually } from "./support-operations.ts";

const POLICY = `version: 1
roles:
  everybody: { given-to: [ { issuer: demo, user: alice } ], may: [ publish lab.> ] }
`;
const MEBIBYTE = 1024 * 1024;

let stack: TestStack;
before(async () => {
  stack = await startTestStack({ policy: POLICY, configure: (yaml) => `${yaml}limits: { body: 64KiB }\n` });
});
after(() => stack?.stop());

interface Caller {
  readonly socket: Socket;
  readonly text: () => string;
  readonly closed: Promise<unknown>;
}

async function call(...headers: readonly string[]): Promise<Caller> {
  const socket = connect(Number(new URL(stack.gatewayUrl).port), "127.0.0.1");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  let text = "";
  socket
    .on("error", () => {})
    .setEncoding("latin1")
    .on("data", (chunk: string) => {
      text += chunk;
    });
  await once(socket, "connect");
  socket.write(head("/v1/publish?subject=lab.a", ...headers));
  return { socket, text: () => text, closed };
}

function head(path: string, ...headers: readonly string[]): string {
  const token = stack.token("alice");
  return [
    `POST ${path} HTTP/1.1`,
    "Host: gateway",
    `Authorization: Bearer ${token}`,
    ...headers,
    "",
    "",
  ].join("\r\n");
}

async function answered({ text }: Caller, start: RegExp): Promise<void> {
  await eventually(String(start), () => (start.test(text()) ? true : undefined));
}

test("a length that is too large is refused at once, while the body is still to come", async () => {
  const caller = await call(`Content-Length: ${100 * MEBIBYTE}`);
  await answered(caller, /^HTTP\/1\.1 413 [\s\S]*"payload_too_large"/);
  // Who goes on sending is not read for ever.
  const push = (): void => {
    while (!caller.socket.destroyed && caller.socket.write("x".repeat(65_536)));
  };
  caller.socket.on("drain", push);
  push();
  await caller.closed;
});

test("a chunked body is refused once it is too large, and not read to its end", async () => {
  const caller = await call("Transfer-Encoding: chunked");
  const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`;
  caller.socket.write(chunk + chunk);
  await answered(caller, /^HTTP\/1\.1 413 /);
  await caller.closed;
});

test("whoever waits to be asked for a body that is too large is refused without being asked, and the connection ends", async () => {
  const caller = await call(`Content-Length: ${MEBIBYTE}`, "Expect: 100-continue");
  await caller.closed;
  assert.match(caller.text(), /^HTTP\/1\.1 413 [\s\S]*connection: close/i);
  assert.doesNotMatch(caller.text(), /100 Continue/);
});

test("whoever waits to be asked for a body that is not too large is asked, and the connection serves on", async () => {
  const caller = await call("Content-Length: 2", "Expect: 100-continue");
  await answered(caller, /^HTTP\/1\.1 100 Continue\r\n\r\n$/);
  caller.socket.write("ok");
  await answered(caller, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 202 [\s\S]*"lab\.a"\}$/);
  caller.socket.write(head("/v1/publish?subject=lab.b", "Content-Length: 0"));
  await answered(caller, /"lab\.b"\}$/);
  caller.socket.destroy();
});

test("a batch is larger than any one body may be, and is asked for", async () => {
  const caller = await call("Content-Length: 0");
  await answered(caller, /202/);
  caller.socket.write(
    head(
      "/v1/publish",
      "Content-Type: application/x-ndjson",
      `Content-Length: ${20 * 10_000}`,
      "Expect: 100-continue",
      "Connection: close",
    ),
  );
  await answered(caller, /100 Continue/);
  for (let n = 0; n < 10_000; n += 1) caller.socket.write('{"subject":"lab.c"}\n');
  await caller.closed;
  assert.equal(caller.text().match(/"status":202/g)?.length, 10_000);
});

test("what follows a body that was refused is served by nobody, as the answer has said", async () => {
  const subscription = stack.admin.subscribe("lab.next", { callback: () => assert.fail("it was served") });
  await stack.admin.flush();
  const caller = await call(`Content-Length: ${70_000}`);
  await answered(caller, /^HTTP\/1\.1 413 [\s\S]*connection: close/i);
  caller.socket.write("x".repeat(70_000) + head("/v1/publish?subject=lab.next", "Content-Length: 0"));
  await caller.closed;
  assert.equal(caller.text().match(/HTTP\/1\.1/g)?.length, 1);
  await stack.call("/v1/publish?subject=lab.last", { method: "POST", token: stack.token("alice") });
  await stack.admin.flush();
  subscription.unsubscribe();
});
