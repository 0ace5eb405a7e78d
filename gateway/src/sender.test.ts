import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { payloadDigest, type SealingKey, sealToken, uuidv7 } from "@countersign/seal";
import type { PublicKeyDirectory, SealPublicJwk } from "./keys/directory.ts";
import type { InboundMessage } from "./nats/connection.ts";
import { createSenderOf } from "./sender.ts";

const SEALS = { issuer: "https://gateway.example", audience: "test" };
const START = 1_000_000;

function keyOf(kid: string): { readonly sealing: SealingKey; readonly jwk: SealPublicJwk } {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = {
    ...publicKey.export({ format: "jwk" }),
    kid,
    alg: "ES256",
    use: "sig",
    nbf: 0,
    exp: 2 * START,
  };
  return { sealing: { kid, privateKey }, jwk: jwk as SealPublicJwk };
}

/** @param repliesTo  id of the request it answers; absent = it is a message of its own */
function sealedBy(key: SealingKey, now: number, repliesTo?: string): InboundMessage {
  const payload = Buffer.from("hello");
  const draft = {
    ...SEALS,
    workload: "countersign/test",
    txn: uuidv7(now * 1000),
    user: "test-ada",
    scope: repliesTo === undefined ? "publish:lab.>" : "respond:lab.>",
    subject: "lab.a",
    ...(repliesTo !== undefined && { repliesTo }),
    digest: payloadDigest(payload),
    id: uuidv7(now * 1000),
    headers: [],
    requestId: "request",
  };
  return { subject: "lab.a", payload, headers: [...sealToken(key, draft, now)] };
}

/** The same token under another key id: its signature is looked at only with a key. */
function underKid(message: InboundMessage, kid: string): InboundMessage {
  const headers = message.headers.map(([name, value]): [string, string] => {
    if (name !== "Txn-Token") return [name, value];
    const [, ...rest] = value.split(".");
    const head = JSON.stringify({ alg: "ES256", typ: "txntoken+jwt", kid });
    return [name, [Buffer.from(head).toString("base64url"), ...rest].join(".")];
  });
  return { ...message, headers };
}

function bench() {
  let now = START;
  const published = new Map<string, SealPublicJwk>();
  const asked: string[] = [];
  let away = false;
  const directory = {
    async get(kid: string) {
      asked.push(kid);
      if (away) throw new Error("NATS is away");
      return published.get(kid);
    },
  } as unknown as PublicKeyDirectory;
  return {
    senderOf: createSenderOf({ ...SEALS, directory, clock: () => now }),
    published,
    asked,
    later: (seconds: number) => {
      now += seconds;
    },
    setAway: (is: boolean) => {
      away = is;
    },
    now: () => now,
  };
}

test("senderOf() names who sealed a message, and asks for the key once", async () => {
  const { senderOf, published, asked } = bench();
  const { sealing, jwk } = keyOf("first");
  published.set("first", jwk);
  const [one, two] = await Promise.all([1, 2].map(() => senderOf(sealedBy(sealing, START))));
  assert(one?.verified && two?.verified);
  const { id, txn, ...who } = one;
  assert.deepEqual(who, { verified: true, user: "test-ada", issuer: "test" });
  await senderOf(sealedBy(sealing, START));
  assert.deepEqual(asked, ["first"]);
});

test("senderOf.reply() names who sealed a reply, for the request it answers and for no other", async () => {
  const { senderOf, published } = bench();
  const { sealing, jwk } = keyOf("first");
  published.set("first", jwk);
  const request = uuidv7(START * 1000);
  const reply = sealedBy(sealing, START, request);
  const to = await senderOf.reply(reply, { to: request });
  assert.equal(to.verified && to.user, "test-ada");
  const other = await senderOf.reply(reply, { to: uuidv7(START * 1000) });
  assert.equal(other.verified, false);
  assert.equal((await senderOf(reply)).verified, false, "a reply is no message");
});

test("senderOf() takes nothing for a message it has judged but that very message, and judges it anew after a second", async () => {
  const { senderOf, published, later } = bench();
  const { sealing, jwk } = keyOf("first");
  published.set("first", jwk);
  const genuine = sealedBy(sealing, START);
  assert.equal((await senderOf(genuine)).verified, true);
  const code = async (message: InboundMessage): Promise<unknown> => {
    const sender = await senderOf(message);
    return sender.verified || sender.code;
  };
  assert.equal(await code({ ...genuine, payload: Buffer.from("another") }), "payload_changed");
  assert.equal(await code({ ...genuine, subject: "lab.b" }), "subject_wrong");
  assert.equal(await code({ ...genuine, headers: [...genuine.headers, ["more", "1"]] }), "headers_changed");
  assert.equal(await code({ ...genuine }), true);
  later(120);
  assert.equal(await code(genuine), "expired");
});

test("senderOf() judges a stored message by when its stream took it, years later too, and not by when it is read", async () => {
  const { senderOf, published, later, now } = bench();
  const { sealing, jwk } = keyOf("first");
  published.set("first", jwk);
  const message = sealedBy(sealing, START);
  later(3 * 365 * 86_400);
  const code = async (brokerTime: number): Promise<unknown> => {
    const sender = await senderOf({ ...message, brokerTime });
    return sender.verified || sender.code;
  };
  assert.equal(await code(START + 1), true);
  // What somebody stored again when its seal was over is a copy.
  assert.equal(await code(START + 120), "expired");
  assert.equal(await code(now()), "expired");
});

test("senderOf() knows another instance's new key soon after it is published, and not before it is asked again", async () => {
  const { senderOf, published, asked, later, now } = bench();
  const { sealing, jwk } = keyOf("new");
  const unknown = { verified: false, code: "kid_unknown" };
  assert.deepEqual(await senderOf(sealedBy(sealing, START)), unknown);
  published.set("new", jwk);
  assert.deepEqual(await senderOf(sealedBy(sealing, START)), unknown);
  assert.deepEqual(asked, ["new"]);
  later(5);
  assert.equal((await senderOf(sealedBy(sealing, now()))).verified, true);
});

test("senderOf() says that it could not verify while the directory is away, and asks again at once", async () => {
  const { senderOf, published, setAway } = bench();
  const { sealing, jwk } = keyOf("first");
  published.set("first", jwk);
  setAway(true);
  assert.deepEqual(await senderOf(sealedBy(sealing, START)), { verified: false, code: "keys_unavailable" });
  setAway(false);
  assert.equal((await senderOf(sealedBy(sealing, START))).verified, true);
});

test("senderOf() asks for a bounded number of keys at once, and those in use are not driven out by made-up ones", async () => {
  const { senderOf, published, asked } = bench();
  const { sealing, jwk } = keyOf("real");
  published.set("real", jwk);
  const genuine = sealedBy(sealing, START);
  assert.equal((await senderOf(genuine)).verified, true);
  for (let round = 0; round < 70; round++) {
    const forged = Array.from({ length: 100 }, (_, n) => underKid(genuine, `made-up-${round}-${n}`));
    const senders = await Promise.all(forged.map(senderOf));
    const codes = senders.map((sender) => !sender.verified && sender.code);
    assert.equal(codes.filter((code) => code === "kid_unknown").length, 64);
    assert.equal(codes.filter((code) => code === "keys_unavailable").length, 36);
    assert.equal((await senderOf(genuine)).verified, true);
  }
  assert.equal(asked.filter((kid) => kid === "real").length, 1);
});

test("senderOf() never rejects, whatever the message is", async () => {
  const { senderOf } = bench();
  const hostile: readonly InboundMessage[] = [
    { subject: "", payload: new Uint8Array(), headers: [] },
    { subject: "lab.a", payload: new Uint8Array(), headers: [["Txn-Token", "."]] },
    { subject: "lab.a", payload: new Uint8Array(), headers: [["Seal-Root", "a.b.c"]] },
    undefined as unknown as InboundMessage,
  ];
  for (const message of hostile) assert.equal((await senderOf(message)).verified, false);
});
