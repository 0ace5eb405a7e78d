import assert from "node:assert/strict";
import { createHash, createPublicKey, type JsonWebKey, verify } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createBrowser } from "./browser.ts";
import { type IdentityProvider, startIdentityProvider } from "./oidc.ts";

type Json = Record<string, unknown>;

function claimsOf(token: unknown): Json {
  return JSON.parse(Buffer.from(String(token).split(".")[1] ?? "", "base64url").toString());
}

async function isSignedBy(token: string, provider: IdentityProvider): Promise<boolean> {
  const [header = "", claims = "", signature = ""] = token.split(".");
  const { kid } = JSON.parse(Buffer.from(header, "base64url").toString());
  const { keys } = (await (await fetch(`${provider.issuer}/jwks`)).json()) as { keys: JsonWebKey[] };
  const key = keys.find((candidate) => candidate.kid === kid);
  if (key === undefined) return false;
  const publicKey = createPublicKey({ key, format: "jwk" });
  return verify(
    "sha256",
    Buffer.from(`${header}.${claims}`),
    { key: publicKey, dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
}

async function askToken(
  provider: IdentityProvider,
  form: Record<string, string>,
  client?: { readonly id: string; readonly secret: string },
): Promise<{ readonly status: number; readonly body: Json }> {
  const basic = client && Buffer.from(`${client.id}:${client.secret}`).toString("base64");
  const response = await fetch(`${provider.issuer}/token`, {
    method: "POST",
    body: new URLSearchParams(form),
    headers: basic ? { authorization: `Basic ${basic}` } : {},
  });
  return { status: response.status, body: (await response.json()) as Json };
}

describe("the demo identity provider", () => {
  /** Stands in for the gateway: takes authorization codes and logout tokens. */
  let relyingParty: Server;
  let gatewayUrl: string;
  let provider: IdentityProvider;
  const logoutTokens: string[] = [];

  before(async () => {
    relyingParty = createServer(async (request, response) => {
      if (request.url === "/auth/backchannel-logout") {
        let body = "";
        for await (const chunk of request.setEncoding("utf8")) body += chunk;
        logoutTokens.push(new URLSearchParams(body).get("logout_token") ?? "");
      }
      response.end("the relying party");
    });
    relyingParty.listen(0, "127.0.0.1");
    await once(relyingParty, "listening");
    gatewayUrl = `http://127.0.0.1:${(relyingParty.address() as AddressInfo).port}`;
    provider = await startIdentityProvider({ gatewayUrl });
  });
  after(async () => {
    await provider.stop();
    relyingParty.close();
    relyingParty.closeAllConnections();
  });

  const verifier = "a".repeat(43);
  const authorizationUrl = (): string =>
    `${provider.issuer}/auth?${new URLSearchParams({
      client_id: "gw",
      response_type: "code",
      scope: "openid",
      redirect_uri: `${gatewayUrl}/auth/callback`,
      state: "s",
      code_challenge: createHash("sha256").update(verifier).digest("base64url"),
      code_challenge_method: "S256",
    })}`;
  const exchange = async (landed: string) =>
    await askToken(
      provider,
      {
        grant_type: "authorization_code",
        code: new URL(landed).searchParams.get("code") ?? "",
        redirect_uri: `${gatewayUrl}/auth/callback`,
        code_verifier: verifier,
      },
      provider.gatewayClient,
    );

  test("startIdentityProvider() signs a user in with one click and gives the gateway their claims and a refresh token", async () => {
    const browser = createBrowser();
    const page = await browser.open(authorizationUrl());
    assert.match(page.body, /Alice Ambrose.*Bob Berger.*Carol Castell/s);
    const landed = await browser.submit(page.url, { user: "alice" });
    assert.equal(new URL(landed.url).origin, gatewayUrl);

    const { status, body } = await exchange(landed.url);
    assert.equal(status, 200);
    const { sub, name, groups, region, acr, aud } = claimsOf(body.id_token);
    assert.deepEqual(
      { sub, name, groups, region, acr, aud },
      {
        sub: "alice",
        name: "Alice Ambrose",
        groups: ["Orders.Clerks"],
        region: "eu",
        acr: "pwd",
        aud: "gw",
      },
    );
    assert.equal(claimsOf(body.access_token).aud, "countersign");

    const refresh = { grant_type: "refresh_token", refresh_token: String(body.refresh_token) };
    const refreshed = await askToken(provider, refresh, provider.gatewayClient);
    assert.equal(claimsOf(refreshed.body.id_token).sub, "alice");
  });

  test("startIdentityProvider() asks again who is there, and tells the gateway when another user takes over", async () => {
    const browser = createBrowser();
    const first = await browser.open(authorizationUrl());
    const alice = claimsOf(
      (await exchange((await browser.submit(first.url, { user: "alice" })).url)).body.id_token,
    );
    const second = await browser.open(authorizationUrl());
    const landed = await browser.submit(second.url, { user: "carol" });
    const carol = claimsOf((await exchange(landed.url)).body.id_token);
    assert.deepEqual([carol.sub, carol.acr, carol.groups], ["carol", "mfa", ["Audit"]]);
    const { sid, aud, events } = claimsOf(logoutTokens.at(-1));
    assert.deepEqual(
      { sid, aud, events },
      { sid: alice.sid, aud: "gw", events: { "http://schemas.openid.net/event/backchannel-logout": {} } },
    );
  });

  test("startIdentityProvider() gives scripts a demo user's access token, and nobody else's", async () => {
    const form = { grant_type: "urn:countersign:devstack:demo-user", client_id: "devstack" };
    const { body } = await askToken(provider, { ...form, user: "bob" });
    const token = String(body.access_token);
    assert.ok(await isSignedBy(token, provider));
    assert.deepEqual([claimsOf(token).sub, claimsOf(token).region], ["bob", "us"]);
    const refused = await askToken(provider, { ...form, user: "__proto__" });
    assert.deepEqual(
      { status: refused.status, error: refused.body.error },
      { status: 400, error: "invalid_grant" },
    );
  });

  test("startIdentityProvider() gives the machine client a service's token: sub is its client_id", async () => {
    const { body } = await askToken(provider, { grant_type: "client_credentials" }, provider.serviceClient);
    const { sub, client_id, aud } = claimsOf(body.access_token);
    assert.deepEqual(
      { sub, client_id, aud },
      { sub: "inventory", client_id: "inventory", aud: "countersign" },
    );
  });

  test("tokenFor() makes the token the provider would, but for the overrides", async () => {
    const form = { grant_type: "urn:countersign:devstack:demo-user", client_id: "devstack", user: "alice" };
    const issued = claimsOf((await askToken(provider, form)).body.access_token);
    const made = provider.tokenFor("alice", { claims: { client_id: "devstack" } });
    assert.ok(await isSignedBy(made, provider));
    assert.deepEqual(Object.keys(claimsOf(made)).sort(), Object.keys(issued).sort());
    const odd = provider.tokenFor("alice", {
      claims: { aud: ["a", "b"], exp: undefined },
      header: { typ: "JWT" },
    });
    assert.deepEqual([claimsOf(odd).aud, "exp" in claimsOf(odd)], [["a", "b"], false]);
    assert.match(Buffer.from(odd.split(".")[0] ?? "", "base64url").toString(), /"typ":"JWT"/);
  });

  test("rotateKeys() signs with a new key and keeps the former one in the key set until told otherwise", async () => {
    const former = provider.tokenFor("alice");
    await provider.rotateKeys();
    assert.deepEqual(
      [await isSignedBy(former, provider), await isSignedBy(provider.tokenFor("alice"), provider)],
      [true, true],
    );
    await provider.rotateKeys({ dropFormer: true });
    assert.equal(await isSignedBy(former, provider), false);
    assert.ok((provider.requests.get("/jwks") ?? 0) > 0);
  });
});

test("startIdentityProvider() keeps its keys and secrets in the folder it is given", async () => {
  const folder = await mkdtemp(join(tmpdir(), "identity-provider-"));
  const first = await startIdentityProvider({ folder });
  const token = first.tokenFor("alice");
  await first.stop();
  const second = await startIdentityProvider({ folder, port: first.port });
  assert.equal(await isSignedBy(token, second), true);
  assert.deepEqual(second.gatewayClient, first.gatewayClient);
  await second.stop();
  await rm(folder, { recursive: true });
});
