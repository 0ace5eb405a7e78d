import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
import type { Refusal } from "../refusal.ts";
import { createVerifyBearer, type VerifyBearer } from "./bearer.ts";
import { createIssuers, type IssuerOptions } from "./issuer.ts";
import { createKeySource, parseJwks } from "./jwks.ts";
import { sendJson, startTestIssuer, type TestIssuer } from "./testing/issuer.ts";

const now = 1_800_000_000;

function verifierOf(issuer: TestIssuer, options: Partial<IssuerOptions> = {}): VerifyBearer {
  const issuers = createIssuers([{ name: "demo", url: issuer.url, audience: "countersign", ...options }]);
  return createVerifyBearer({ issuers });
}

function tokenOf(issuer: TestIssuer, header: Record<string, unknown> = {}, at = now): string {
  const claims = {
    iss: issuer.url,
    aud: "countersign",
    sub: "alice",
    client_id: "spa",
    iat: at,
    exp: at + 3_600,
  };
  return issuer.sign(claims, header);
}

/** Why a good token is refused when the issuer answers like this. */
async function refusalWith(
  issuer: TestIssuer,
  options: Partial<IssuerOptions> = {},
): Promise<Refusal | undefined> {
  const outcome = await verifierOf(issuer, options)(tokenOf(issuer), now);
  return outcome.ok ? undefined : outcome.refusal;
}

function unavailable(why: string): Refusal {
  return { reason: "check_unavailable", check: "keys of demo", why };
}

function keyFetches(issuer: TestIssuer): number {
  return issuer.requests.filter((path) => path === "/jwks").length;
}

test("issuer keys are fetched once for two thousand verifications at a time", async () => {
  await using issuer = await startTestIssuer();
  const verify = verifierOf(issuer);
  const tokens = Array.from({ length: 2_000 }, (_, n) => tokenOf(issuer, { n }));
  const outcomes = await Promise.all(tokens.map((token) => verify(token, now)));
  assert.equal(
    outcomes.every(({ ok }) => ok),
    true,
  );
  assert.deepEqual(issuer.requests, ["/.well-known/openid-configuration", "/jwks"]);
});

test("issuer keys are not asked for again by a flood of unknown kids, but after 30 s by all together", async () => {
  await using issuer = await startTestIssuer();
  const verify = verifierOf(issuer);
  await verify(tokenOf(issuer), now);
  const key = issuer.addKey("k2", "ES256");
  issuer.jwks.pop();
  const unknown: Refusal = { reason: "proof_invalid", why: "its key is not among the issuer's" };
  const flood = async (at: number): Promise<void> => {
    const tokens = Array.from({ length: 200 }, (_, n) => tokenOf(issuer, { kid: "k2", n }));
    for (const outcome of await Promise.all(tokens.map((token) => verify(token, at)))) {
      assert.deepEqual(outcome, { ok: false, refusal: unknown });
    }
  };
  await flood(now + 1);
  await flood(now + 29.9);
  assert.equal(keyFetches(issuer), 1);
  await flood(now + 30);
  assert.equal(keyFetches(issuer), 2);
  issuer.jwks.push({ ...key.publicKey.export({ format: "jwk" }), kid: "k2", alg: "ES256" });
  assert.equal((await verify(tokenOf(issuer, { kid: "k2" }), now + 31)).ok, false);
  assert.equal((await verify(tokenOf(issuer, { kid: "k2" }), now + 60)).ok, true);
});

test("issuer keys rotate: a new one is found at once, a removed one is forgotten when the set is old", async () => {
  await using issuer = await startTestIssuer();
  issuer.answers.set("/jwks", (_, response) =>
    sendJson(response, { keys: issuer.jwks }, { "cache-control": "public, max-age=300" }),
  );
  const verify = verifierOf(issuer);
  await verify(tokenOf(issuer), now);
  issuer.addKey("k2", "Ed25519");
  issuer.jwks.shift();
  assert.equal((await verify(tokenOf(issuer, { kid: "k2" }), now + 299)).ok, true);
  assert.equal((await verify(tokenOf(issuer, { n: 1 }), now + 300)).ok, false);
});

test("issuer keys are asked for again when the provider's max-age has passed, within our bounds", async () => {
  for (const [header, until] of [
    ["max-age=300", 300],
    ["max-age=0", 60],
    ["no-store", 600],
    ["s-maxage=5", 600],
    ["max-age=99999999", 3_600],
  ] as const) {
    await using issuer = await startTestIssuer();
    issuer.answers.set("/jwks", (_, response) =>
      sendJson(response, { keys: issuer.jwks }, { "cache-control": header }),
    );
    const verify = verifierOf(issuer);
    for (const at of [0, until - 1, until - 0.5]) await verify(tokenOf(issuer, { at }), now + at);
    assert.equal(keyFetches(issuer), 1, header);
    await verify(tokenOf(issuer), now + until);
    assert.equal(keyFetches(issuer), 2, header);
  }
});

test("issuer keys we have are believed for an hour more while the provider does not answer, then not", async () => {
  await using issuer = await startTestIssuer();
  const verify = verifierOf(issuer);
  await verify(tokenOf(issuer), now);
  issuer.answers.set("/jwks", (_, response) => response.writeHead(500).end());
  const token = (at: number): string => tokenOf(issuer, { at }, at - 10);
  assert.equal((await verify(token(now + 4_199), now + 4_199)).ok, true);
  assert.deepEqual(await verify(token(now + 4_200), now + 4_200), {
    ok: false,
    refusal: unavailable("The provider answered 500 for its keys"),
  });
  issuer.answers.delete("/jwks");
  assert.equal((await verify(token(now + 4_210), now + 4_210)).ok, true);
});

test("issuer keys: a provider that is down is asked once in five seconds, and refuses nothing it has not said", async () => {
  await using issuer = await startTestIssuer();
  issuer.answers.set("/.well-known/openid-configuration", (_, response) => response.writeHead(503).end());
  const verify = verifierOf(issuer);
  for (const at of [0, 0, 1, 4.9]) {
    const outcome = await verify(tokenOf(issuer, { at }), now + at);
    assert.deepEqual(outcome, {
      ok: false,
      refusal: unavailable("The provider answered 503 for its discovery document"),
    });
  }
  assert.equal(issuer.requests.length, 1);
  issuer.answers.clear();
  assert.equal((await verify(tokenOf(issuer), now + 5)).ok, true);
});

test("issuer keys: a redirect is not followed, neither for discovery nor for the keys", async () => {
  for (const path of ["/.well-known/openid-configuration", "/jwks"]) {
    await using issuer = await startTestIssuer();
    await using other = await startTestIssuer();
    for (const location of [`${other.url}${path}`, `${issuer.url}/elsewhere`]) {
      issuer.answers.set(path, (_, response) => response.writeHead(302, { location }).end());
      const refusal = await refusalWith(issuer);
      assert.match(refusal?.reason === "check_unavailable" ? refusal.why : "", /^The provider answered 302/);
    }
    assert.deepEqual(other.requests, []);
    assert.equal(issuer.requests.includes("/elsewhere"), false);
  }
});

test("issuer keys: an answer over 256 KB is cut off, with or without its length in front", async () => {
  await using issuer = await startTestIssuer();
  const large = unavailable("The provider's answer is larger than 262144 bytes");
  let close = (): void => {};
  const closed = new Promise<void>((resolve) => {
    close = resolve;
  });
  const endless = (_: unknown, response: ServerResponse): void => {
    response.on("close", close);
    const write = (): void => {
      while (!response.destroyed && response.write("x".repeat(65_536)));
      if (!response.destroyed) response.once("drain", write);
    };
    write();
  };
  issuer.answers.set("/jwks", endless);
  assert.deepEqual(await refusalWith(issuer), large);
  issuer.answers.set("/jwks", (_, response) =>
    response.end(JSON.stringify({ keys: [], x: "x".repeat(10_000_000) })),
  );
  assert.deepEqual(await refusalWith(issuer), large);
  await closed;
});

test("issuer keys: a set of more than 50 keys, or with two keys under one id, is refused whole", async () => {
  await using issuer = await startTestIssuer();
  const [jwk] = issuer.jwks;
  for (let n = issuer.jwks.length; n < 50; n++) issuer.jwks.push({ ...jwk, kid: `k-${n}` });
  assert.equal(await refusalWith(issuer), undefined);
  issuer.jwks.push({ ...jwk, kid: "k-51" });
  assert.deepEqual(await refusalWith(issuer), unavailable("The key set has more than 50 keys"));
  issuer.jwks.splice(1);
  issuer.addKey("k2", "ES256");
  issuer.jwks.push({ ...issuer.jwks[1], kid: "k1" });
  assert.deepEqual(await refusalWith(issuer), unavailable("The key set has two keys under one id"));
});

test("issuer keys: what is no key set is refused", async () => {
  await using issuer = await startTestIssuer();
  for (const body of ["", "[]", "{}", '{"keys":{}}', '{"keys":[],"keys":[]}', "<html>"]) {
    issuer.answers.set("/jwks", (_, response) => response.end(body));
    const why = "The key set is not a JSON object with a list of keys";
    assert.deepEqual(await refusalWith(issuer), unavailable(why), body);
  }
  issuer.answers.set("/jwks", (_, response) => response.end('{"keys":[1]}'));
  assert.deepEqual(await refusalWith(issuer), unavailable("The key set contains something that is no key"));
});

test("parseJwks() takes one algorithm from each key and passes over keys that are not for us", async () => {
  await using issuer = await startTestIssuer();
  for (const [kid, alg] of [
    ["rs", "RS256"],
    ["ps", "PS256"],
    ["ed", "Ed25519"],
  ] as const)
    issuer.addKey(kid, alg);
  const [ec = {}, rsa = {}, , okp = {}] = issuer.jwks;
  const { alg: _1, ...ecPlain } = ec;
  const { alg: _2, ...rsaPlain } = rsa;
  const { alg: _3, ...okpPlain } = okp;
  const keys = [
    { ...ecPlain, kid: "ec-plain" },
    { ...rsaPlain, kid: "rsa-plain" },
    { ...okpPlain, kid: "okp-plain" },
    { ...okp, alg: "EdDSA", kid: "okp-old-name" },
    { ...rsa, alg: "PS256", kid: "rsa-ps" },
    ...issuer.jwks,
    // None of these takes part in anything.
    { ...ec, alg: "ES384", kid: "x1" },
    { ...rsa, alg: "RS1", kid: "x2" },
    { ...rsa, alg: "ES256", kid: "x3" },
    { ...ec, use: "enc", kid: "x4" },
    { ...ec, key_ops: ["sign"], kid: "x5" },
    { ...ec, d: "AAAA", kid: "x6" },
    { ...ec, crv: "P-384", kid: "x7" },
    { kty: "oct", k: "AAAA", kid: "x8" },
    { ...ec, x: "AAAA", kid: "x9" },
    { ...ec, kid: 7 },
    { ...ec, kid: undefined },
    { ...rsa, e: "AQ", kid: "x10" },
    { kty: "RSA", n: Buffer.alloc(128, 0xff).toString("base64url"), e: "AQAB", kid: "x11" },
    { kty: "RSA", n: Buffer.alloc(2_048, 0xff).toString("base64url"), e: "AQAB", kid: "x12" },
  ];
  const parsed = parseJwks(JSON.stringify({ keys }));
  assert.deepEqual(Object.fromEntries([...parsed].map(([kid, { alg }]) => [kid, alg])), {
    "ec-plain": "ES256",
    "rsa-plain": "RS256",
    "okp-plain": "Ed25519",
    "okp-old-name": "Ed25519",
    "rsa-ps": "PS256",
    k1: "ES256",
    rs: "RS256",
    ps: "PS256",
    ed: "Ed25519",
  });
});

test("createKeySource() never rejects, whatever loading throws", async () => {
  const source = createKeySource(() => Promise.reject("no error at all"));
  assert.deepEqual(await source.keyFor("k1", now), { unavailable: "no error at all" });
});

test("discovery wants the issuer's own document, character by character", async () => {
  await using issuer = await startTestIssuer();
  for (const name of [`${issuer.url}/`, "https://evil.example", undefined, 1]) {
    issuer.discovery.issuer = name;
    assert.deepEqual(await refusalWith(issuer), unavailable("The discovery document is another issuer's"));
  }
});

test("discovery accepts keys and token endpoint only at the issuer's own host, or one configured", async () => {
  await using issuer = await startTestIssuer();
  await using other = await startTestIssuer();
  const place = unavailable("jwks_uri is missing or stands at a host that is not this issuer's");
  const host = new URL(other.url).host;
  for (const uri of [
    `${other.url}/jwks`,
    undefined,
    "http://169.254.169.254/latest/meta-data",
    "file:///etc/passwd",
    "//evil.example/jwks",
    `${issuer.url.replace("http://", "http://user@")}/jwks`,
    issuer.url.replace("http:", "https:"),
  ]) {
    issuer.discovery.jwks_uri = uri;
    assert.deepEqual(await refusalWith(issuer), place, uri);
  }
  assert.deepEqual(other.requests, []);
  issuer.discovery.jwks_uri = `${other.url}/jwks`;
  assert.deepEqual(await refusalWith(issuer, { hosts: [host] }), {
    reason: "proof_invalid",
    why: "signature",
  });
  issuer.discovery.jwks_uri = `${issuer.url}/jwks`;
  issuer.discovery.token_endpoint = `${other.url}/token`;
  const token = unavailable("token_endpoint stands at a host that is not this issuer's");
  assert.deepEqual(await refusalWith(issuer), token);
  assert.equal(await refusalWith(issuer, { hosts: [host] }), undefined);
});

test("createIssuers() refuses options that cannot be meant, by name", () => {
  const client = { id: "gw", secret: () => "s" };
  for (const [options, why] of [
    [{ name: "De-mo" }, 'Cannot use issuer "De-mo": its name must be of a-z and 0-9'],
    [{ url: "nonsense" }, 'Cannot use issuer "demo": "nonsense" is not a URL'],
    [
      { url: "http://id.example" },
      'Cannot use issuer "demo": its URL must begin with https://, found "http://id.example"',
    ],
    [
      { url: "https://id.example?x" },
      'Cannot use issuer "demo": its URL must have no query, fragment or user',
    ],
    [{ clockToleranceSeconds: 301 }, 'Cannot use issuer "demo": clock tolerance must be 0 to 300 s'],
    [{ client: { id: "gw" } }, 'Cannot use issuer "demo": its client needs either a secret or a key'],
  ] as const) {
    const issuer = { name: "demo", url: "https://id.example", audience: "countersign", client, ...options };
    assert.throws(() => createIssuers([issuer]), {
      name: "GatewayError",
      code: "CONFIG_INVALID",
      message: why,
    });
  }
  const one = { name: "demo", url: "https://id.example", audience: "countersign" };
  const message = "Cannot use issuers: two of them share a name or a URL";
  assert.throws(() => createIssuers([one, { ...one, name: "b" }]), { message });
  assert.throws(() => createIssuers([one, { ...one, url: "https://b.example" }]), { message });
});
