import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  createVerifier,
  type KeySet,
  SEAL_ERROR_CODES,
  SealError,
  staticKeySet,
  type VerifiedMessage,
} from "../src/index.ts";
import { createVectors, formatVector } from "./generate.ts";
import type { Vector, VectorOptions, VectorSummary } from "./vector.ts";

const FILES = readdirSync(import.meta.dirname).filter((name) => name.endsWith(".json"));

function readVector(file: string): Vector {
  return JSON.parse(readFileSync(join(import.meta.dirname, file), "utf8"));
}

for (const file of FILES) {
  test(`verify() judges vector ${file} as it says`, async () => {
    const vector = readVector(file);
    assert.deepEqual(await outcomeOf(vector), vector.expected);
  });
}

test("every error code has a vector", () => {
  const found = new Set(FILES.map(readVector).map(({ expected }) => "code" in expected && expected.code));
  assert.deepEqual(
    SEAL_ERROR_CODES.filter((code) => !found.has(code)),
    [],
  );
});

test("the vectors are what generate.ts makes", () => {
  const made = createVectors();
  assert.deepEqual(
    FILES.toSorted(),
    Object.keys(made)
      .map((name) => `${name}.json`)
      .toSorted(),
  );
  for (const [name, vector] of Object.entries(made)) {
    assert.equal(readFileSync(join(import.meta.dirname, `${name}.json`), "utf8"), formatVector(vector), name);
  }
});

async function outcomeOf({ message, jwks, options }: Vector): Promise<Vector["expected"]> {
  const { issuer, audience, now, maxAgeSeconds, transform, revocation, replyTo, brokerTime } = options;
  const verify = createVerifier({
    issuer,
    audience,
    keys: jwks ? staticKeySet(jwks) : UNAVAILABLE,
    clock: () => now,
    ...(maxAgeSeconds !== undefined && { maxAgeSeconds }),
    ...(transform && {
      transform: (sealed) => (sealed === transform.sealed ? transform.received : undefined),
    }),
    ...(revocation && { isRevoked: () => revoked(revocation) }),
  });
  const received = {
    subject: message.subject,
    headers: message.headers,
    payload: Buffer.from(message.payloadBase64, "base64"),
    ...(brokerTime !== undefined && { brokerTime }),
  };
  try {
    const verified = await (replyTo === undefined
      ? verify(received)
      : verify.reply(received, { to: replyTo }));
    return { ok: summaryOf(verified) };
  } catch (error) {
    if (error instanceof SealError) return { code: error.code };
    throw error;
  }
}

const UNAVAILABLE: KeySet = { get: () => Promise.reject(new Error("down")) };

function revoked(answer: NonNullable<VectorOptions["revocation"]>): boolean {
  if (answer === "unavailable") throw new Error("down");
  return answer === "revoked";
}

function summaryOf({ sender, id, txn, headers, authorizedNow }: VerifiedMessage): VectorSummary {
  return {
    user: sender.user,
    issuer: sender.issuer,
    userId: sender.id,
    ...(sender.name !== undefined && { name: sender.name }),
    ...(sender.actor !== undefined && { actor: sender.actor }),
    id,
    txn,
    headers,
    ...(authorizedNow !== undefined && { authorizedNow }),
  };
}
