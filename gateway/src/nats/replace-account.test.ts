import assert from "node:assert/strict";
import { test } from "node:test";
import { signNatsClaims } from "../credentials/nats-jwt.ts";
import { createNkey } from "../credentials/nkey.ts";
import { currentAccountJwt, replaceAccountJwt } from "./replace-account.ts";

const operator = createNkey("operator");
const account = createNkey("account").publicKey;

function jwtOf({ sub = account, iat = 1 }: { readonly sub?: string; readonly iat?: number } = {}): string {
  const claims = { iss: operator.publicKey, iat, sub, name: "WEB", nats: { type: "account" } };
  return signNatsClaims(claims, operator);
}

/** A cluster whose servers hold these at each look. */
function clusterOf(...looks: readonly (readonly string[])[]) {
  const written: string[] = [];
  let look = 0;
  return {
    written,
    claims: {
      async lookup() {
        look += 1;
        return looks[Math.min(look, looks.length) - 1] ?? [];
      },
      async update(jwt: string) {
        written.push(jwt);
        return new Map([["n1", undefined]]);
      },
    },
  };
}

test("replaceAccountJwt() writes what follows the one that all servers hold", async () => {
  const { claims, written } = clusterOf([jwtOf()]);
  const current = await currentAccountJwt(claims, account, operator.publicKey);
  assert.deepEqual(await replaceAccountJwt(claims, current, "next"), new Map([["n1", undefined]]));
  assert.deepEqual(written, ["next"]);
});

test("replaceAccountJwt() writes nothing when somebody else was faster", async () => {
  for (const meanwhile of [[jwtOf({ iat: 2 })], [jwtOf(), jwtOf({ iat: 2 })], []]) {
    const { claims, written } = clusterOf([jwtOf()], meanwhile);
    const current = await currentAccountJwt(claims, account, operator.publicKey);
    await assert.rejects(replaceAccountJwt(claims, current, "next"), /changed meanwhile/);
    assert.deepEqual(written, []);
  }
});

test("currentAccountJwt() refuses where servers differ, or hold none of this account and operator", async () => {
  const cases: readonly (readonly [readonly string[], string, RegExp])[] = [
    [[jwtOf(), jwtOf({ iat: 2 })], operator.publicKey, /servers hold different ones/],
    [[], operator.publicKey, /no server has the JWT/],
    [["not a JWT"], operator.publicKey, /no server has the JWT/],
    [[jwtOf({ sub: createNkey("account").publicKey })], operator.publicKey, /no server has the JWT/],
    [[jwtOf()], createNkey("operator").publicKey, /it was signed by O/],
  ];
  for (const [held, issuer, why] of cases)
    await assert.rejects(currentAccountJwt(clusterOf(held).claims, account, issuer), why);
});
