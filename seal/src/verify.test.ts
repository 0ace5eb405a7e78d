import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeySet } from "./cached-keys.ts";
import { payloadDigest } from "./digests.ts";
import { staticKeySet } from "./keys.ts";
import type { PlainMessage, ReceivedHeaders } from "./received.ts";
import { type SealDraft, sealToken, sealTree, TREE_LEAVES_MAX } from "./seal.ts";
import type { SealErrorCode } from "./seal-error.ts";
import { createTestKey } from "./testing/sealing-key.ts";
import { uuidv7 } from "./uuid.ts";
import { createVerifier, type VerifierOptions } from "./verify.ts";

const NOW = 1_795_000_000;
const PAYLOAD = Buffer.from('{"item":"tea"}');
const { key: KEY, jwk: JWK } = createTestKey("2026-11-a", { nbf: NOW, exp: NOW + 60 });
const OPTIONS = {
  issuer: "https://apps.example.com/bus",
  audience: "example.com",
  keys: staticKeySet({ keys: [JWK] }),
  clock: () => NOW,
};

function draftOf(members: Partial<SealDraft> = {}): SealDraft {
  return {
    issuer: OPTIONS.issuer,
    audience: OPTIONS.audience,
    workload: "countersign/one",
    txn: uuidv7(NOW * 1000),
    user: "entra-alice",
    scope: "publish:orders.*.create",
    subject: "orders.1.create",
    digest: payloadDigest(PAYLOAD),
    id: uuidv7(NOW * 1000),
    headers: [["Content-Type", "application/json"]],
    requestId: "r-1",
    ...members,
  };
}

function sealed(draft: SealDraft = draftOf(), form: "tree" | "token" = "tree"): PlainMessage {
  const seal = form === "token" ? sealToken(KEY, draft, NOW) : (sealTree(KEY, [draft], NOW).seals[0] ?? []);
  return { subject: draft.subject, payload: PAYLOAD, headers: [...draft.headers, ...seal] };
}

function verifier(options: Partial<VerifierOptions> = {}) {
  return createVerifier({ ...OPTIONS, ...options });
}

function withCode(code: SealErrorCode) {
  return { name: "SealError", code };
}

for (const form of ["tree", "token"] as const) {
  test(`verify() gives back everything a ${form} seals`, async () => {
    const draft = draftOf({
      actor: "entra-agent",
      acr: "mfa",
      sessionHash: payloadDigest(PAYLOAD),
      name: 'Zoë "Z"',
      ip: "::1",
    });
    const verified = await verifier()(sealed(draft, form));
    assert.deepEqual(
      { ...verified, json: verified.json(), text: verified.text() },
      {
        sender: {
          verified: true,
          user: "entra-alice",
          issuer: "entra",
          id: "alice",
          name: 'Zoë "Z"',
          actor: "entra-agent",
        },
        subject: draft.subject,
        id: draft.id,
        txn: draft.txn,
        claims: {
          iss: OPTIONS.issuer,
          aud: OPTIONS.audience,
          iat: NOW,
          exp: NOW + 60,
          txn: draft.txn,
          sub: "entra-alice",
          act: { sub: "entra-agent" },
          req_wl: "countersign/one",
          scope: "publish:orders.*.create",
          tctx: { msg: { s: draft.subject, d: draft.digest, id: draft.id, h: verified.claims.tctx.msg.h } },
          rctx: { rid: "r-1", acr: "mfa", sid: payloadDigest(PAYLOAD), name: 'Zoë "Z"', ip: "::1" },
        },
        headers: [["Content-Type", "application/json"]],
        payload: PAYLOAD,
        json: { item: "tea" },
        text: PAYLOAD.toString(),
        authenticAtPublish: true,
        authorizedNow: undefined,
      },
    );
  });
}

test("verify() takes every message of a tree, for trees of 1 to 130 and of the largest size", async () => {
  const verify = verifier();
  for (const size of [1, 2, 3, 5, 64, 130, TREE_LEAVES_MAX]) {
    const drafts = Array.from({ length: size }, () => draftOf());
    const { seals } = sealTree(KEY, drafts, NOW + 0.9);
    for (const [index, { subject, headers, id }] of drafts.entries()) {
      const verified = await verify({
        subject,
        payload: PAYLOAD,
        headers: [...headers, ...(seals[index] ?? [])],
      });
      assert.equal(verified.id, id);
    }
  }
});

test("sealTree() refuses no drafts, too many, several issuers, and a header that cannot be sealed", () => {
  assert.throws(() => sealTree(KEY, [], NOW), RangeError);
  assert.throws(() => sealTree(KEY, Array(TREE_LEAVES_MAX + 1).fill(draftOf()), NOW), RangeError);
  assert.throws(() => sealTree(KEY, [draftOf(), draftOf({ issuer: "https://b.example" })], NOW), RangeError);
  assert.throws(() => sealTree(KEY, [draftOf({ headers: [["a", "1\nb: 2"]] })], NOW), RangeError);
});

test("sealTree() lets no value escape its place in the JSON", async () => {
  const verified = await verifier()(sealed(draftOf({ acr: '","sub":"entra-mallory' })));
  assert.equal(verified.sender.user, "entra-alice");
  assert.equal(verified.claims.rctx.acr, '","sub":"entra-mallory');
});

/** Headers as nats.js has them: a name and all its values. */
function grouped({ headers }: PlainMessage): ReceivedHeaders {
  const values = new Map<string, string[]>();
  for (const [name, value] of headers) values.set(name, (values.get(name) ?? []).concat(value));
  return values;
}

test("verify() takes messages as nats.js has them: Msg at the verifier's time, JsMsg and StoredMsg at the stream's", async () => {
  const plain = sealed();
  const { subject } = plain;
  const hourLater = verifier({ clock: () => NOW + 3_600 });
  const msg = { subject, data: PAYLOAD, headers: grouped(plain) };
  assert.equal((await verifier()(msg)).subject, subject);
  await assert.rejects(hourLater(msg), withCode("expired"));
  assert.equal((await hourLater({ ...msg, time: new Date(NOW * 1000) })).subject, subject);
  assert.equal(
    (await hourLater({ subject, data: PAYLOAD, header: grouped(plain), time: new Date(NOW * 1000) })).subject,
    subject,
  );
});

test("verify() refuses a stream time that is no time, and one only a header claims", async () => {
  const plain = sealed();
  const msg = { subject: plain.subject, data: PAYLOAD, headers: grouped(plain) };
  await assert.rejects(verifier()({ ...msg, time: new Date("never") }), withCode("too_early"));
  const forged = {
    ...plain,
    headers: [...plain.headers, ["Nats-Time-Stamp", new Date(NOW * 1000).toISOString()] as const],
  };
  await assert.rejects(verifier({ clock: () => NOW + 3_600 })(forged), withCode("expired"));
});

test("verify() refuses a message whose headers its client cannot parse", async () => {
  const broken = {
    subject: "a",
    data: PAYLOAD,
    get headers(): ReceivedHeaders {
      throw new Error("bad header");
    },
  };
  await assert.rejects(verifier()(broken), withCode("encoding_invalid"));
});

test("verify() refuses a payload over 64 MiB and over 512 header values", async () => {
  const message = sealed();
  await assert.rejects(
    verifier()({ ...message, payload: new Uint8Array(67_108_865) }),
    withCode("too_large"),
  );
  const many = Array<[string, string]>(513).fill(["x", "y"]);
  await assert.rejects(verifier()({ ...message, headers: many }), withCode("too_large"));
});

test("verify() looks the key up again for a root it holds, so that a revocation counts", async () => {
  let keys: KeySet = OPTIONS.keys;
  const verify = verifier({ keys: { get: (kid, at) => keys.get(kid, at) } });
  const message = sealed();
  await verify(message);
  keys = staticKeySet({ keys: [{ ...JWK, revoked: {} }] });
  await assert.rejects(verify(message), withCode("key_revoked"));
});

test("verify() verifies a held root anew under another key of the same kid", async () => {
  let keys: KeySet = OPTIONS.keys;
  const verify = verifier({ keys: { get: (kid, at) => keys.get(kid, at) } });
  const message = sealed();
  await verify(message);
  const { jwk: other } = createTestKey("2026-11-a", { nbf: NOW, exp: NOW + 60 });
  keys = staticKeySet({ keys: [other] });
  await assert.rejects(verify(message), withCode("signature_wrong"));
});

test("verify() asks the revocation source for the user, the actor, the session and the action", async () => {
  const asked: unknown[] = [];
  const draft = draftOf({ actor: "entra-agent", sessionHash: payloadDigest(PAYLOAD) });
  const verified = await verifier({ isRevoked: (who) => asked.push(who) > 0 })(sealed(draft));
  assert.equal(verified.authorizedNow, false);
  const { txn, id } = draft;
  assert.deepEqual(asked, [
    { user: "entra-alice", actor: "entra-agent", sessionHash: draft.sessionHash, txn, id, sealedAt: NOW },
  ]);
});

test("verify.reply() takes the reply to the message that was sent, whatever its inbox", async () => {
  const draft = draftOf({ subject: "_INBOX.a.b", repliesTo: "id-1", scope: "respond:inventory.*" });
  const reply = { ...sealed(draft), subject: "_R_.rewritten" };
  assert.equal((await verifier().reply(reply, { to: "id-1" })).sender.user, "entra-alice");
  await assert.rejects(verifier().reply(reply, { to: "id-2" }), withCode("reply_wrong"));
  await assert.rejects(verifier()(reply), withCode("reply_wrong"));
});

test("createVerifier() refuses options that cannot be right", () => {
  assert.throws(() => createVerifier({ ...OPTIONS, audience: "" }), TypeError);
  assert.throws(() => createVerifier({ ...OPTIONS, maxAgeSeconds: Number.NaN }), TypeError);
  assert.throws(
    () => createVerifier({ issuer: "http://apps.example.com", audience: "example.com" }),
    TypeError,
  );
});

test("json() and text() refuse a payload that is not UTF-8", async () => {
  const payload = Buffer.of(0x22, 0xff, 0x22);
  const verified = await verifier()({ ...sealed(draftOf({ digest: payloadDigest(payload) })), payload });
  assert.throws(() => verified.json(), TypeError);
  assert.throws(() => verified.text(), TypeError);
});
