import assert from "node:assert/strict";
import { test } from "node:test";
import { decode } from "@nats-io/jwt";
import { signNatsClaims } from "./nats-jwt.ts";
import { createNkey } from "./nkey.ts";
import {
  type AccountJwt,
  FOR_GOOD,
  REVOCATION_KEPT_SECONDS,
  REVOCATIONS_MAX,
  readAccountJwt,
  revokeIn,
} from "./revocations.ts";

const NOW = 1_800_000_000;
const operator = createNkey("operator");
const account = createNkey("account");
const [ada, eve] = [createNkey("user").publicKey, createNkey("user").publicKey];

function accountWith(revocations?: Readonly<Record<string, number>>, iat: number = NOW - 1_000): AccountJwt {
  const jwt = signNatsClaims(
    {
      ...{ iat, iss: operator.publicKey, sub: account.publicKey, name: "WEB" },
      nats: {
        ...{ version: 2, type: "account", limits: { conn: -1 }, not_yet_invented: [1] },
        ...(revocations && { revocations }),
      },
    } as { iss: string },
    operator,
  );
  return readAccountJwt(jwt) ?? assert.fail();
}

test("revokeIn() adds, keeps every other claim, and makes a JWT that is newer", () => {
  const { jwt, ...revoked } = revokeIn(accountWith(), { keys: [ada], at: NOW, now: NOW }, operator);
  assert.deepEqual(revoked, { added: [ada], pruned: [], entries: 1 });
  const { iat, iss, sub, name, nats } = decode<Record<string, unknown>>(jwt);
  assert.deepEqual(
    { iat, iss, sub, name },
    { iat: NOW, iss: operator.publicKey, sub: account.publicKey, name: "WEB" },
  );
  assert.deepEqual(
    { ...nats },
    {
      ...{ version: 2, type: "account", limits: { conn: -1 }, not_yet_invented: [1] },
      revocations: { [ada]: NOW },
    },
  );
  const again = readAccountJwt(jwt) ?? assert.fail();
  const second = revokeIn(again, { keys: [eve], at: NOW, now: NOW }, operator);
  assert.equal(readAccountJwt(second.jwt)?.issuedAt, NOW + 1);
});

test("revokeIn() drops what no living credential needs, and never what is for good", () => {
  const old = NOW - REVOCATION_KEPT_SECONDS;
  const found = accountWith({ [ada]: old - 1, [eve]: FOR_GOOD });
  const revoked = revokeIn(found, { keys: ["*"], at: old, now: NOW }, operator);
  assert.deepEqual([revoked.pruned, revoked.entries], [[ada], 2]);
});

test("revokeIn() of everybody covers the single ones before it, and no revocation is ever taken back", () => {
  const found = accountWith({ [ada]: NOW - 60, [eve]: NOW });
  const revoked = revokeIn(found, { keys: ["*"], at: NOW - 30, now: NOW }, operator);
  assert.deepEqual(readAccountJwt(revoked.jwt)?.revocations, { [eve]: NOW, "*": NOW - 30 });
  const earlier = revokeIn(found, { keys: [eve], at: NOW - 100, now: NOW }, operator);
  assert.equal(readAccountJwt(earlier.jwt)?.revocations[eve], NOW);
});

test("revokeIn() refuses what cannot be meant", () => {
  const ask = (keys: readonly string[], at: number = NOW, found: AccountJwt = accountWith()) =>
    revokeIn(found, { keys, at, now: NOW }, operator);
  assert.throws(() => ask([account.publicKey]), /expected public keys of users/);
  assert.throws(() => ask(["**"]), /expected public keys of users/);
  const mistyped = `${ada.slice(0, -1)}${ada.endsWith("A") ? "B" : "A"}`;
  assert.throws(() => ask([mistyped]), /expected public keys of users/);
  assert.throws(() => ask([ada], NOW + 1), /a time in the future/);
  assert.throws(() => ask([ada], NOW, accountWith({}, NOW + 61)), /clock is behind/);
});

test("revokeIn() never grows beyond what nats-server takes in one message", () => {
  const many = Object.fromEntries(
    Array.from({ length: REVOCATIONS_MAX }, (_, index) => [`U${String(index).padStart(55, "0")}`, NOW]),
  );
  const full = accountWith(many);
  assert.throws(() => revokeIn(full, { keys: [ada], at: NOW, now: NOW }, operator), /at most 5000 are safe/);
  const all = revokeIn(full, { keys: ["*"], at: NOW, now: NOW }, operator);
  assert.equal(all.entries, 1);
  assert(full.jwt.length < 640 * 1024, String(full.jwt.length));
});

test("readAccountJwt() takes an account's JWT under its own signature and nothing else", () => {
  const { jwt } = accountWith();
  assert.equal(readAccountJwt(`${jwt.slice(0, -4)}AAAA`), undefined);
  const user = signNatsClaims(
    { iss: operator.publicKey, sub: ada, nats: { type: "user" } } as { iss: string },
    operator,
  );
  assert.equal(readAccountJwt(user), undefined);
  assert.equal(readAccountJwt(""), undefined);
});
