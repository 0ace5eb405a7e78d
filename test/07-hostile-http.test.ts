/**
 * Bytes that are no HTTP, or that two readers would read differently: refused, with a request id where there is an
 * answer at all, and the connection closes. Whatever came, the gateway serves the next one.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, afterEach, before, test } from "node:test";
import { startTestStack, type TestStack } from "./support.ts";

const POLICY = `
version: 1
roles:
  everybody:
    given-to: [ { issuer: demo, user: alice } ]
    may: [ publish lab.>, subscribe lab.>, request lab.> ]
`;
const LIMITS = "limits: { head: 8KiB, body: 64KiB, head-timeout: 1s, request-timeout: 2s }\n";

let stack: TestStack;
let token: string;
before(async () => {
  stack = await startTestStack({ policy: POLICY, configure: (yaml) => yaml + LIMITS });
  token = stack.token("alice");
  stack.admin.subscribe("lab.smuggled", { callback: () => assert.fail("a smuggled message arrived") });
});
after(() => stack?.stop());

afterEach(async () => {
  const answer = await stack.call("/v1/publish?subject=lab.after", { method: "POST", token });
  assert.equal(answer.status, 202, "the gateway serves the next request");
});

const AUTHORITY = ["Host: gateway", "Authorization: Bearer TOKEN", "Connection: close"];
const SMUGGLED =
  "POST /v1/publish?subject=lab.smuggled HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer TOKEN\r\n\r\n";
const PUBLISH = "POST /v1/publish?subject=lab.1 HTTP/1.1";

function head(...lines: readonly string[]): string {
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** Every response on a connection, whatever its status, has an id of its own. */
function assertAnswered(text: string, statuses: readonly number[]): void {
  const found = [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
  assert.deepEqual(found, statuses, text);
  assert.equal(text.match(/^x-request-id: [0-9a-f-]{36}\r$/gim)?.length ?? 0, statuses.length, text);
}

/** Each is one connection: what is sent, and the statuses of what comes back before it closes. */
const HOSTILE: Readonly<Record<string, { readonly sent: string; readonly statuses: readonly number[] }>> = {
  "Content-Length beside Transfer-Encoding": {
    sent: `${head(PUBLISH, ...AUTHORITY, "Content-Length: 6", "Transfer-Encoding: chunked")}0\r\n\r\n${SMUGGLED}`,
    statuses: [400],
  },
  "Transfer-Encoding beside Content-Length": {
    sent: `${head(PUBLISH, ...AUTHORITY, "Transfer-Encoding: chunked", "Content-Length: 6")}0\r\n\r\n${SMUGGLED}`,
    statuses: [400],
  },
  "two lengths": {
    sent: `${head(PUBLISH, ...AUTHORITY, "Content-Length: 0", "Content-Length: 5")}${SMUGGLED}`,
    statuses: [400],
  },
  "a list of lengths": {
    sent: `${head(PUBLISH, ...AUTHORITY, "Content-Length: 0, 0")}${SMUGGLED}`,
    statuses: [400],
  },
  "a length that is no number": {
    sent: head(PUBLISH, ...AUTHORITY, "Content-Length: +5"),
    statuses: [400],
  },
  "a coding that nobody knows": {
    sent: head(PUBLISH, ...AUTHORITY, "Transfer-Encoding: xchunked"),
    statuses: [400],
  },
  "chunked before another coding": {
    sent: head(PUBLISH, ...AUTHORITY, "Transfer-Encoding: chunked, identity"),
    statuses: [400],
  },
  "a chunk size with a sign": {
    sent: `${head(PUBLISH, ...AUTHORITY, "Transfer-Encoding: chunked")}+0\r\n\r\n${SMUGGLED}`,
    statuses: [400],
  },
  "a chunk that is longer than it says": {
    sent: `${head(PUBLISH, ...AUTHORITY, "Transfer-Encoding: chunked")}1\r\nabc\r\n0\r\n\r\n`,
    statuses: [400],
  },
  "a blank before the colon": {
    sent: head(PUBLISH, ...AUTHORITY, "Content-Length : 5"),
    statuses: [400],
  },
  "a folded header": { sent: head(PUBLISH, ...AUTHORITY, "Msg-A: 1", " folded"), statuses: [400] },
  "bare line feeds": {
    sent: "POST /v1/publish?subject=lab.1 HTTP/1.1\nHost: gateway\n\n",
    statuses: [400],
  },
  "a bare carriage return in a header": {
    sent: head(PUBLISH, ...AUTHORITY, "Msg-A: 1\rMsg-B: 2"),
    statuses: [400],
  },
  "NUL in a header": { sent: head(PUBLISH, ...AUTHORITY, "Msg-A: a\0b"), statuses: [400] },
  "NUL in the path": {
    sent: head("POST /v1/pub\0lish?subject=lab.1 HTTP/1.1", ...AUTHORITY),
    statuses: [400],
  },
  "a header without a name": { sent: head(PUBLISH, ...AUTHORITY, ": nothing"), statuses: [400] },
  "no Host": { sent: head(PUBLISH, "Connection: close"), statuses: [400] },
  "two Hosts": { sent: head(PUBLISH, "Host: a", ...AUTHORITY), statuses: [400] },
  "another version": { sent: head("GET /healthz HTTP/3.0", ...AUTHORITY), statuses: [400] },
  "no version": { sent: "GET /healthz\r\n\r\n", statuses: [400] },
  "a method that nobody knows": { sent: head("SMUGGLE / HTTP/1.1", ...AUTHORITY), statuses: [400] },
  "TLS where none is spoken": { sent: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", statuses: [400] },
  "two Authorizations": {
    sent: head(PUBLISH, ...AUTHORITY, "Authorization: Bearer TOKEN", "Content-Length: 0"),
    statuses: [400],
  },
  "another scheme than Bearer": {
    sent: head(PUBLISH, "Host: a", "Connection: close", "Authorization: Basic YTpi", "Content-Length: 0"),
    statuses: [401],
  },
  "a header name with an underscore": {
    sent: head(PUBLISH, ...AUTHORITY, "X_Forwarded_User: root", "Content-Length: 0"),
    statuses: [400],
  },
  "a header that only the module in IIS may send": {
    sent: head(PUBLISH, ...AUTHORITY, "Countersign-Identity: root", "Content-Length: 0"),
    statuses: [400],
  },
  "a seal of one's own": {
    sent: head(PUBLISH, ...AUTHORITY, "Seal-Claims: e30", "Content-Length: 0"),
    statuses: [400],
  },
  "more headers than anybody needs": {
    sent: head(
      PUBLISH,
      ...AUTHORITY,
      ...Array.from({ length: 300 }, (_, n) => `A: ${n}`),
      "Content-Length: 0",
    ),
    statuses: [400],
  },
  "an over-long head": {
    sent: head(PUBLISH, ...AUTHORITY, `Msg-A: ${"a".repeat(9_000)}`),
    statuses: [400],
  },
  "an over-long path": {
    sent: head(`GET /${"a".repeat(9_000)} HTTP/1.1`, ...AUTHORITY),
    statuses: [400],
  },
  "a path that cannot be decoded": {
    sent: head("GET /v1/%C0%AF/whoami HTTP/1.1", ...AUTHORITY),
    statuses: [400],
  },
  "a query that cannot be decoded": {
    sent: head("POST /v1/publish?subject=lab.%C0%AF HTTP/1.1", ...AUTHORITY, "Content-Length: 0"),
    statuses: [400],
  },
  "a query with half a percent-encoding": {
    sent: head("POST /v1/publish?subject=lab.%2 HTTP/1.1", ...AUTHORITY, "Content-Length: 0"),
    statuses: [400],
  },
  "dots that climb": {
    sent: head("GET /v1/../v1/whoami HTTP/1.1", ...AUTHORITY),
    statuses: [404],
  },
  "encoded dots that climb": {
    sent: head("GET /v1/%2e%2e/v1/whoami HTTP/1.1", ...AUTHORITY),
    statuses: [404],
  },
  "the absolute form, which every server must take, and whose host decides nothing": {
    sent: head("GET http://evil.example/v1/whoami HTTP/1.1", ...AUTHORITY),
    statuses: [200],
  },
  CONNECT: { sent: head("CONNECT evil.example:443 HTTP/1.1", ...AUTHORITY), statuses: [] },
  "an upgrade that is not offered": {
    sent: head("GET /v1/whoami HTTP/1.1", "Host: a", "Connection: Upgrade, close", "Upgrade: websocket"),
    statuses: [404],
  },
  "an upgrade without its handshake": {
    sent: head("GET /v1/nats HTTP/1.1", "Host: a", "Connection: Upgrade, close", "Upgrade: websocket"),
    statuses: [400],
  },
  "an upgrade with a malformed subprotocol": {
    sent: head(
      "GET /v1/nats HTTP/1.1",
      "Host: a",
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${"A".repeat(22)}==`,
      "Sec-WebSocket-Protocol: a,,b",
    ),
    statuses: [400],
  },
  "an upgrade to what we do not speak": {
    sent: head("GET /v1/whoami HTTP/1.1", "Host: a", "Connection: Upgrade, close", "Upgrade: h2c"),
    statuses: [401],
  },
  "a body that is too long, declared": {
    sent: head(PUBLISH, ...AUTHORITY, "Content-Length: 70000"),
    statuses: [413],
  },
  "a body that is too long, in chunks": {
    sent: `${head(PUBLISH, ...AUTHORITY, "Transfer-Encoding: chunked")}11170\r\n${"a".repeat(70_000)}\r\n0\r\n\r\n`,
    statuses: [413],
  },
  "an expectation that nobody knows": {
    sent: head(PUBLISH, ...AUTHORITY, "Expect: miracles", "Content-Length: 0"),
    statuses: [202],
  },
  "HTTP/1.0": {
    sent: head("POST /v1/publish?subject=lab.1 HTTP/1.0", AUTHORITY[1] ?? "", "Content-Length: 0"),
    statuses: [202],
  },
  "requests in a row on one connection": {
    sent:
      head("GET /v1/whoami HTTP/1.1", "Host: a", "Authorization: Bearer TOKEN") +
      head("GET /nothing HTTP/1.1", "Host: a") +
      head("GET /healthz HTTP/1.1", "Host: a", "Connection: close"),
    statuses: [200, 404, 200],
  },
};

for (const [what, { sent, statuses }] of Object.entries(HOSTILE)) {
  test(`${what}: ${statuses.join(", ") || "closed"}`, async () => {
    assertAnswered(await stack.raw(sent.replaceAll("TOKEN", token)), statuses);
  });
}

test("a head that does not come ends with the time for it", async () => {
  const before = performance.now();
  assertAnswered(await stack.raw("POST /v1/publish?subject=lab.1 HTTP/1.1\r\nHost: a\r\nX-Slow: "), [400]);
  assert(performance.now() - before < 5_000);
});

test("a connection on which nothing comes ends with the time for a head", async () => {
  await stack.raw("");
});

test("a body that does not come ends with the time for a request", async () => {
  const before = performance.now();
  const slow = head(PUBLISH, "Host: a", `Authorization: Bearer ${token}`, "Content-Length: 10");
  assertAnswered(await stack.raw(`${slow}a`), [400]);
  assert(performance.now() - before < 8_000);
});

for (const also of ["Accept: text/event-stream", "Expect: miracles"]) {
  test(`what is no request never stands in the answer to the one before (${also})`, async () => {
    const authority = ["Host: a", `Authorization: Bearer ${token}`, also];
    const stream = head("GET /v1/subscribe?subject=lab.> HTTP/1.1", ...authority);
    const socket = connect(Number(new URL(stack.gatewayUrl).port), "127.0.0.1").setEncoding("latin1");
    let text = "";
    socket
      .on("error", () => {})
      .on("data", (chunk: string) => {
        text += chunk;
        if (text.includes(": open")) socket.write("no request\r\n\r\n");
      });
    socket.write(stream);
    await once(socket, "close");
    assertAnswered(text, [200]);
  });
}

test("what is no request is not taken for the answer that is still to come", async () => {
  const asked = stack.admin.subscribe("lab.slow");
  await stack.admin.flush();
  const asking = head(
    "POST /v1/request?subject=lab.slow HTTP/1.1",
    "Host: a",
    `Authorization: Bearer ${token}`,
    "Content-Length: 0",
  );
  const answer = stack.raw(`${asking}no request\r\n\r\n`);
  for await (const message of asked) {
    message.respond("too late");
    break;
  }
  assertAnswered(await answer, []);
});
