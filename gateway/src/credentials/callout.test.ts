import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "@nats-io/jwt";
import fc from "fast-check";
import { CALLOUT_BYTES_MAX, type CalloutRequest, createReadCallout, encodeCalloutAnswer } from "./callout.ts";
import { createNkey } from "./nkey.ts";

const NOW = 1_900_000_000;
const account = createNkey("account").publicKey;
const server = createNkey("server");
const user = createNkey("user").publicKey;
const read = createReadCallout({ about: account });

/** As nats-server 2.15 writes it. */
const NATS = {
  server_id: {
    name: "n1",
    host: "0.0.0.0",
    id: server.publicKey,
    version: "2.15.1",
    cluster: "c",
    xkey: "X",
  },
  user_nkey: user,
  client_info: {
    host: "127.0.0.1",
    id: 12,
    user: "[REDACTED]",
    name: "browser",
    name_tag: "sentinel",
    kind: "Client",
    type: "websocket",
    nonce: "abc",
  },
  connect_opts: { jwt: "e.y.J", sig: "sig", auth_token: "token", pass: "secret", user: "", protocol: 1 },
  type: "authorization_request",
  version: 2,
};
const CLAIMS = {
  jti: "x",
  iat: NOW,
  exp: NOW + 10,
  iss: server.publicKey,
  sub: account,
  aud: "nats-authorization-request",
  nats: NATS,
};

function signed(claims: object | string, header: object = { typ: "JWT", alg: "ed25519-nkey" }, key = server) {
  const text = typeof claims === "string" ? claims : JSON.stringify(claims);
  const body = [JSON.stringify(header), text]
    .map((part) => Buffer.from(part).toString("base64url"))
    .join(".");
  return `${body}.${key.sign(body).toString("base64url")}`;
}

function withNats(changes: object): object {
  return { ...CLAIMS, nats: { ...NATS, ...changes } };
}

const REQUEST: CalloutRequest = {
  server: { id: server.publicKey, name: "n1", xkey: "X" },
  userNkey: user,
  client: { host: "127.0.0.1", id: 12, type: "websocket", name: "browser", nonce: "abc" },
  connect: { jwt: "e.y.J", sig: "sig", authToken: "token", password: "secret" },
};

test("readCallout() reads what a server asks", () => {
  assert.deepEqual(read(signed(CLAIMS), NOW), REQUEST);
  // With the server's key at hand, alike.
  assert.deepEqual(read(signed(CLAIMS), NOW + 11.9), REQUEST);
});

test("readCallout() leaves out what is empty", () => {
  const claims = withNats({
    server_id: { name: "n1", id: server.publicKey },
    client_info: { host: "::1", id: 1, kind: "Client", type: "nats", name: "" },
    connect_opts: { jwt: "", protocol: 1 },
  });
  assert.deepEqual(read(signed(claims), NOW), {
    server: { id: server.publicKey, name: "n1" },
    userNkey: user,
    client: { host: "::1", id: 1, type: "standard" },
    connect: {},
  });
});

test("readCallout() tells kinds of connections apart, and knows that it does not know one", () => {
  const kinds: readonly (readonly [string | undefined, string | undefined, string])[] = [
    ["Client", "nats", "standard"],
    ["Client", "websocket", "websocket"],
    ["Client", "mqtt", "mqtt"],
    ["Leafnode", "", "leafnode"],
    ["Leafnode", "websocket", "leafnode"],
    ["Client", "in_process", "other"],
    ["Client", undefined, "other"],
    ["Router", "nats", "other"],
    [undefined, "nats", "other"],
  ];
  for (const [kind, type, expected] of kinds) {
    const request = read(signed(withNats({ client_info: { host: "h", id: 1, kind, type } })), NOW);
    assert.equal(typeof request === "object" && request.client.type, expected, `${kind} ${type}`);
  }
});

test("readCallout() refuses what nats-server would not have written, and says why", () => {
  const other = createNkey("server");
  const refusals: readonly (readonly [string, RegExp])[] = [
    ["", /not a NATS JWT/],
    ["a.b.c", /not a NATS JWT/],
    [signed(CLAIMS).slice(0, -1), /not a NATS JWT/],
    [`${signed(CLAIMS)}A`, /not a NATS JWT/],
    ["x".repeat(CALLOUT_BYTES_MAX + 1), /size limit/],
    [signed(CLAIMS, { typ: "JWT", alg: "none" }), /not a NATS JWT/],
    [signed(CLAIMS, { alg: "ed25519-nkey" }), /not a NATS JWT/],
    [signed("[]"), /unambiguous/],
    [signed(`{"aud":"x",${JSON.stringify(CLAIMS).slice(1)}`), /unambiguous/],
    [signed(CLAIMS, undefined, other), /signature/],
    [signed({ ...CLAIMS, iss: createNkey("account").publicKey }), /not a server's key/],
    [signed({ ...CLAIMS, iss: "N" }), /not a server's key/],
    [signed({ ...CLAIMS, iss: 1 }), /not a server's key/],
    [signed({ ...CLAIMS, aud: "nats-authorization-response" }), /audience/],
    [signed({ ...CLAIMS, sub: createNkey("account").publicKey }), /another account/],
    [signed({ ...CLAIMS, exp: NOW - 3 }), /expired/],
    [signed({ ...CLAIMS, exp: undefined }), /expired/],
    [signed({ ...CLAIMS, exp: String(NOW + 10) }), /expired/],
    [signed({ ...CLAIMS, exp: NOW + 301 }), /too long/],
    [signed(withNats({ type: "user" })), /not an authorization request/],
    [signed(withNats({ version: 1 })), /not an authorization request/],
    [signed({ ...CLAIMS, nats: [] }), /not an authorization request/],
    [signed(withNats({ server_id: { ...NATS.server_id, id: other.publicKey } })), /signed it/],
    [signed(withNats({ server_id: { ...NATS.server_id, xkey: 1 } })), /not described/],
    [signed(withNats({ user_nkey: account })), /user key/],
    [signed(withNats({ user_nkey: undefined })), /user key/],
    [signed(withNats({ client_info: { ...NATS.client_info, id: -1 } })), /client/],
    [signed(withNats({ client_info: { ...NATS.client_info, id: 1.5 } })), /client/],
    [signed(withNats({ client_info: { ...NATS.client_info, host: "h".repeat(257) } })), /client/],
    [signed(withNats({ client_info: { ...NATS.client_info, nonce: {} } })), /client/],
    [signed(withNats({ connect_opts: { jwt: ["e"] } })), /client/],
    [signed(withNats({ connect_opts: { pass: 1 } })), /client/],
  ];
  for (const [token, why] of refusals) {
    const answer = read(token, NOW);
    assert.equal(typeof answer, "string", `${why} was read`);
    assert.match(String(answer), why);
  }
});

test("readCallout() never throws, whatever is signed or not", () => {
  const json = fc.json({ maxDepth: 6 });
  fc.assert(
    fc.property(json, (text) => {
      assert.equal(typeof read(signed(text), NOW), "string");
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
      assert.equal(typeof read(text, NOW), "string");
    }),
  );
  // Any part replaced by anything: it is read as one that a server may have asked, or not at all.
  const member = fc.constantFrom("server_id", "user_nkey", "client_info", "connect_opts");
  fc.assert(
    fc.property(member, fc.jsonValue(), (name, value) => {
      const answer = read(signed(withNats({ [name]: value })), NOW);
      if (typeof answer === "string") return;
      assert.equal(answer.server.id, server.publicKey);
      assert.equal(answer.userNkey, user);
      assert.ok(Object.values(answer.connect).every((each) => typeof each === "string" && each !== ""));
    }),
  );
  // A byte flipped anywhere breaks the signature.
  const token = signed(CLAIMS);
  fc.assert(
    fc.property(fc.nat(token.length - 2), (at) => {
      const changed = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
      assert.equal(typeof read(changed, NOW), "string");
    }),
  );
});

test("encodeCalloutAnswer() is what NATS's own library reads as an answer", () => {
  const key = createNkey("account");
  const signer = { signingKey: key, accountPublicKey: account };
  const claims = decode(encodeCalloutAnswer(REQUEST, { jwt: "e.y.J" }, signer, NOW)) as unknown as {
    readonly nats: object;
  } & Readonly<Record<string, unknown>>;
  assert.equal(claims.iss, key.publicKey);
  assert.equal(claims.sub, user);
  assert.equal(claims.aud, server.publicKey);
  assert.deepEqual(claims.nats, {
    version: 2,
    type: "authorization_response",
    issuer_account: account,
    jwt: "e.y.J",
  });
  const refusal = decode(
    encodeCalloutAnswer(REQUEST, { error: "no" }, { signingKey: key, accountPublicKey: undefined }, NOW),
  ) as unknown as {
    readonly nats: object;
  };
  assert.deepEqual(refusal.nats, { version: 2, type: "authorization_response", error: "no" });
});
