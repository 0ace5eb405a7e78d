import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { HeaderList } from "./claims.ts";
import { payloadDigest } from "./digests.ts";
import { staticKeySet } from "./keys.ts";
import type { PlainMessage } from "./received.ts";
import { type SealDraft, sealToken, sealTree } from "./seal.ts";
import { SealError } from "./seal-error.ts";
import { createTestKey } from "./testing/sealing-key.ts";
import { uuidv7 } from "./uuid.ts";
import { createVerifier } from "./verify.ts";

const SEED = 20_261_123;
const NOW = 1_795_000_000;
const PAYLOAD = Buffer.from('{"item":"tea"}');
const { key: KEY, jwk: JWK } = createTestKey("a", { nbf: NOW, exp: NOW });
const verify = createVerifier({
  issuer: "https://a.example",
  audience: "example.com",
  keys: staticKeySet({ keys: [JWK] }),
  clock: () => NOW,
});

const DRAFTS: readonly SealDraft[] = Array.from({ length: 6 }, () => ({
  issuer: "https://a.example",
  audience: "example.com",
  workload: "countersign/one",
  txn: uuidv7(NOW * 1000),
  user: "entra-alice",
  scope: "publish:orders.>",
  subject: "orders.1.create",
  digest: payloadDigest(PAYLOAD),
  id: uuidv7(NOW * 1000),
  headers: [
    ["Content-Type", "application/json"],
    ["Priority", "high"],
  ],
  requestId: "r-1",
}));

const MESSAGES: readonly PlainMessage[] = [
  ...sealTree(KEY, DRAFTS, NOW).seals,
  ...DRAFTS.slice(0, 1).map((draft) => sealToken(KEY, draft, NOW)),
].map((seal) => ({
  subject: "orders.1.create",
  payload: PAYLOAD,
  headers: [...(DRAFTS[0]?.headers ?? []), ...seal],
}));

const aMessage = fc.constantFrom(...MESSAGES);
const aPlace = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

/** Puts another character at a place of the text. */
function mutate(text: string, place: number, character: string): string {
  const at = Math.floor(place * text.length);
  return text.slice(0, at) + character + text.slice(at + 1);
}

async function refusal(message: PlainMessage): Promise<SealError | undefined> {
  try {
    await verify(message);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof SealError, String(error));
    return error;
  }
}

test("verify() takes the messages that the fuzzing starts from", async () => {
  for (const message of MESSAGES) assert.equal(await refusal(message), undefined);
});

test("verify() refuses a message with any one character of a header's value, the subject or the payload changed", async () => {
  const character = fc.oneof(
    fc.constantFrom("A", "_", ".", "=", "0", " ", "\n"),
    fc.string({ minLength: 1, maxLength: 1 }),
  );
  const target = fc.integer({ min: 0, max: 8 });
  await fc.assert(
    fc.asyncProperty(aMessage, target, aPlace, character, async (message, which, place, other) => {
      const pairs: HeaderList = [...message.headers] as HeaderList;
      const changed: PlainMessage = {
        subject: which === pairs.length ? mutate(message.subject, place, other) : message.subject,
        payload: which > pairs.length ? Buffer.from(mutate(PAYLOAD.toString(), place, other)) : PAYLOAD,
        headers: pairs.map(
          ([name, value], index) => [name, index === which ? mutate(value, place, other) : value] as const,
        ),
      };
      if (JSON.stringify(changed) !== JSON.stringify(message)) assert.ok(await refusal(changed));
    }),
    { numRuns: 4_000, seed: SEED },
  );
});

test("verify() refuses a message with a covered header's name changed, a header doubled in any case, or one taken away", async () => {
  const how = fc.constantFrom("rename", "double", "upper", "lower", "drop");
  await fc.assert(
    fc.asyncProperty(aMessage, fc.nat(5), how, async (message, at, change) => {
      const pairs = [...message.headers] as HeaderList;
      const index = at % pairs.length;
      const [name = "", value = ""] = pairs[index] ?? [];
      const twin: Readonly<Record<string, string>> = {
        double: name,
        upper: name.toUpperCase(),
        lower: name.toLowerCase(),
      };
      const extra = twin[change];
      const kept = pairs.filter((_, place) => place !== index);
      const headers: HeaderList =
        extra !== undefined
          ? [...pairs, [extra, value]]
          : change === "drop"
            ? kept
            : [...kept, [`X${name}`, value]];
      assert.ok(await refusal({ ...message, headers }));
    }),
    { numRuns: 1_000, seed: SEED },
  );
});

test("verify() refuses any mix of the parts of two seals", async () => {
  const [first, second] = MESSAGES;
  assert.ok(first && second);
  const pairs = [...first.headers] as HeaderList;
  for (const name of ["Seal-Claims", "Seal-Path"]) {
    const other = ([...second.headers] as HeaderList).find(([n]) => n === name);
    const headers = pairs.map((pair) => (pair[0] === name && other ? other : pair));
    assert.ok(await refusal({ ...first, headers }));
  }
});

test("verify() answers arbitrary headers with a SealError and nothing else", async () => {
  const names = fc.constantFrom(
    "Seal-Claims",
    "Seal-Path",
    "Seal-Root",
    "Txn-Token",
    "Nats-Msg-Id",
    "a",
    "__proto__",
    "",
  );
  const values = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string().map((text) => Buffer.from(text).toString("base64url")),
    fc
      .json()
      .map(
        (json) =>
          `${Buffer.from('{"alg":"ES256","typ":"seal-root+jwt","kid":"a"}').toString("base64url")}.${Buffer.from(json).toString("base64url")}.AA`,
      ),
    fc.array(fc.string(), { maxLength: 12 }).map((parts) => parts.join(".")),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(names, values), { maxLength: 8 }),
      fc.string(),
      async (headers, subject) => {
        assert.ok(await refusal({ subject, payload: PAYLOAD, headers }));
      },
    ),
    { numRuns: 2_000, seed: SEED },
  );
});
