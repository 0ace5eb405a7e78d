import assert from "node:assert/strict";
import { test } from "node:test";
import { type ForgedAnswers, judgeForged } from "./probe-forged.ts";
import type { Answer } from "./send.ts";

function answer(status: number, body: object, { ours = true } = {}): Answer {
  const type = "code" in body ? "application/problem+json" : "application/json";
  return {
    status,
    headers: { "content-type": type },
    body: JSON.stringify(body),
    requestId: ours ? "id" : undefined,
  };
}

const OK = answer(200, { status: "ok" });
const NOBODY = answer(401, { code: "unauthenticated" });
const MADE_UP = answer(400, { code: "invalid_proof" });
const IIS = answer(401, {}, { ours: false });
const as = (user: string): Answer => answer(200, { user });

function outcome(more: Partial<ForgedAnswers>, name = "X-Any"): string {
  const { outcome: found, found: text } = judgeForged(name, {
    baseline: OK,
    health: OK,
    asked: NOBODY,
    told: NOBODY,
    ...more,
  });
  return `${found}: ${text}`;
}

test("judgeForged() takes a refusal, or no difference, for right", () => {
  assert.match(outcome({}), /^right: it was taken away/);
  assert.match(
    outcome({ health: MADE_UP, told: MADE_UP }),
    /^right: it reached the gateway, and was refused/,
  );
  assert.match(outcome({ told: MADE_UP }), /^right: it reached the gateway, and was refused/);
  assert.match(outcome({ asked: IIS, told: IIS }), /^right: .*answered by something in front/);
  assert.match(outcome({ asked: as("a"), told: as("a") }), /^right: it was taken away/);
});

test("judgeForged() finds whoever is believed, also where the header is refused elsewhere", () => {
  assert.match(outcome({ told: as("root") }), /^wrong: it made the visitor root/);
  assert.match(outcome({ health: MADE_UP, told: as("root") }), /^wrong: it made the visitor root/);
  assert.match(outcome({ asked: as("a"), told: as("b") }), /^wrong: it made the visitor b/);
});

test("judgeForged() finds a header that changes what is asked next", () => {
  const judged = {
    ...NOBODY,
    headers: { ...NOBODY.headers, "www-authenticate": 'Bearer error="invalid_token"' },
  };
  assert.match(outcome({ told: judged }), /^wrong: it changed the answer/);
  assert.match(outcome({ health: answer(202, {}) }), /^wrong: it changed the answer/);
  assert.match(outcome({ health: answer(400, {}, { ours: false }) }), /^wrong: it changed the answer/);
});

test("judgeForged() finds that the identity module does not run", () => {
  const health = NOBODY;
  assert.match(
    outcome({ health }, "Countersign-Identity"),
    /^wrong: .*expects a signature of the identity module/,
  );
});
