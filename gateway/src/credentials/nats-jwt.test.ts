import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "@nats-io/jwt";
import { encodeNatsJwt, readNatsJwt, type UserClaims } from "./nats-jwt.ts";
import { createNkey, verifyNkey } from "./nkey.ts";

const USER: UserClaims = {
  type: "user",
  pub: { allow: ["a.b"] },
  sub: { deny: [">"] },
  subs: -1,
  data: -1,
  payload: -1,
};

test("encodeNatsJwt() writes what NATS's own library reads, for operator, account and user", () => {
  const [operator, account, user] = [createNkey("operator"), createNkey("account"), createNkey("user")];
  const operatorClaims = decode(
    encodeNatsJwt<"operator">({
      name: "op",
      subject: operator.publicKey,
      signer: operator,
      issuedAt: 1_790_000_000,
      claims: { type: "operator", system_account: account.publicKey },
    }),
  );
  assert.equal(operatorClaims.iss, operator.publicKey);
  assert.deepEqual(operatorClaims.nats, {
    type: "operator",
    version: 2,
    system_account: account.publicKey,
  });
  const userJwt = encodeNatsJwt<"user">({
    name: "u",
    subject: user.publicKey,
    signer: account,
    issuedAt: 1_790_000_000.9,
    expiresAt: 1_790_000_600.9,
    claims: USER,
  });
  const { jti, ...claims } = decode<UserClaims>(userJwt);
  assert.match(jti, /^[A-Za-z0-9_-]{43}$/);
  assert.deepEqual(claims, {
    iat: 1_790_000_000,
    exp: 1_790_000_600,
    iss: account.publicKey,
    sub: user.publicKey,
    name: "u",
    nats: { version: 2, ...USER },
  });
});

test("encodeNatsJwt() keeps names beyond ASCII, as UTF-8", () => {
  const account = createNkey("account");
  const subject = createNkey("user").publicKey;
  for (const name of ["José", "日本", "🦊", 'quote " and \\']) {
    const jwt = encodeNatsJwt<"user">({ name, subject, signer: account, issuedAt: 1, claims: USER });
    assert.equal(readNatsJwt(jwt)?.name, name);
    const body = Buffer.from(jwt.split(".")[1] ?? "", "base64url");
    assert.ok(body.includes(Buffer.from(JSON.stringify(name))));
  }
});

test("readNatsJwt() reads what it is told of a user and refuses a spoilt one", () => {
  const account = createNkey("account");
  const signing = createNkey("account");
  const user = createNkey("user");
  const jwt = encodeNatsJwt<"user">({
    name: "u",
    subject: user.publicKey,
    signer: signing,
    issuedAt: 1,
    expiresAt: 9,
    claims: { ...USER, issuer_account: account.publicKey },
  });
  assert.deepEqual(readNatsJwt(jwt), {
    name: "u",
    subject: user.publicKey,
    issuer: signing.publicKey,
    type: "user",
    expiresAt: 9,
    account: account.publicKey,
  });
  const [header = "", body = "", signature = ""] = jwt.split(".");
  const other = Buffer.from(body, "base64url").toString().replace('"name":"u"', '"name":"v"');
  const forged = `${header}.${Buffer.from(other).toString("base64url")}.${signature}`;
  assert.equal(verifyNkey(signing.publicKey, `${header}.${body}`, Buffer.from(signature, "base64url")), true);
  const plain = `${Buffer.from('{"typ":"JWT","alg":"none"}').toString("base64url")}.${body}`;
  const otherAlg = `${plain}.${signing.sign(plain).toString("base64url")}`;
  for (const wrong of ["", "a.b", forged, otherAlg, `${jwt}.x`, `${header}.bnVsbA.`]) {
    assert.equal(readNatsJwt(wrong), undefined, wrong.slice(0, 40));
  }
});
