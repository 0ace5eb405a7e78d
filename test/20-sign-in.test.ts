/** Signing in and out: in a real browser, with the provider at another site; and what an attacker tries at it. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { findChromium, NO_CHROMIUM } from "@countersign/devstack/chromium.ts";
import { TRUST_DOMAIN } from "@countersign/devstack/stack.ts";
import { type BrowserContext, type Browser as Chromium, chromium, type Page } from "playwright-core";
import { type Answer, startTestStack, type TestStack } from "./support.ts";
import {
  beginSignIn,
  eventually,
  type HalfSignIn,
  type RunningCommand,
  type SignedIn,
  signInAs,
  startCommand,
} from "./support-operations.ts";

const COOKIE = "__Host-Http-countersign";
const SUBSCRIBER = fileURLToPath(new URL("../examples/verify-subscriber/main.ts", import.meta.url));
const executablePath = findChromium();

let stack: TestStack;
before(async () => {
  stack = await startTestStack();
});
after(() => stack?.stop());

async function whoami(headers: Readonly<Record<string, string>>): Promise<number> {
  return (await stack.call("/v1/whoami", { headers })).status;
}

describe("in a browser", { skip: executablePath === undefined && NO_CHROMIUM }, () => {
  let browser: Chromium;
  let context: BrowserContext;
  let page: Page;
  let subscriber: RunningCommand;
  let formerCookie: string;

  before(async () => {
    // Chromium refuses its own sandbox to root, as which containers run.
    const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    browser = await chromium.launch({ executablePath: executablePath ?? "", args });
    context = await browser.newContext();
    page = await context.newPage();
    subscriber = startCommand([], {
      program: SUBSCRIBER,
      env: {
        ISSUER: stack.gatewayUrl,
        AUDIENCE: TRUST_DOMAIN,
        NATS_URL: stack.nats.url,
        CREDS: stack.adminCredsFile,
        SUBJECT: "orders.eu.>",
      },
    });
    // It says nothing when it is ready; but it refuses aloud what nobody sealed.
    await eventually("the sample subscriber", () => {
      stack.admin.publish("orders.eu.0.create", "unsealed");
      return subscriber.written().out.includes("refused") ? true : undefined;
    });
  });
  after(async () => {
    await browser?.close();
    subscriber?.kill("SIGTERM");
    await subscriber?.done;
  });

  async function sessionCookie(): Promise<string> {
    const cookies = (await context.cookies()).filter(({ name }) => name.startsWith(COOKIE));
    assert.deepEqual(
      cookies.map(({ name, path, httpOnly, secure, sameSite }) => ({
        name,
        path,
        httpOnly,
        secure,
        sameSite,
      })),
      [{ name: COOKIE, path: "/", httpOnly: true, secure: true, sameSite: "Lax" }],
    );
    return `${COOKIE}=${cookies[0]?.value}`;
  }

  async function signIn(): Promise<void> {
    await page.goto(`${stack.gatewayUrl}/demo`);
    await page.getByRole("link", { name: "Sign in" }).click();
    assert.equal(new URL(page.url()).hostname, "localhost");
    await page.getByRole("button", { name: /Alice/ }).click();
    await page.getByText("(demo-alice), roles: order-clerk").waitFor();
  }

  test("alice signs in at the provider's own site, and comes back with a cookie no script can read", async () => {
    await signIn();
    assert.equal(page.url(), `${stack.gatewayUrl}/demo`);
    assert.equal(await page.evaluate("document.cookie"), "");
    formerCookie = await sessionCookie();
    assert.equal(await whoami({ cookie: formerCookie, "sec-fetch-site": "same-origin" }), 200);
  });

  test("what she publishes comes back in her page with her name, and the sample subscriber verifies it", async () => {
    await page.getByText("watching").waitFor();
    await page.getByLabel("Payload").fill('{"article":"pears"}');
    await page.getByRole("button", { name: "Publish" }).click();
    await page.getByText(/^sent, txn [0-9a-f-]{36}$/).waitFor();
    const line = page.getByRole("listitem").filter({ hasText: "pears" });
    assert.match(
      (await line.textContent()) ?? "",
      /^orders\.eu\.1\.create {2}✓ (Alice Ambrose|demo-alice) {2}/,
    );
    await eventually("the subscriber's line", () =>
      /^demo-alice orders\.eu\.1\.create \{"article":"pears"\}$/m.test(subscriber.written().out)
        ? true
        : undefined,
    );
  });

  test("signing out ends the stream of every tab, with its reason", async () => {
    const tab = await context.newPage();
    await tab.goto(`${stack.gatewayUrl}/demo`);
    await tab.getByText("watching").waitFor();
    const status = await page.evaluate(
      "fetch('auth/logout', { method: 'POST' }).then(({ status }) => status)",
    );
    assert.equal(status, 200);
    await page.getByText("ended: logout").waitFor();
    await tab.getByText("ended: logout").waitFor();
    assert.deepEqual(await context.cookies(stack.gatewayUrl), []);
    await tab.reload();
    await tab.getByRole("link", { name: "Sign in" }).waitFor();
    await tab.close();
  });

  test("the former cookie is worth nothing, wherever it is put back", async () => {
    assert.equal(await whoami({ cookie: formerCookie, "sec-fetch-site": "same-origin" }), 401);
    const value = formerCookie.slice(COOKIE.length + 1);
    await context.addCookies([
      {
        name: COOKIE,
        value,
        url: stack.gatewayUrl.replace("http:", "https:"),
        httpOnly: true,
        secure: true,
        sameSite: "Lax",
      },
    ]);
    assert.equal(await sessionCookie(), formerCookie);
    await page.goto(`${stack.gatewayUrl}/demo`);
    await page.getByRole("link", { name: "Sign in" }).waitFor();
  });

  test("signing in again makes a new session, whatever cookie was there", async () => {
    await signIn();
    assert.notEqual(await sessionCookie(), formerCookie);
  });

  test("a page of another origin can neither read nor do anything in her name", async () => {
    // The provider's page: another site, whose requests carry no Lax cookie; and CORS knows it not.
    const stranger = await context.newPage();
    await stranger.goto(`${stack.identityProvider.issuer}/.well-known/openid-configuration`);
    const url = JSON.stringify(`${stack.gatewayUrl}/v1/publish?subject=orders.eu.1.create`);
    const read = `fetch(${url}, { method: 'POST', credentials: 'include', body: 'x' }).then(() => 'read', () => 'kept')`;
    assert.equal(await stranger.evaluate(read), "kept");
    await stranger.evaluate(`{
      const form = document.createElement("form");
      Object.assign(form, { method: "post", action: ${JSON.stringify(`${stack.gatewayUrl}/auth/logout`)} });
      document.documentElement.append(form);
      form.submit();
    }`);
    await stranger.waitForURL(/auth\/logout/);
    await stranger.close();
    assert.equal(await page.evaluate("fetch('v1/whoami').then(({ status }) => status)"), 200);
  });
});

function beginElsewhere(user: "alice" | "bob"): Promise<HalfSignIn> {
  return beginSignIn(user, stack.gatewayUrl);
}

function callback(path: string, cookie: string): Promise<Answer> {
  const headers = {
    "sec-fetch-site": "cross-site",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
  };
  return stack.call(path, { headers: { ...headers, ...(cookie !== "" && { cookie }) } });
}

function assertRefused(answer: Answer): void {
  assert.equal(answer.status, 400, answer.text);
  assert.equal(answer.json().code, "invalid_login");
  assert.equal(answer.headers["set-cookie"], undefined);
}

test("the login cookie is as closed as the session's, and lives ten minutes", async () => {
  const begun = await stack.call("/auth/login");
  const [cookie = "", ...others] = begun.headers["set-cookie"] ?? [];
  assert.deepEqual(others, []);
  assert.match(
    cookie,
    /^__Host-Http-countersign~login=[A-Za-z0-9_-]+; Path=\/; Max-Age=600; Secure; HttpOnly; SameSite=Lax$/,
  );
  // The provider takes pushed requests (RFC 9126): what the browser carries there can be neither read nor changed.
  const { searchParams } = new URL(begun.headers.location ?? "");
  assert.deepEqual([...searchParams.keys()].sort(), ["client_id", "request_uri"]);
});

test("a callback in a browser that began no sign-in is refused: nobody is signed in as somebody else (login CSRF)", async () => {
  const { callback: path } = await beginElsewhere("bob");
  assertRefused(await callback(path, ""));
});

test("a callback with the state of another browser's sign-in is refused", async () => {
  const victim = await beginElsewhere("alice");
  const attacker = await beginElsewhere("bob");
  assertRefused(await callback(attacker.callback, victim.loginCookie));
});

test("a callback that names another issuer, or none, is refused (mix-up)", async () => {
  const { callback: path, loginCookie } = await beginElsewhere("alice");
  assertRefused(await callback(path.replace(/iss=[^&]*/, "iss=https%3A%2F%2Fevil.example"), loginCookie));
  assertRefused(await callback(path.replace(/&?iss=[^&]*/, ""), loginCookie));
  assertRefused(await callback(path.replace("/auth/callback", "/auth/callback/other"), loginCookie));
  assert.equal((await callback(path, loginCookie)).status, 303);
});

test("a callback works once, also for whoever kept its login cookie", async () => {
  const { callback: path, loginCookie } = await beginElsewhere("alice");
  const first = await callback(path, loginCookie);
  assert.deepEqual([first.status, first.headers.location], [303, "/demo"]);
  const cleared = (first.headers["set-cookie"] ?? []).find((cookie) => cookie.includes("~login="));
  assert.match(cleared ?? "", /~login=; Path=\/; Max-Age=0;/);
  assertRefused(await callback(path, loginCookie));
});

test("a login cookie that anybody changed is refused", async () => {
  const { callback: path, loginCookie } = await beginElsewhere("alice");
  const at = loginCookie.length - 20;
  const other = loginCookie[at] === "A" ? "B" : "A";
  assertRefused(await callback(path, loginCookie.slice(0, at) + other + loginCookie.slice(at + 1)));
  assertRefused(await callback(path, `${loginCookie}; ${loginCookie}`));
});

test("nobody is led to another origin after signing in", async () => {
  const elsewhere = [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/.//evil.example",
    "/a/..//evil.example",
    "javascript:alert(1)",
    "evil.example",
    " /demo",
    "",
  ];
  for (const returnTo of elsewhere) {
    const answer = await stack.call(`/auth/login?return-to=${encodeURIComponent(returnTo)}`);
    assert.deepEqual([returnTo, answer.status, answer.headers["set-cookie"]], [returnTo, 400, undefined]);
  }
  assert.equal((await stack.call("/auth/login?return-to=/a&return-to=/b")).status, 400);
  assert.equal((await stack.call("/auth/login?issuer=other")).status, 400);
});

describe("of sessions", () => {
  let alice: SignedIn;
  before(async () => {
    alice = await signInAs("alice", stack.gatewayUrl);
  });

  test("signing in again in the same browser ends the former session", async () => {
    const again = await signInAs("alice", stack.gatewayUrl, alice.browser);
    assert.notEqual(again.cookie, alice.cookie);
    assert.deepEqual([await whoami(alice.headers), await whoami(again.headers)], [401, 200]);
    alice = again;
  });

  test("a cookie that an attacker planted does not become a session", async () => {
    const planted = `${COOKIE}=${"A".repeat(43)}`;
    const { callback: path, loginCookie } = await beginElsewhere("alice");
    const answer = await callback(path, `${planted}; ${loginCookie}`);
    assert.equal(answer.status, 303);
    const session =
      (answer.headers["set-cookie"] ?? []).find((cookie) => cookie.startsWith(`${COOKIE}=`)) ?? "";
    assert.doesNotMatch(session, /=A{43};/);
    assert.equal(await whoami({ cookie: planted, "sec-fetch-site": "same-origin" }), 401);
  });

  test("a session counts only in requests that another site cannot have caused", async () => {
    const { cookie } = alice;
    const navigation = { "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
    const found: Record<string, number> = {};
    const cases: Readonly<Record<string, Readonly<Record<string, string>>>> = {
      "same origin": { "sec-fetch-site": "same-origin" },
      "our Origin": { origin: stack.gatewayUrl },
      "typed in": { "sec-fetch-site": "none", ...navigation },
      "a tool that says so": { "countersign-request": "1" },
      "a tool that does not": {},
      "a sibling site": { "sec-fetch-site": "same-site" },
      "another site": { "sec-fetch-site": "cross-site" },
      "another site's link": { "sec-fetch-site": "cross-site", ...navigation },
      "another Origin": { origin: "https://evil.example", "countersign-request": "1" },
      "a sandboxed frame": { origin: "null", "sec-fetch-site": "same-origin" },
    };
    for (const [name, headers] of Object.entries(cases)) found[name] = await whoami({ cookie, ...headers });
    assert.deepEqual(found, {
      "same origin": 200,
      "our Origin": 200,
      "typed in": 200,
      "a tool that says so": 200,
      "a tool that does not": 403,
      "a sibling site": 403,
      "another site": 403,
      "another site's link": 403,
      "another Origin": 403,
      "a sandboxed frame": 403,
    });
  });

  test("another site signs nobody out, nor does a link", async () => {
    const crossSite = { cookie: alice.cookie, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" };
    assert.equal((await stack.call("/auth/logout", { method: "POST", headers: crossSite })).status, 403);
    assert.equal((await stack.call("/auth/logout", { headers: alice.headers })).status, 404);
    assert.equal(await whoami(alice.headers), 200);
  });

  test("signing out clears the cookie and says where the provider signs out too; both are recorded with the session", async () => {
    const answer = await stack.call("/auth/logout", { method: "POST", headers: alice.headers });
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.headers["set-cookie"], [
      `${COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax`,
    ]);
    const location = new URL(String(answer.json().location));
    assert.equal(location.origin, stack.identityProvider.issuer);
    assert.equal(location.searchParams.get("post_logout_redirect_uri"), `${stack.gatewayUrl}/`);
    assert.equal(await whoami(alice.headers), 401);
    const lines = stack.audit().filter(({ lane }) => lane === "auth");
    assert(lines.some(({ action, outcome }) => action === "sign-in" && outcome === "refused"));
    // What joins them with each other, and with all that the session did: the cookie's hash.
    const proof = {
      kind: "session",
      hash: createHash("sha256")
        .update(alice.cookie.slice(COOKIE.length + 1))
        .digest("base64url"),
    };
    assert.deepEqual(
      lines
        .filter((line) => (line.proof as typeof proof | undefined)?.hash === proof.hash)
        .map(({ action, outcome, user, proof: found }) => ({ action, outcome, user, proof: found })),
      [
        { action: "sign-in", outcome: "allowed", user: "demo-alice", proof },
        { action: "sign-out", outcome: "allowed", user: undefined, proof },
      ],
    );
  });
});
