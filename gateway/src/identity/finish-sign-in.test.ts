import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, verify } from "node:crypto";
import { test } from "node:test";
import type { Outcome, Refusal } from "../refusal.ts";
import { createIssuers } from "./issuer.ts";
import { openLoginState, sealLoginState } from "./login-state.ts";
import { sessionHashOf } from "./session-proof.ts";
import { createSignIn, type SignedInBrowser } from "./sign-in.ts";
import { type HostileProvider, PUBLIC_URL, startHostileProvider } from "./testing/hostile-provider.ts";
import { makeKeyPair, signJws, startTestIssuer } from "./testing/issuer.ts";
import { createMemorySessions } from "./testing/memory-sessions.ts";
import { testSession } from "./testing/session-suite.ts";

// openid-client reads the clock itself, so here time is the real one.
const now = Date.now() / 1000;

interface Attempt {
  /** What the provider puts into the ID token, over the good claims. */
  readonly claims?: Record<string, unknown>;
  /** Makes the ID token of the good claims. */
  readonly idToken?: (claims: Record<string, unknown>, provider: HostileProvider) => string | undefined;
  /** The callback's query, over the good one; undefined takes one away. */
  readonly query?: Record<string, string | undefined>;
  readonly path?: string;
  readonly loginCookie?: (cookie: string) => string | undefined;
  readonly formerSession?: string;
  readonly at?: number;
}

/** Begins and finishes one sign-in, with what the attempt changes. */
async function attempt(provider: HostileProvider, change: Attempt = {}): Promise<Outcome<SignedInBrowser>> {
  const begun = await provider.signIn.begin({ returnTo: "/bus/demo", now });
  const { location, cookie } = begun.ok ? begun.value : assert.fail(JSON.stringify(begun.refusal));
  const asked = new URL(location).searchParams;
  provider.answer = (form) => {
    const challenge = createHash("sha256")
      .update(form.get("code_verifier") ?? "")
      .digest("base64url");
    if (challenge !== asked.get("code_challenge")) return new Error("invalid_grant");
    const claims = provider.idClaims(now, { nonce: asked.get("nonce"), ...change.claims });
    return {
      id_token: change.idToken
        ? change.idToken(claims, provider)
        : provider.issuer.sign(claims, { typ: "JWT" }),
    };
  };
  const query = Object.entries({ code: "c", state: asked.get("state") ?? "", ...change.query });
  const present = query.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  const value = /=([^;]+)/.exec(cookie)?.[1] ?? "";
  return provider.signIn.finish({
    url: `${change.path ?? "/bus/auth/callback"}?${new URLSearchParams(present)}`,
    loginCookie: change.loginCookie ? change.loginCookie(value) : value,
    ...(change.formerSession !== undefined && { formerSession: change.formerSession }),
    now: change.at ?? now,
  });
}

async function refusalOf(change: Attempt, provider?: HostileProvider): Promise<Refusal | undefined> {
  await using own = provider ? undefined : await startHostileProvider();
  const outcome = await attempt(provider ?? own ?? assert.fail(), change);
  return outcome.ok ? undefined : outcome.refusal;
}

function failed(step: string, why: string): Refusal {
  return { reason: "login_failed", step, why };
}

const notThis = failed("callback", "it is not the callback of this sign-in");
const noLogin = failed("cookie", "there is no sign-in under way in this browser");

test("finish() makes a session of a good callback, and goes where the sign-in was to lead", async () => {
  await using provider = await startHostileProvider();
  const outcome = await attempt(provider);
  const { returnTo, session } = outcome.ok ? outcome.value : assert.fail(JSON.stringify(outcome.refusal));
  assert.equal(returnTo, "/bus/demo");
  assert.deepEqual(session, {
    hash: session.hash,
    identity: {
      user: "demo-alice",
      issuer: "demo",
      id: "alice",
      kind: "user",
      client: "gw",
      attributes: Object.assign(Object.create(null), { groups: ["Orders.Clerks"] }),
      provedAt: now,
    },
    signedInAt: now,
    lastSeenAt: now,
    endsAt: now + 28_800,
  });
});

test("finish() gives the provider code, verifier and our own redirect URI, whatever the request was sent to", async () => {
  await using provider = await startHostileProvider();
  await attempt(provider, { path: "https://evil.example/elsewhere/auth/callback" });
  const [{ form, authorization } = assert.fail()] = provider.tokenRequests;
  assert.equal(form.get("redirect_uri"), `${PUBLIC_URL}/auth/callback`);
  assert.equal(form.get("code"), "c");
  assert.match(form.get("code_verifier") ?? "", /^[\w-]{43}$/);
  // Both parts are form-encoded first (RFC 6749 §2.3.1).
  assert.equal(authorization, `Basic ${Buffer.from("gw:the%2Dsecret").toString("base64")}`);
});

test("begin() asks for code, PKCE with S256, state and nonce, and keeps the verifier in a sealed cookie", async () => {
  await using provider = await startHostileProvider();
  const begun = await provider.signIn.begin({ now });
  const { location, cookie } = begun.ok ? begun.value : assert.fail();
  const { origin, pathname, searchParams } = new URL(location);
  assert.equal(origin + pathname, `${provider.issuer.url}/authorize`);
  const { state, nonce, code_challenge, ...rest } = Object.fromEntries(searchParams);
  assert.deepEqual(rest, {
    client_id: "gw",
    response_type: "code",
    redirect_uri: `${PUBLIC_URL}/auth/callback`,
    scope: "openid profile",
    code_challenge_method: "S256",
  });
  for (const secret of [state, nonce, code_challenge]) assert.match(secret ?? "", /^[\w-]{43}$/);
  assert.match(
    cookie,
    /^__Host-Http-countersign-bus~login=[\w-]+; Path=\/; Max-Age=600; Secure; HttpOnly; SameSite=Lax$/,
  );
  const login = openLoginState(provider.loginKey, /=([^;]+)/.exec(cookie)?.[1] ?? "", now);
  assert.deepEqual(
    { ...login, verifier: "" },
    { issuer: "demo", state, nonce, verifier: "", returnTo: "/bus/" },
  );
  const challenge = createHash("sha256")
    .update(login?.verifier ?? "")
    .digest("base64url");
  assert.equal(challenge, code_challenge);
});

test("begin() pushes the request where the provider takes that, and then shows nothing of it", async () => {
  await using provider = await startHostileProvider();
  const { issuer, signIn } = provider;
  issuer.discovery.pushed_authorization_request_endpoint = `${issuer.url}/par`;
  issuer.answers.set("/par", (_, response) => {
    response.writeHead(201, { "content-type": "application/json" });
    response.end(JSON.stringify({ request_uri: "urn:example:1", expires_in: 60 }));
  });
  const begun = await signIn.begin({ now });
  const { location } = begun.ok ? begun.value : assert.fail(JSON.stringify(begun.refusal));
  assert.deepEqual(Object.fromEntries(new URL(location).searchParams), {
    client_id: "gw",
    request_uri: "urn:example:1",
  });
});

test("begin() asks for offline_access only where the provider lists it, and for what is configured instead", async () => {
  const scopeOf = async (provider: HostileProvider): Promise<string | null> => {
    const begun = await provider.signIn.begin({ now });
    return begun.ok ? new URL(begun.value.location).searchParams.get("scope") : null;
  };
  await using listing = await startHostileProvider();
  listing.issuer.discovery.scopes_supported = ["openid", "offline_access"];
  assert.equal(await scopeOf(listing), "openid profile offline_access");
  await using configured = await startHostileProvider({
    client: { id: "gw", secret: () => "s", scope: "openid groups" },
  });
  configured.issuer.discovery.scopes_supported = ["openid", "offline_access"];
  assert.equal(await scopeOf(configured), "openid groups");
});

test("begin() refuses an issuer nobody signs in at, and a return-to elsewhere", async () => {
  await using provider = await startHostileProvider();
  const unknown = { reason: "request_invalid", what: "issuer", why: "nobody can sign in there" } as const;
  assert.deepEqual(await provider.signIn.begin({ issuer: "other", now }), { ok: false, refusal: unknown });
  const elsewhere = await provider.signIn.begin({ returnTo: "//evil.example", now });
  assert.equal(!elsewhere.ok && elsewhere.refusal.reason, "request_invalid");
  assert.deepEqual(provider.issuer.requests, []);
});

test("begin() asks a provider that is down once in five seconds", async () => {
  await using provider = await startHostileProvider();
  provider.issuer.answers.set("/.well-known/openid-configuration", (_, response) =>
    response.writeHead(500).end(),
  );
  const refusal: Refusal = {
    reason: "check_unavailable",
    check: "sign-in at demo",
    why: "The provider answered 500 for its discovery document",
  };
  for (const at of [0, 1, 4]) {
    assert.deepEqual(await provider.signIn.begin({ now: now + at }), { ok: false, refusal });
  }
  assert.equal(provider.issuer.requests.length, 1);
});

test("begin() sends nobody to an authorization endpoint of another scheme", async () => {
  for (const place of ["javascript:alert(1)", "https://evil.example/authorize", "data:text/html,x"]) {
    await using provider = await startHostileProvider();
    provider.issuer.discovery.authorization_endpoint = place;
    const begun = await provider.signIn.begin({ now });
    assert.equal(!begun.ok && begun.refusal.reason, "login_failed", place);
  }
});

test("finish() refuses a callback that is not this browser's, and asks the provider nothing", async () => {
  await using provider = await startHostileProvider();
  for (const [change, refusal] of [
    [{ loginCookie: () => undefined }, noLogin],
    [{ loginCookie: () => "" }, noLogin],
    [{ loginCookie: (cookie: string) => cookie.slice(1) }, noLogin],
    [{ loginCookie: (cookie: string) => cookie.repeat(20) }, noLogin],
    [{ at: now + 600 }, noLogin],
    [{ query: { state: "another" } }, failed("callback", "OAUTH_INVALID_RESPONSE")],
    [{ query: { state: undefined } }, failed("callback", "OAUTH_INVALID_RESPONSE")],
    [{ query: { code: undefined } }, failed("callback", "OAUTH_INVALID_RESPONSE")],
    [{ query: { iss: "https://evil.example" } }, failed("callback", "OAUTH_INVALID_RESPONSE")],
    [{ query: { error: "access_denied", code: undefined } }, failed("callback", "access_denied")],
    [{ path: "/bus/auth/callback/other" }, notThis],
    [{ path: "/bus/auth/callback/" }, notThis],
    [{ path: "/bus/auth/login" }, notThis],
    [{ query: { padding: "x".repeat(8_192) } }, notThis],
  ] as const) {
    assert.deepEqual(await refusalOf(change, provider), refusal, JSON.stringify(change));
  }
  assert.deepEqual(provider.tokenRequests, []);
});

test("finish() takes a login cookie sealed by another key, or for another purpose, for none", async () => {
  await using provider = await startHostileProvider();
  const login = { issuer: "demo", state: "s", nonce: "n", verifier: "v", returnTo: "//evil.example" };
  const forged = sealLoginState(() => Buffer.alloc(32, 1), login, now);
  assert.deepEqual(await refusalOf({ loginCookie: () => forged }, provider), noLogin);
  const large = sealLoginState(provider.loginKey, { ...login, returnTo: "/".padEnd(3_000, "x") }, now);
  assert.deepEqual(
    await refusalOf({ loginCookie: () => large }, provider),
    noLogin,
    "over the size of a cookie",
  );
});

test("finish() wants iss of a provider that promises it (RFC 9207), and takes only the right one", async () => {
  await using provider = await startHostileProvider();
  provider.issuer.discovery.authorization_response_iss_parameter_supported = true;
  assert.deepEqual(await refusalOf({}, provider), failed("callback", "OAUTH_INVALID_RESPONSE"));
  assert.equal(await refusalOf({ query: { iss: provider.issuer.url } }, provider), undefined);
});

test("finish() keeps the callbacks of two issuers apart (mix-up)", async () => {
  await using first = await startHostileProvider();
  await using second = await startTestIssuer();
  second.discovery.authorization_endpoint = `${second.url}/authorize`;
  const client = { id: "gw", secret: () => "s" };
  const signIn = createSignIn({
    issuers: createIssuers([
      { name: "one", url: first.issuer.url, audience: "a", client },
      { name: "two", url: second.url, audience: "a", client },
    ]),
    sessions: createMemorySessions(),
    publicUrl: PUBLIC_URL,
    origins: [],
    loginKey: first.loginKey,
    refreshKey: first.refreshKey,
  });
  for (const [issuer, redirectUri, wrong] of [
    ["one", `${PUBLIC_URL}/auth/callback`, "/bus/auth/callback/two"],
    ["two", `${PUBLIC_URL}/auth/callback/two`, "/bus/auth/callback"],
  ] as const) {
    const begun = await signIn.begin({ issuer, now });
    const { location, cookie } = begun.ok ? begun.value : assert.fail();
    const query = new URL(location).searchParams;
    assert.equal(query.get("redirect_uri"), redirectUri);
    const loginCookie = /=([^;]+)/.exec(cookie)?.[1];
    const url = `${wrong}?code=c&state=${query.get("state")}`;
    assert.deepEqual(await signIn.finish({ url, loginCookie, now }), { ok: false, refusal: notThis });
  }
  assert.deepEqual([first.tokenRequests, second.requests.includes("/token")], [[], false]);
});

test("finish() refuses an ID token that is not for this sign-in", async () => {
  const other = makeKeyPair("ES256");
  const typed =
    (typ: string) =>
    (claims: object, { issuer }: HostileProvider) =>
      issuer.sign(claims, { typ });
  const nonce = failed("callback", "OAUTH_INVALID_RESPONSE");
  const compared = failed("callback", "OAUTH_JWT_CLAIM_COMPARISON_FAILED");
  for (const [change, refusal] of [
    [{ claims: { nonce: "another" } }, compared],
    [{ claims: { nonce: undefined } }, nonce],
    [{ claims: { iss: "https://evil.example" } }, compared],
    [{ claims: { aud: "other" } }, compared],
    [{ claims: { exp: now - 60 } }, failed("callback", "OAUTH_JWT_TIMESTAMP_CHECK_FAILED")],
    [{ claims: { sub: undefined } }, nonce],
    [{ idToken: () => undefined }, nonce],
    [{ idToken: () => "a.b" }, failed("callback", "OAUTH_INVALID_RESPONSE")],
    [
      { claims: { aud: ["gw", "other"], azp: "gw" } },
      { reason: "audience_mismatch", expected: "gw", found: ["gw", "other"] },
    ],
    [
      {
        idToken: (claims) =>
          signJws(claims, { alg: "ES256", kid: "k1", typ: "JWT" }, { alg: "ES256", ...other }),
      },
      { reason: "proof_invalid", why: "signature" },
    ],
    [
      { idToken: typed("txntoken+jwt") },
      { reason: "proof_invalid", why: "its type is not that of an ID token" },
    ],
    [
      { idToken: typed("logout+jwt") },
      { reason: "proof_invalid", why: "its type is not that of an ID token" },
    ],
    [
      {
        idToken: (claims, { issuer }) =>
          issuer.sign(JSON.stringify(claims).replace("{", '{"sub":"root",'), { typ: "JWT" }),
      },
      { reason: "proof_invalid", why: "header or claims are not unambiguous JSON objects" },
    ],
    [
      { claims: { padding: "x".repeat(65_536) } },
      { reason: "proof_invalid", why: "a token over the size limit" },
    ],
    [{ claims: { hasgroups: true } }, { reason: "groups_overage", issuer: "demo", claim: "groups" }],
    [{ claims: { groups: [7] } }, { reason: "proof_invalid", why: "claim groups is not text, or too long" }],
  ] satisfies [Attempt, Refusal][]) {
    assert.deepEqual(await refusalOf(change), refusal, JSON.stringify(change));
  }
});

test("finish() authenticates with private_key_jwt whose audience is the issuer alone", async () => {
  for (const [alg, pair] of [
    ["ES256", generateKeyPairSync("ec", { namedCurve: "P-256" })],
    ["RS256", generateKeyPairSync("rsa", { modulusLength: 2048 })],
    ["Ed25519", generateKeyPairSync("ed25519")],
  ] as const) {
    await using provider = await startHostileProvider({
      client: { id: "gw", key: () => pair.privateKey, keyId: "client-key" },
    });
    assert.equal(await refusalOf({}, provider), undefined);
    const [{ form, authorization } = assert.fail()] = provider.tokenRequests;
    assert.equal(authorization, undefined);
    assert.equal(form.get("client_secret"), null);
    assert.equal(form.get("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    const [head = "", body = "", tail = ""] = form.get("client_assertion")?.split(".") ?? [];
    const decode = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString());
    assert.deepEqual([decode(head).alg, decode(head).kid], [alg, "client-key"]);
    assert.deepEqual(
      [decode(body).aud, decode(body).iss, decode(body).sub],
      [provider.issuer.url, "gw", "gw"],
    );
    const key = { key: pair.publicKey, dsaEncoding: "ieee-p1363" } as const;
    const digest = alg === "Ed25519" ? null : "sha256";
    assert.ok(verify(digest, Buffer.from(`${head}.${body}`), key, Buffer.from(tail, "base64url")));
  }
});

test("finish() takes the secret anew each time and sends it where the provider wants it", async () => {
  let secret = "first";
  await using provider = await startHostileProvider({ client: { id: "gw", secret: () => secret } });
  const basic = (password: string): string => `Basic ${Buffer.from(`gw:${password}`).toString("base64")}`;
  await attempt(provider);
  secret = "second";
  await attempt(provider);
  assert.deepEqual(
    provider.tokenRequests.map(({ authorization }) => authorization),
    [basic("first"), basic("second")],
  );
  await using posting = await startHostileProvider();
  posting.issuer.discovery.token_endpoint_auth_methods_supported = ["client_secret_post"];
  assert.equal(await refusalOf({}, posting), undefined);
  assert.equal(posting.tokenRequests[0]?.form.get("client_secret"), "the-secret");
});

test("finish() refuses as unavailable when the provider fails, and repeats nothing that was secret", async () => {
  await using provider = await startHostileProvider();
  const unavailable = { reason: "check_unavailable", check: "sign-in at demo" } as const;
  const { answers } = provider.issuer;
  answers.set("/token", (_, response) => response.writeHead(502).end("the-secret"));
  assert.deepEqual(await refusalOf({}, provider), { ...unavailable, why: "The provider answered 502" });
  answers.set("/token", (request) => request.socket.destroy());
  assert.deepEqual(await refusalOf({}, provider), { ...unavailable, why: "socket hang up" });
  await using elsewhere = await startTestIssuer();
  answers.set("/token", (_, response) =>
    response.writeHead(307, { location: `${elsewhere.url}/token` }).end(),
  );
  const redirected = await refusalOf({}, provider);
  assert.equal(redirected?.reason, "login_failed");
  assert.deepEqual(elsewhere.requests, [], "code, verifier and secret went nowhere else");
  answers.set("/token", (_, response) => {
    response.writeHead(400, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: "the-secret is wrong", error_description: "the-secret" }));
  });
  assert.deepEqual(await refusalOf({}, provider), failed("callback", "OAUTH_RESPONSE_BODY_ERROR"));
});

test("finish() stores nothing and ends nothing; keep() does both", async () => {
  await using provider = await startHostileProvider();
  const formerSession = "A".repeat(43);
  const former = testSession({ hash: sessionHashOf(formerSession) });
  await provider.sessions.create(former);
  const finished = await attempt(provider, { formerSession });
  const signedIn = finished.ok ? finished.value : assert.fail(JSON.stringify(finished.refusal));
  assert.equal(await provider.sessions.get(signedIn.session.hash), undefined);
  assert.equal(await provider.sessions.get(former.hash), former);
  assert.equal(provider.sessions.notBefore({ session: former.hash }), undefined);

  assert.deepEqual(await provider.signIn.keep(signedIn), { ok: true, value: undefined });
  assert.equal(await provider.sessions.get(signedIn.session.hash), signedIn.session);
  assert.equal(await provider.sessions.get(former.hash), undefined);
  assert.equal(provider.sessions.notBefore({ session: former.hash }), now);
});

test("keep() refuses when the session cannot be stored", async () => {
  await using provider = await startHostileProvider();
  const finished = await attempt(provider);
  const signedIn = finished.ok ? finished.value : assert.fail(JSON.stringify(finished.refusal));
  provider.sessions.failure = new Error("the bucket is away");
  const refusal: Refusal = { reason: "check_unavailable", check: "sessions", why: "the bucket is away" };
  assert.deepEqual(await provider.signIn.keep(signedIn), { ok: false, refusal });
});

test("createSignIn() refuses what cannot be meant", async () => {
  await using issuer = await startTestIssuer();
  const client = { id: "gw", secret: () => "s" };
  const make =
    (change: object, withClient = true) =>
    () =>
      createSignIn({
        issuers: createIssuers([
          { name: "demo", url: issuer.url, audience: "a", ...(withClient && { client }) },
        ]),
        sessions: createMemorySessions(),
        publicUrl: PUBLIC_URL,
        origins: [],
        loginKey: () => Buffer.alloc(32),
        refreshKey: () => Buffer.alloc(32),
        ...change,
      });
  make({ publicUrl: "http://127.0.0.1:8480" })();
  for (const [change, message] of [
    [{ publicUrl: "http://apps.example.com" }, /public-url "http:\/\/apps\.example\.com" is not https/],
    [{ idleSeconds: 59 }, /idleSeconds must be 60 to 86400, found 59/],
    [{ absoluteSeconds: 2_592_001 }, /absoluteSeconds must be 300 to 2592000/],
    [{ graceSeconds: -1 }, /graceSeconds must be 0 to 86400/],
    [{ idleSeconds: Number.NaN }, /idleSeconds/],
  ] as const) {
    assert.throws(make(change), { code: "CONFIG_INVALID", message });
  }
  assert.throws(make({}, false), { code: "CONFIG_INVALID", message: /no issuer has a client/ });
});
