import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { accountOf, pretendTicket, WINDOWS_ACCOUNTS } from "./iis/accounts.ts";
import { escapePath, filter } from "./iis/filtering.ts";
import { type Client, forwardAsAncm, forwardAsArr, rewriteAsArr } from "./iis/forward.ts";
import { Headers } from "./iis/headers.ts";
import { type IdentityLines, payloadOf, sealIdentity, stripIdentity } from "./iis/identity-module.ts";

const client: Client = { address: "192.0.2.7", port: 51_234, isTls: true };

test("forwardAsAncm() deletes a client's MS-ASPNETCORE headers, sets its own, and appends the address with its port", () => {
  const headers = new Headers([
    ...[
      "Host",
      "h",
      "ms-aspnetcore-token",
      "forged",
      "MS-ASPNETCORE-X",
      "forged",
      "X-Forwarded-For",
      "10.0.0.1",
    ],
    ...["X-Forwarded-Proto", "http", "Connection", "keep-alive", "Authorization", "Negotiate x"],
  ]);
  forwardAsAncm(headers, client, { token: "t", isWebSocket: false, forwardWindowsAuthToken: false });
  assert.deepEqual(headers.raw(), [
    ...["Host", "h", "Authorization", "Negotiate x", "MS-ASPNETCORE-TOKEN", "t"],
    ...["X-Forwarded-For", "10.0.0.1, 192.0.2.7:51234", "X-Forwarded-Proto", "http, https"],
  ]);
});

test("forwardAsAncm() writes IPv6 in brackets, and lets no extension of WebSocket through", () => {
  const headers = new Headers(["Connection", "Upgrade", "Sec-WebSocket-Extensions", "permessage-deflate"]);
  const visitor = { address: "2001:db8::7", port: 4, isTls: false, certificate: "MIIB" };
  forwardAsAncm(headers, visitor, { token: "t", isWebSocket: true, forwardWindowsAuthToken: true });
  assert.deepEqual(headers.raw(), [
    ...["Connection", "Upgrade", "MS-ASPNETCORE-TOKEN", "t", "MS-ASPNETCORE-WINAUTHTOKEN", "2fc"],
    ...[
      "X-Forwarded-For",
      "[2001:db8::7]:4",
      "X-Forwarded-Proto",
      "http",
      "MS-ASPNETCORE-CLIENTCERT",
      "MIIB",
    ],
  ]);
});

test("rewriteAsArr() and forwardAsArr() set what a rule sets, whatever the client sent, and append the address", () => {
  const headers = new Headers([
    "countersign-proof",
    "forged",
    "X-Forwarded-Proto",
    "http",
    "X-Forwarded-For",
    "10.0.0.1",
  ]);
  rewriteAsArr(headers, client, { proof: "secret", removesExtensions: true }, "/a?b");
  const logId = forwardAsArr(headers, client);
  assert.deepEqual(headers.raw(), [
    ...["X-Forwarded-Proto", "https", "Countersign-Proof", "secret", "X-Original-URL", "/a?b"],
    ...["X-Forwarded-For", "10.0.0.1, 192.0.2.7:51234", "X-ARR-LOG-ID", logId],
  ]);
});

test("filter() answers as request filtering does by default", () => {
  const answers: Readonly<Record<string, readonly [status: number, substatus: number]>> = {
    "/v1/publish/orders.rules": [404, 7],
    "/bus/bin/x": [404, 8],
    "/a%252Fb": [404, 11],
    "/a+b": [404, 11],
    [`/${"a".repeat(4_096)}`]: [404, 14],
    [`/a?${"b".repeat(2_049)}`]: [404, 15],
    "/v1/subscribe/orders.%3E": [400, 0],
    "/%C0%AF": [400, 0],
  };
  for (const [target, [status, substatus]] of Object.entries(answers)) {
    assert.deepEqual(
      filter(target, { contentLength: 0, managed: true }),
      { ok: false, status, substatus },
      target,
    );
  }
  assert.deepEqual(filter("/a", { contentLength: 30_000_001, managed: false }), {
    ok: false,
    status: 413,
    substatus: 1,
  });
  const passed = { ok: true, path: "/v1/publish", query: "subject=orders.%3E" };
  assert.deepEqual(
    filter("/v1/x/../publish?subject=orders.%3E", { contentLength: 0, managed: true }),
    passed,
  );
});

test("escapePath() sends a path on as it was decoded: %2F is a slash by then", () => {
  const filtered = filter("/a%2Fb%20c", { contentLength: 0, managed: false });
  assert.equal(filtered.ok && escapePath(filtered.path), "/a/b%20c");
});

test("accountOf() knows a pretended ticket, and nothing else", () => {
  assert.equal(accountOf(pretendTicket("alice")), WINDOWS_ACCOUNTS.alice);
  for (const value of ["", "Negotiate", "Negotiate Q09SUA==", "Bearer abc"])
    assert.equal(accountOf(value), undefined);
});

test("sealIdentity() signs as the module in C# does, byte for byte", () => {
  const file = fileURLToPath(new URL("../../gateway/src/iis/module/vectors.json", import.meta.url));
  const { key, vectors } = JSON.parse(readFileSync(file, "utf8")) as {
    readonly key: string;
    readonly vectors: readonly (IdentityLines & { readonly header: string })[];
  };
  for (const vector of vectors) assert.equal(sealIdentity(key, payloadOf(vector)), vector.header);
  assert(vectors.length > 0);
});

test("stripIdentity() takes away what a client sent under our names, with underscores too", () => {
  const headers = new Headers([
    "Countersign_Identity",
    "x",
    "X-MS-CLIENT-PRINCIPAL-ID",
    "x",
    "Accept",
    "y",
    "Countersign-Proof",
    "z",
  ]);
  stripIdentity(headers);
  assert.deepEqual(headers.raw(), ["Accept", "y", "Countersign-Proof", "z"]);
});
