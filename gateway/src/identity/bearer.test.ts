import assert from "node:assert/strict";
import { createHmac, createPublicKey, hash } from "node:crypto";
import { after, before, test } from "node:test";
import fc from "fast-check";
import type { Outcome, Refusal } from "../refusal.ts";
import { readAttributes } from "./attributes.ts";
import { createVerifyBearer } from "./bearer.ts";
import type { Identity } from "./identity.ts";
import { createIssuers, type IssuerOptions } from "./issuer.ts";
import { makeKeyPair, signJws, startTestIssuer, type TestIssuer } from "./testing/issuer.ts";

const now = 1_800_000_000;
let issuer: TestIssuer;
before(async () => {
  issuer = await startTestIssuer();
  issuer.addKey("rs", "RS256");
  issuer.addKey("ps", "PS256");
  issuer.addKey("ed", "Ed25519");
});
after(() => issuer.stop());

function good(overrides: Record<string, unknown> = {}): Record<string, unknown> {
  const claims = {
    iss: issuer.url,
    aud: "countersign",
    sub: "alice",
    client_id: "spa",
    iat: now - 10,
    exp: now + 600,
    groups: ["Orders.Clerks"],
    ...overrides,
  };
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
}

function verifierOf(options: Partial<IssuerOptions> = {}): ReturnType<typeof createVerifyBearer> {
  const issuers = createIssuers([{ name: "demo", url: issuer.url, audience: "countersign", ...options }]);
  return createVerifyBearer({ issuers });
}

async function verify(
  token: string,
  options: Partial<IssuerOptions> = {},
  at = now,
): Promise<Outcome<Identity>> {
  return verifierOf(options)(token, at);
}

/** Why a token with these claims and this header is refused; undefined when it is not. */
async function refusalOf(
  claims: Record<string, unknown> | string,
  header: Record<string, unknown> = {},
  options: Partial<IssuerOptions> = {},
): Promise<Refusal | undefined> {
  const outcome = await verify(issuer.sign(claims, header), options);
  return outcome.ok ? undefined : outcome.refusal;
}

function invalid(why: string): Refusal {
  return { reason: "proof_invalid", why };
}

async function identityOf(
  claims: Record<string, unknown>,
  header: Record<string, unknown> = {},
  options: Partial<IssuerOptions> = {},
): Promise<Identity> {
  const outcome = await verify(issuer.sign(claims, header), options);
  if (!outcome.ok) assert.fail(JSON.stringify(outcome.refusal));
  return outcome.value;
}

test("verifyBearer() reads an Identity from an access token", async () => {
  const token = issuer.sign(
    good({ name: "Alice Ünlü", acr: "mfa", region: "eu", act: { sub: "billing.agent", act: { sub: "x" } } }),
  );
  const attributes = { groups: "groups", region: "region", none: "none" };
  assert.deepEqual(await verify(token, { attributes }), {
    ok: true,
    value: {
      user: "demo-alice",
      issuer: "demo",
      id: "alice",
      name: "Alice Ünlü",
      acr: "mfa",
      kind: "user",
      client: "spa",
      actor: { user: "demo-billing=2Eagent" },
      attributes: Object.assign(Object.create(null), { groups: ["Orders.Clerks"], region: ["eu"] }),
      proof: { kind: "bearer", hash: hash("sha256", token, "base64url") },
      provedAt: now - 10,
      expiresAt: now + 600,
    },
  });
});

test("verifyBearer() accepts each algorithm with the key that is for it, and no other pair", async () => {
  for (const kid of ["k1", "rs", "ps", "ed"]) assert.equal(await refusalOf(good(), { kid }), undefined, kid);
  assert.equal(await refusalOf(good(), { kid: "ed", alg: "EdDSA" }), undefined);
  for (const [kid, alg] of [
    ["rs", "PS256"],
    ["ps", "RS256"],
    ["k1", "RS256"],
    ["ed", "ES256"],
    ["k1", "Ed25519"],
  ]) {
    assert.deepEqual(await refusalOf(good(), { kid, alg }), invalid("signature"), `${kid} ${alg}`);
  }
});

test("verifyBearer() refuses a PSS signature under a key of RS256 that says it is what it is", async () => {
  const { privateKey } = issuer.keys.get("rs") ?? assert.fail();
  const token = signJws(good(), { alg: "PS256", kid: "rs", typ: "at+jwt" }, { alg: "PS256", privateKey });
  assert.deepEqual(await verify(token), { ok: false, refusal: invalid("signature") });
});

test("verifyBearer() refuses none, symmetric and unknown algorithms before it looks for a key", async () => {
  for (const alg of ["none", "None", "HS256", "ES384", "RS1", "", undefined, 256, "ES256K"]) {
    assert.deepEqual(await refusalOf(good(), { alg }), invalid("signature algorithm"), String(alg));
  }
});

test("verifyBearer() refuses an HMAC made with the public key", async () => {
  const { publicKey } = issuer.keys.get("rs") ?? assert.fail();
  const secret = publicKey.export({ type: "spki", format: "pem" });
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  for (const alg of ["HS256", "RS256"]) {
    const input = `${encode({ alg, kid: "rs", typ: "at+jwt" })}.${encode(good())}`;
    const token = `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
    assert.equal((await verify(token)).ok, false);
  }
});

test("verifyBearer() refuses a token without signature, and one that was changed after signing", async () => {
  const token = issuer.sign(good());
  const [head, body, tail] = token.split(".");
  const changed = Buffer.from(JSON.stringify(good({ sub: "root" }))).toString("base64url");
  const shape: Refusal = { reason: "proof_invalid", why: "not a JWS in compact form" };
  assert.deepEqual(await verify(`${head}.${changed}.${tail}`), { ok: false, refusal: invalid("signature") });
  for (const broken of [
    `${head}.${body}.`,
    `${head}.${body}`,
    `${token}.x.y`,
    "",
    "a",
    `${token}=`,
    ` ${token}`,
  ]) {
    assert.deepEqual(await verify(broken), { ok: false, refusal: shape }, broken);
  }
});

test("verifyBearer() refuses a second spelling of the same signature", async () => {
  const token = issuer.sign(good());
  // The last of 86 characters carries two bits that decoders throw away.
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const last = alphabet.indexOf(token.at(-1) ?? "");
  const outcome = await verify(token.slice(0, -1) + alphabet[last + 1]);
  assert.deepEqual(outcome, {
    ok: false,
    refusal: { reason: "proof_invalid", why: "not a JWS in compact form" },
  });
});

test("verifyBearer() looks at no token over 16 KB", async () => {
  const token = issuer.sign(good({ padding: "x".repeat(12_500) }));
  assert.deepEqual(await verify(token), {
    ok: false,
    refusal: { reason: "proof_invalid", why: "a token over the size limit" },
  });
});

test("verifyBearer() refuses a signature of another key under a known kid", async () => {
  const other = { alg: "ES256", ...makeKeyPair("ES256") } as const;
  const token = signJws(good(), { alg: "ES256", kid: "k1", typ: "at+jwt" }, other);
  assert.deepEqual(await verify(token), { ok: false, refusal: invalid("signature") });
});

test("verifyBearer() refuses headers that bring a key or demand an extension", async () => {
  const jwk = createPublicKey(issuer.keys.get("k1")?.privateKey ?? assert.fail()).export({ format: "jwk" });
  for (const [name, value] of [
    ["jku", `${issuer.url}/jwks`],
    ["jwk", jwk],
    ["x5u", "https://evil.example/x5u"],
    ["x5c", ["MII"]],
    ["crit", ["exp"]],
    ["crit", []],
    ["b64", false],
    ["zip", "DEF"],
  ] as const) {
    assert.deepEqual(await refusalOf(good(), { [name]: value }), invalid(`header parameter ${name}`));
  }
});

test("verifyBearer() looks a kid up exactly and asks nobody by it", async () => {
  await refusalOf(good());
  const requests = issuer.requests.length;
  const { privateKey } = issuer.keys.get("k1") ?? assert.fail();
  const verifyBearer = verifierOf();
  for (const kid of [
    "../jwks",
    "K1",
    "k1 ",
    "' OR 1=1",
    `${issuer.url}/jwks`,
    "__proto__",
    "constructor",
    "k1\u0000",
  ]) {
    const token = signJws(good(), { alg: "ES256", kid, typ: "at+jwt" }, { alg: "ES256", privateKey });
    const outcome = await verifyBearer(token, now);
    assert.deepEqual(outcome, { ok: false, refusal: invalid("its key is not among the issuer's") }, kid);
  }
  // One fetch of discovery and keys for all of them: the kid never becomes part of a request.
  assert.deepEqual(issuer.requests.slice(requests), ["/.well-known/openid-configuration", "/jwks"]);
});

test("verifyBearer() refuses a missing or over-long kid", async () => {
  const { privateKey } = issuer.keys.get("k1") ?? assert.fail();
  for (const kid of [undefined, "", 1, "k".repeat(257)]) {
    const token = signJws(good(), { alg: "ES256", kid, typ: "at+jwt" }, { alg: "ES256", privateKey });
    assert.deepEqual(await verify(token), { ok: false, refusal: invalid("key id missing or too long") });
  }
});

test("verifyBearer() refuses every type but access tokens and plain JWTs", async () => {
  const why = "its type is not that of an access token";
  for (const typ of [
    "txntoken+jwt",
    "seal-root+jwt",
    "logout+jwt",
    "dpop+jwt",
    "secevent+jwt",
    "",
    "id+jwt",
  ]) {
    assert.deepEqual(await refusalOf(good(), { typ }), invalid(why), typ);
  }
  for (const typ of ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt", undefined]) {
    assert.equal(await refusalOf(good(), { typ }), undefined, typ);
  }
  assert.deepEqual(await refusalOf(good(), { typ: ["at+jwt"] }), invalid("token type"));
});

test("verifyBearer() refuses ID, refresh and logout tokens that say only JWT", async () => {
  for (const name of ["nonce", "at_hash", "c_hash", "s_hash", "events"]) {
    const why = `claim ${name} belongs to another kind of token`;
    assert.deepEqual(await refusalOf(good({ [name]: "x" }), { typ: "JWT" }), invalid(why));
  }
  for (const claim of [{ typ: "ID" }, { typ: "Refresh" }, { token_use: "id" }]) {
    const why = "it says that it is another kind of token";
    assert.deepEqual(await refusalOf(good(claim), { typ: "JWT" }), invalid(why));
  }
  assert.equal(await refusalOf(good({ typ: "Bearer", token_use: "access" }), { typ: "JWT" }), undefined);
});

test("verifyBearer() wants a scope of a plain JWT whose audience is the sign-in client itself", async () => {
  const client = { id: "countersign", secret: () => "s" };
  const why = "it may be an ID token: it has the client's audience and no scope";
  assert.deepEqual(await refusalOf(good(), { typ: "JWT" }, { client }), invalid(why));
  assert.equal(await refusalOf(good({ scp: "bus" }), { typ: "JWT" }, { client }), undefined);
  assert.equal(await refusalOf(good({ scope: "bus" }), { typ: "JWT" }, { client }), undefined);
  assert.equal(await refusalOf(good({ idtyp: "app" }), { typ: "JWT" }, { client }), undefined);
  assert.equal(await refusalOf(good(), { typ: "at+jwt" }, { client }), undefined);
});

test("verifyBearer() refuses a token bound to a key", async () => {
  assert.deepEqual(await refusalOf(good({ cnf: { jkt: "x" } })), invalid("it is bound to a key (cnf)"));
});

test("verifyBearer() knows issuers by their exact identifier", async () => {
  for (const iss of [
    "https://evil.example",
    `${issuer.url}/`,
    issuer.url.toUpperCase(),
    "",
    issuer.url.slice(0, -1),
  ]) {
    assert.deepEqual(await refusalOf(good({ iss })), { reason: "issuer_unknown", issuer: iss });
  }
  for (const iss of [undefined, {}, [], 7]) {
    assert.deepEqual(await refusalOf(good({ iss })), { reason: "issuer_unknown", issuer: "" });
  }
});

test("verifyBearer() refuses a token of one issuer signed by another one's key", async () => {
  await using other = await startTestIssuer();
  const issuers = createIssuers([
    { name: "demo", url: issuer.url, audience: "countersign" },
    { name: "other", url: other.url, audience: "countersign" },
  ]);
  const outcome = await createVerifyBearer({ issuers })(other.sign(good()), now);
  assert.deepEqual(outcome, { ok: false, refusal: invalid("signature") });
});

test("verifyBearer() wants exactly its audience, and no other beside it unless configured", async () => {
  const mismatch = (found: string[]): Refusal => ({
    reason: "audience_mismatch",
    expected: "countersign",
    found,
  });
  assert.deepEqual(await refusalOf(good({ aud: "other" })), mismatch(["other"]));
  assert.deepEqual(await refusalOf(good({ aud: undefined })), mismatch([]));
  assert.deepEqual(await refusalOf(good({ aud: "Countersign" })), mismatch(["Countersign"]));
  assert.deepEqual(await refusalOf(good({ aud: ["countersign", "b"] })), mismatch(["countersign", "b"]));
  assert.deepEqual(await refusalOf(good({ aud: ["countersign", 1] })), mismatch(["countersign"]));
  assert.deepEqual(await refusalOf(good({ aud: [] })), mismatch([]));
  assert.deepEqual(
    await refusalOf(good({ aud: Array(20).fill("x".repeat(300)) })),
    mismatch(Array(8).fill("x".repeat(256))),
  );
  assert.equal(await refusalOf(good({ aud: ["countersign"] })), undefined);
  const options = { audiencesBesides: ["account"] };
  assert.equal(await refusalOf(good({ aud: ["account", "countersign"] }), {}, options), undefined);
  assert.deepEqual(await refusalOf(good({ aud: ["account"] }), {}, options), mismatch(["account"]));
});

test("verifyBearer() judges times: exp to the second, iat and nbf with tolerance", async () => {
  assert.deepEqual(await refusalOf(good({ exp: now })), { reason: "proof_expired", expiredAt: now, now });
  assert.equal(await refusalOf(good({ exp: now + 1 })), undefined);
  assert.equal(await refusalOf(good({ iat: now + 30, nbf: now + 30 })), undefined);
  const early = { reason: "proof_not_yet_valid", validFrom: now + 31, now } as const;
  assert.deepEqual(await refusalOf(good({ iat: now + 31 })), early);
  assert.deepEqual(await refusalOf(good({ nbf: now + 31 })), early);
  assert.deepEqual(await refusalOf(good({ iat: now + 31, nbf: now - 10 })), early);
  assert.deepEqual(await refusalOf(good({ iat: now + 1 }), {}, { clockToleranceSeconds: 0 }), {
    reason: "proof_not_yet_valid",
    validFrom: now + 1,
    now,
  });
});

test("verifyBearer() refuses times that are missing, no numbers or a day apart", async () => {
  const why = "iat, exp or nbf is missing or no time";
  for (const claims of [
    { exp: undefined },
    { iat: undefined },
    { exp: "never" },
    { iat: null },
    { nbf: -1 },
    { exp: 1e12 },
  ]) {
    assert.deepEqual(await refusalOf(good(claims)), invalid(why), JSON.stringify(claims));
  }
  assert.equal(await refusalOf(good({ iat: now, exp: now + 86_400 })), undefined);
  assert.deepEqual(await refusalOf(good({ iat: now, exp: now + 86_401 })), invalid("it lives too long"));
});

test("verifyBearer() refuses claims that two parsers could read differently", async () => {
  const why = "header or claims are not unambiguous JSON objects";
  const text = JSON.stringify(good());
  for (const claims of [
    text.replace('"sub":"alice"', '"sub":"alice","sub":"root"'),
    text.replace('"sub":"alice"', '"sub":"alice","__proto__":{"groups":["Audit"]}'),
    text.replace('"sub":"alice"', `"sub":"alice","deep":${"[".repeat(9)}${"]".repeat(9)}`),
    text.replace('"sub":"alice"', '"sub":"al\\ud800ice"'),
    "[]",
    "null",
  ]) {
    assert.deepEqual(await refusalOf(claims), invalid(why));
  }
});

test("verifyBearer() names users so that no two ids meet and none widens anything", async () => {
  const users = new Map<string, string>();
  for (const sub of [
    ...["*", ">", "a.b", "a=2Eb", "$SYS", "_INBOX", "$JS.API", "{{name()}}", "A", "a"],
    // Full-width a and *, zero-width space, NFD and NFC, Kelvin sign and K, Turkish dotted capital and its lower case.
    ...["\uff41", "\uff0a", "a\u200bb", "a\u0301", "\u00e1", "\u212a", "K", "\u0130", "i\u0307"],
  ]) {
    const { user, id } = await identityOf(good({ sub, client_id: "spa" }));
    assert.equal(id, sub);
    assert.match(user, /^demo-[A-Za-z0-9_=-]+$/);
    users.set(user, sub);
  }
  assert.equal(users.size, 19);
  const why = "its user id is missing or cannot be a name";
  for (const sub of ["", undefined, 7, null, ["alice"], "x".repeat(256)]) {
    assert.deepEqual(await refusalOf(good({ sub })), invalid(why));
  }
});

test("verifyBearer() calls a token a service's or a user's only if RFC 9068 says so", async () => {
  assert.equal((await identityOf(good())).kind, "user");
  assert.equal((await identityOf(good({ sub: "spa" }))).kind, "service");
  assert.equal((await identityOf(good({ client_id: undefined, azp: "alice" }))).kind, "unknown");
  assert.equal((await identityOf(good({ sub: "spa" }), { typ: "JWT" })).kind, "unknown");
  assert.equal((await identityOf(good({ idtyp: "app" }), { typ: "JWT" })).kind, "unknown");
  assert.equal((await identityOf(good(), { typ: undefined }, { kind: "service" })).kind, "service");
});

test("verifyBearer() knows Entra's users by oid in the configured tenant, and its services by idtyp", async () => {
  const entraTenant = "9f2c0000-0000-0000-0000-000000000000";
  const claims = good({
    tid: entraTenant,
    oid: "1b7e4c00-0000-0000-0000-000000000001",
    azp: "app",
    client_id: undefined,
  });
  const entra = { entraTenant };
  const identity = await identityOf(claims, { typ: "JWT" }, entra);
  assert.equal(identity.user, "demo-1b7e4c00-0000-0000-0000-000000000001");
  assert.equal(identity.kind, "unknown");
  assert.equal(identity.client, "app");
  assert.equal((await identityOf({ ...claims, idtyp: "app" }, { typ: "JWT" }, entra)).kind, "service");
  assert.equal((await identityOf({ ...claims, idtyp: "user" }, { typ: "JWT" }, entra)).kind, "user");
  for (const tid of [undefined, "9f2c0000-0000-0000-0000-000000000001"]) {
    assert.deepEqual(
      await refusalOf({ ...claims, tid }, { typ: "JWT" }, entra),
      invalid("it is another tenant's (tid)"),
    );
  }
  const { oid: _, ...withoutOid } = claims;
  assert.deepEqual(
    await refusalOf(withoutOid, {}, entra),
    invalid("its user id is missing or cannot be a name"),
  );
  const why = "actors of this issuer cannot be named";
  assert.deepEqual(await refusalOf({ ...claims, act: { sub: "x" } }, {}, entra), invalid(why));
});

test("verifyBearer() takes the outermost actor, of the token's own issuer, four deep at most", async () => {
  const chain = (depth: number): unknown =>
    depth === 0 ? undefined : { sub: `a${depth}`, act: chain(depth - 1) };
  assert.deepEqual((await identityOf(good({ act: chain(4) }))).actor, { user: "demo-a4" });
  assert.deepEqual((await identityOf(good({ act: { sub: "b", iss: issuer.url } }))).actor, {
    user: "demo-b",
  });
  const malformedChain = invalid("its chain of actors is malformed or too long");
  for (const act of [chain(5), "agent", null, [{ sub: "a" }], { sub: "a", act: "b" }]) {
    assert.deepEqual(await refusalOf(good({ act })), malformedChain);
  }
  const nameless = invalid("its actor cannot be named, or is another issuer's");
  for (const act of [{}, { sub: 1 }, { sub: "" }, { sub: "a", iss: "https://other.example" }]) {
    assert.deepEqual(await refusalOf(good({ act })), nameless);
  }
});

test("verifyBearer() maps claims to attributes as configured, and reads no other", async () => {
  const attributes = {
    groups: ["roles", "groups"],
    realm: "realm_access.roles",
    team: "https://example.com/team.name",
    missing: "a.b.c",
  };
  const claims = good({
    roles: ["r", "both"],
    groups: ["both", "g", ""],
    realm_access: { roles: "admin" },
    "https://example.com/team.name": ["t"],
    email: "alice@example.com",
    a: { b: "text" },
  });
  const expected = { groups: ["r", "both", "g"], realm: ["admin"], team: ["t"] };
  const identity = await identityOf(claims, {}, { attributes });
  assert.deepEqual({ ...identity.attributes }, expected);
  assert.equal(Object.getPrototypeOf(identity.attributes), null);
});

test("verifyBearer() refuses an attribute that is not text, too long or too many", async () => {
  for (const groups of [7, true, [1], { a: 1 }, ["a", null], "x".repeat(257), ["ü".repeat(129)]]) {
    assert.deepEqual(await refusalOf(good({ groups })), invalid("claim groups is not text, or too long"));
  }
  const many = Array.from({ length: 5_001 }, (_, n) => String(n));
  const read = (groups: string[]): unknown => readAttributes({ groups }, { groups: "groups" }, "demo");
  assert.deepEqual(read(many), { ok: false, refusal: invalid("too many attribute values") });
  const attributes = Object.assign(Object.create(null), { groups: many.slice(1) });
  assert.deepEqual(read(many.slice(1)), { ok: true, value: attributes });
  assert.deepEqual({ ...(await identityOf(good({ groups: null }))).attributes }, {});
});

test("verifyBearer() refuses a token whose groups were left out, if they feed an attribute", async () => {
  const overage = { reason: "groups_overage", issuer: "demo", claim: "groups" } as const;
  const elsewhere = {
    _claim_names: { groups: "src1" },
    _claim_sources: { src1: { endpoint: `${issuer.url}/graph` } },
    groups: undefined,
  };
  assert.deepEqual(await refusalOf(good(elsewhere)), overage);
  assert.deepEqual(await refusalOf(good({ hasgroups: true })), overage);
  assert.deepEqual(await refusalOf(good({ hasgroups: "true" })), overage);
  assert.equal(await refusalOf(good(elsewhere), {}, { attributes: { roles: "roles" } }), undefined);
  assert.equal(issuer.requests.includes("/graph"), false);
});

test("verifyBearer() shows no name that could mislead whoever reads it", async () => {
  for (const name of ["\u202eecila", "al\nice", "", "x".repeat(257), 5]) {
    assert.equal((await identityOf(good({ name }))).name, undefined);
  }
  assert.equal((await identityOf(good({ name: "a\u0007", preferred_username: "alice" }))).name, "alice");
});

test("verifyBearer() answers a token it knows at once, for a minute and never beyond its end", async () => {
  const verifyBearer = verifierOf();
  const token = issuer.sign(good({ exp: now + 600 }));
  const first = await verifyBearer(token, now);
  const again = verifyBearer(token, now + 59);
  assert.equal(again, first, "the very same outcome, without a promise");
  assert.notEqual(verifyBearer(token, now + 60), first);
  const short = issuer.sign(good({ exp: now + 5 }));
  await verifyBearer(short, now);
  const refusal: Refusal = { reason: "proof_expired", expiredAt: now + 5, now: now + 5 };
  assert.deepEqual(verifyBearer(short, now + 5), { ok: false, refusal });
});

test("verifyBearer() remembers a bounded number of tokens, those used last", async () => {
  const issuers = createIssuers([{ name: "demo", url: issuer.url, audience: "countersign" }]);
  const verifyBearer = createVerifyBearer({ issuers, rememberedMax: 2 });
  const [a = "", b = "", c = ""] = ["a", "b", "c"].map((sub) => issuer.sign(good({ sub })));
  const first = await verifyBearer(a, now);
  const second = await verifyBearer(b, now);
  assert.equal(verifyBearer(a, now), first);
  await verifyBearer(c, now);
  assert.equal(verifyBearer(a, now), first, "used last, kept");
  assert.notEqual(verifyBearer(b, now), second, "used least, forgotten");
});

test("verifyBearer() remembers no refusal and no token of another hash", async () => {
  const verifyBearer = verifierOf();
  const token = issuer.sign(good());
  await verifyBearer(token, now);
  const [head, body] = token.split(".");
  const forged = `${head}.${body}.${Buffer.alloc(64, 1).toString("base64url")}`;
  assert.deepEqual(verifyBearer(forged, now), { ok: false, refusal: invalid("signature") });
  assert.deepEqual(verifyBearer(forged, now), { ok: false, refusal: invalid("signature") });
});

test("verifyBearer() believes no token that differs from a good one by a single character", async () => {
  const verifyBearer = verifierOf();
  const token = issuer.sign(good());
  assert.equal((await verifyBearer(token, now)).ok, true);
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: token.length - 1 }),
      fc.constantFrom(..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ", ""),
      async (at, character) => {
        const changed = token.slice(0, at) + character + token.slice(at + 1);
        if (changed !== token) assert.equal((await verifyBearer(changed, now)).ok, false);
      },
    ),
    { numRuns: 500 },
  );
});

test("verifyBearer() never throws, whatever stands in the claims", async () => {
  const verifyBearer = verifierOf({ attributes: { groups: ["groups", "a.b"] } });
  const claims = fc.constantFrom(
    "iss",
    "aud",
    "sub",
    "iat",
    "exp",
    "nbf",
    "act",
    "groups",
    "a",
    "client_id",
    "_claim_names",
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(claims, fc.jsonValue({ maxDepth: 5 }), { maxKeys: 3 }), async (odd) => {
      const outcome = await verifyBearer(issuer.sign(good(odd)), now);
      if (outcome.ok) assert.match(outcome.value.user, /^demo-[A-Za-z0-9_=-]+$/);
    }),
    { numRuns: 300 },
  );
});
