import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuditCompletion, AuditRecord } from "../audit/record.ts";
import type { Presented } from "../identity/identity.ts";
import { sessionHashOf } from "../identity/session-proof.ts";
import type { SignIn } from "../identity/sign-in.ts";
import { testSession } from "../identity/testing/session-suite.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import { addAuth } from "./auth.ts";
import { testServer } from "./testing/server.ts";

const ID = "A".repeat(43);
const session = testSession();
const unavailable = refused({ reason: "check_unavailable", check: "sessions", why: "no quorum" });
const presented: Presented = {
  proofs: [{ kind: "session", id: ID }],
  method: "POST",
  origin: null,
  fetchSite: "same-origin",
  navigation: false,
  deliberate: false,
};

/** What happened, in order: each record's action and each effect. */
function serve({ recordFails = false, effectFails = false } = {}) {
  const happened: string[] = [];
  const records: AuditRecord[] = [];
  const completions: AuditCompletion[] = [];
  async function effect<T>(name: string, value: T): Promise<Outcome<T>> {
    happened.push(name);
    return effectFails ? unavailable : allowed(value);
  }
  const signIn: Partial<SignIn> = {
    finish: async () => allowed({ cookies: ["a=b"], returnTo: "/", session }),
    keep: () => effect("keep", undefined),
    judgeLogout: () => allowed(ID),
    logout: () => effect("logout", { cookies: ["a="] }),
    backChannel: {
      judge: async () => {
        const key = { session: "provider-session" };
        return allowed({
          issuer: "demo",
          key,
          user: "demo-alice",
          notBefore: 1,
          id: "1",
          rememberSeconds: 1,
        });
      },
      signOut: () => effect("signOut", undefined),
    },
  };
  const app = testServer();
  addAuth(app, {
    signIn: signIn as SignIn,
    audit: {
      async record(entry) {
        happened.push(`record ${entry.action}`);
        records.push(entry);
        if (recordFails) throw new Error("ENOSPC");
      },
      complete: (entry) => void completions.push(entry),
      close: async () => {},
    },
    presentedOf: () => allowed(presented),
    clock: () => 1_000,
    instance: "test",
    loginCookieName: "login",
    home: "/",
  });
  return { app, happened, records, completions };
}

const ASKED = [
  { effect: "keep", action: "sign-in", request: { url: "/auth/callback?code=c" } },
  { effect: "logout", action: "sign-out", request: { method: "POST", url: "/auth/logout" } },
  {
    effect: "signOut",
    action: "sign-out by provider",
    request: {
      method: "POST",
      url: "/auth/backchannel-logout",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      payload: "logout_token=t",
    },
  },
] as const;

test("addAuth() records each of its effects before it, and completes none that succeeds", async () => {
  for (const { effect, action, request } of ASKED) {
    const { app, happened, completions } = serve();
    const { statusCode } = await app.inject(request);
    assert(statusCode < 400, `${action}: ${statusCode}`);
    assert.deepEqual([happened, completions], [[`record ${action}`, effect], []]);
  }
});

test("addAuth() has no effect whose record cannot be written", async () => {
  for (const { action, request } of ASKED) {
    const { app, happened } = serve({ recordFails: true });
    const answer = await app.inject(request);
    assert.deepEqual([answer.statusCode, answer.headers["set-cookie"]], [503, undefined]);
    assert.deepEqual(happened, [`record ${action}`]);
  }
});

test("addAuth() completes as failed what was allowed and could not be done", async () => {
  for (const { request } of ASKED) {
    const { app, records, completions } = serve({ effectFails: true });
    const answer = await app.inject(request);
    assert.deepEqual([answer.statusCode, answer.headers["set-cookie"]], [503, undefined]);
    const [record] = records;
    assert.equal(record?.outcome, "allowed");
    const at = "1970-01-01T00:16:40.000Z";
    const failed = { outcome: "failed", why: "check_unavailable" };
    assert.deepEqual(completions, [
      { kind: "completion", at, instance: "test", txns: [record?.txn], ...failed },
    ]);
  }
});

test("addAuth() names in its records whom they are about", async () => {
  const found: unknown[] = [];
  for (const { request } of ASKED) {
    const { app, records } = serve();
    await app.inject(request);
    for (const { user, issuer, proof } of records) found.push({ user, issuer, proof });
  }
  assert.deepEqual(found, [
    { user: "demo-alice", issuer: "demo", proof: { kind: "session", hash: session.hash } },
    { user: undefined, issuer: undefined, proof: { kind: "session", hash: sessionHashOf(ID) } },
    { user: "demo-alice", issuer: "demo", proof: { kind: "session", hash: "provider-session" } },
  ]);
});
