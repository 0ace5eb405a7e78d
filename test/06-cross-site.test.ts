/**
 * What a browser attaches by itself proves nothing about who caused the request: a session's cookie counts only in
 * requests that another site cannot have made.
 */
import assert from "node:assert/strict";
import type { OutgoingHttpHeaders } from "node:http";
import { after, before, describe, test } from "node:test";
import { createBrowser, signIn } from "@countersign/devstack/browser.ts";
import { type Answer, type JsonObject, startTestStack, type TestStack } from "./support.ts";

const ALLOWED = "https://apps.example.com";

let stack: TestStack;
/** Alice's, from a sign-in in a browser. */
let cookie: string;
before(async () => {
  stack = await startTestStack({ configure: (yaml) => `${yaml}origins: [ '${ALLOWED}' ]\n` });
  cookie = await signedIn();
});
after(() => stack?.stop());

async function signedIn(): Promise<string> {
  const browser = createBrowser();
  await signIn(browser, { gatewayUrl: stack.gatewayUrl, user: "alice" });
  return browser.cookiesFor(stack.gatewayUrl);
}

interface Entrance {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly status: number;
}

/** Logout comes last, since it ends the session. */
const ENTRANCES: readonly Entrance[] = [
  { method: "POST", path: "/v1/publish?subject=orders.eu.1.create", status: 202 },
  { method: "POST", path: "/v1/request?subject=inventory.check", status: 200 },
  { method: "GET", path: "/v1/subscribe?subject=orders.eu.1.create", status: 200 },
  { method: "GET", path: "/v1/whoami", status: 200 },
  { method: "POST", path: "/auth/logout", status: 200 },
];

/** Headers as a browser, or whoever has the cookie, would send them, and whether the cookie then counts. */
const REQUESTS: Readonly<
  Record<string, { readonly headers: () => OutgoingHttpHeaders; readonly counts: boolean }>
> = {
  "a script of another site": {
    headers: () => ({ origin: "https://evil.example", "sec-fetch-site": "cross-site" }),
    counts: false,
  },
  "a script of a sibling host, for which SameSite is no obstacle": {
    headers: () => ({ origin: "https://evil.example.com", "sec-fetch-site": "same-site" }),
    counts: false,
  },
  "another port of this host": {
    headers: () => ({ origin: "http://127.0.0.1:1", "sec-fetch-site": "same-site" }),
    counts: false,
  },
  "a sandboxed frame": { headers: () => ({ origin: "null", "sec-fetch-site": "cross-site" }), counts: false },
  "an origin that only begins like ours": {
    headers: () => ({ origin: `${stack.gatewayUrl}.evil.example` }),
    counts: false,
  },
  "an origin in capitals": { headers: () => ({ origin: ALLOWED.toUpperCase() }), counts: false },
  "another origin, with the header that scripts may set": {
    headers: () => ({ origin: "https://evil.example", "countersign-request": "1" }),
    counts: false,
  },
  "an image or a form of another site": {
    headers: () => ({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" }),
    counts: false,
  },
  "a link of another site": {
    headers: () => ({
      "sec-fetch-site": "cross-site",
      "sec-fetch-mode": "navigate",
      "sec-fetch-dest": "document",
    }),
    counts: false,
  },
  "an old browser that says nothing": { headers: () => ({}), counts: false },
  "a deliberate header of another value": {
    headers: () => ({ "countersign-request": "yes" }),
    counts: false,
  },
  "a script of our own": {
    headers: () => ({ origin: stack.gatewayUrl, "sec-fetch-site": "same-origin" }),
    counts: true,
  },
  "our own page's EventSource, which sends no Origin": {
    headers: () => ({ "sec-fetch-site": "same-origin" }),
    counts: true,
  },
  "a script of an origin on the list": {
    headers: () => ({ origin: ALLOWED, "sec-fetch-site": "cross-site" }),
    counts: true,
  },
  "a program that says what it does": { headers: () => ({ "countersign-request": "1" }), counts: true },
};

for (const { method, path, status } of ENTRANCES) {
  describe(`${method} ${path.split("?")[0]} with a cookie`, () => {
    for (const [who, { headers, counts }] of Object.entries(REQUESTS)) {
      test(`${who}: ${counts ? "counts" : "refused as cross-site"}`, async () => {
        if (path === "/auth/logout" && counts) cookie = await signedIn();
        const sent = { method, headers: { ...headers(), cookie } };
        if (counts && path.startsWith("/v1/subscribe")) {
          const reader = await stack.stream(["orders.eu.1.create"], sent);
          reader.leave();
          return;
        }
        const answer = await stack.call(path, sent);
        if (counts) assert.equal(answer.status, status, answer.text);
        else await assertCrossSite(answer);
      });
    }
  });
}

async function assertCrossSite(answer: Answer): Promise<void> {
  assert.deepEqual([answer.status, answer.json().code], [403, "not_allowed"]);
  const records = await stack.auditOf(answer.headers["x-request-id"], 1);
  assert.deepEqual(
    records.map(({ outcome, refusal }) => [outcome, (refusal as JsonObject | undefined)?.reason]),
    [["refused", "cross_site"]],
  );
}

test("a request that another site caused has not signed anybody out", async () => {
  const own = await signedIn();
  const forged = { origin: "https://evil.example", "sec-fetch-site": "cross-site", cookie: own };
  assert.equal((await stack.call("/auth/logout", { method: "POST", headers: forged })).status, 403);
  const headers = { "countersign-request": "1", cookie: own };
  assert.equal((await stack.call("/v1/whoami", { headers })).status, 200);
});

test("a token needs no origin: no browser attaches it by itself", async () => {
  const headers = { origin: "https://evil.example", "sec-fetch-site": "cross-site" };
  const answer = await stack.call("/v1/whoami", { token: stack.token("alice"), headers });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers["access-control-allow-origin"], undefined);
});

test("a cookie that may have come from another site is not rescued by a token beside it", async () => {
  const own = await signedIn();
  const headers = { origin: "https://evil.example", "sec-fetch-site": "cross-site", cookie: own };
  const answer = await stack.call("/v1/whoami", { token: stack.token("alice"), headers });
  assert.equal(answer.status, 403);
});

describe("proofs of two users in one request", () => {
  test("are refused, and the answer names neither", async () => {
    const headers = { "countersign-request": "1", cookie: await signedIn() };
    const answer = await stack.call("/v1/whoami", { token: stack.token("bob"), headers });
    assert.deepEqual([answer.status, answer.json().code], [400, "invalid_proof"]);
    assert.doesNotMatch(answer.text, /alice|bob/);
    const [record] = await stack.auditOf(answer.headers["x-request-id"], 1);
    assert.deepEqual(record?.refusal, { reason: "proof_ambiguous", users: ["demo-bob", "demo-alice"] });
  });

  test("two of one user are one", async () => {
    const headers = { "countersign-request": "1", cookie: await signedIn() };
    const answer = await stack.call("/v1/whoami", { token: stack.token("alice"), headers });
    assert.deepEqual([answer.status, answer.json().user], [200, "demo-alice"]);
  });

  test("two session cookies are refused, whichever was planted", async () => {
    const own = await signedIn();
    const headers = { "countersign-request": "1", cookie: `${own}; ${own}` };
    const answer = await stack.call("/v1/whoami", { headers });
    assert.deepEqual([answer.status, answer.json().code], [400, "invalid_proof"]);
  });
});

describe("CORS", () => {
  test("an origin on the list may read the answer, with its credentials", async () => {
    const answer = await stack.call("/v1/whoami", {
      token: stack.token("alice"),
      headers: { origin: ALLOWED },
    });
    assert.equal(answer.headers["access-control-allow-origin"], ALLOWED);
    assert.equal(answer.headers["access-control-allow-credentials"], "true");
    assert.match(String(answer.headers["access-control-expose-headers"]), /X-Request-Id/);
    assert.equal(answer.headers.vary, "Origin");
  });

  test("an origin on the list may read refusals and streams too", async () => {
    const refused = await stack.call("/v1/whoami", { headers: { origin: ALLOWED } });
    assert.deepEqual([refused.status, refused.headers["access-control-allow-origin"]], [401, ALLOWED]);
    const reader = await stack.stream(["orders.eu.1.create"], {
      token: stack.token("alice"),
      headers: { origin: ALLOWED },
    });
    assert.equal(reader.headers["access-control-allow-origin"], ALLOWED);
    reader.leave();
  });

  const preflight = (origin: string): Promise<Answer> =>
    stack.call("/v1/publish?subject=orders.eu.1.create", {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,msg-priority",
      },
    });

  test("a preflight of an origin on the list is answered, and needs no proof", async () => {
    const answer = await preflight(ALLOWED);
    assert.equal(answer.status, 204);
    assert.equal(answer.headers["access-control-allow-origin"], ALLOWED);
    assert.equal(answer.headers["access-control-allow-headers"], "authorization,msg-priority");
    assert.match(String(answer.headers["access-control-allow-methods"]), /POST/);
  });

  for (const origin of ["https://evil.example", "null", `${ALLOWED}.evil.example`, "*"]) {
    test(`a preflight of ${origin} is refused without a CORS header`, async () => {
      const answer = await preflight(origin);
      assert.equal(answer.status, 403);
      for (const name of ["origin", "headers", "methods", "credentials"]) {
        assert.equal(answer.headers[`access-control-allow-${name}`], undefined);
      }
    });
  }
});
