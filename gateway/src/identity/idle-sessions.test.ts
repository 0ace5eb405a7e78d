import assert from "node:assert/strict";
import { test } from "node:test";
import { followIdleSessions } from "./idle-sessions.ts";
import type { Session } from "./session.ts";

const IDLE = 600;

function bench() {
  const standing = new Set<string>();
  let asked = 0;
  let broken = false;
  const idle = followIdleSessions({
    idleSeconds: IDLE,
    async sessionStands(hash) {
      asked += 1;
      if (broken) throw new Error("the store does not answer");
      return standing.has(hash);
    },
  });
  return {
    idle,
    standing,
    asked: () => asked,
    store: (state: "broken" | "well") => {
      broken = state === "broken";
    },
  };
}

function sessionOf(hash: string, lastSeenAt: number): Session {
  return { hash, lastSeenAt } as Session;
}

test("take() gives a session that nobody uses any more, once, and asks nothing before its time", async () => {
  const { idle, asked } = bench();
  idle.note(sessionOf("a", 1_000));
  assert.deepEqual(await idle.take(1_000 + IDLE - 1), []);
  assert.equal(asked(), 0);
  assert.deepEqual(await idle.take(1_000 + IDLE), ["a"]);
  assert.deepEqual(await idle.take(1_000 + 2 * IDLE), []);
});

test("take() leaves one that was used meanwhile, here or elsewhere, and looks at it again", async () => {
  const { idle, standing, asked } = bench();
  idle.note(sessionOf("here", 1_000));
  idle.note(sessionOf("here", 1_500));
  idle.note(sessionOf("elsewhere", 1_000));
  standing.add("elsewhere");
  assert.deepEqual(await idle.take(1_000 + IDLE), []);
  assert.equal(asked(), 1);
  standing.clear();
  assert.deepEqual((await idle.take(1_500 + IDLE)).toSorted(), ["elsewhere", "here"]);
});

test("take() asks again when the store did not answer", async () => {
  const { idle, store } = bench();
  idle.note(sessionOf("a", 1_000));
  store("broken");
  assert.deepEqual(await idle.take(1_000 + IDLE), []);
  store("well");
  assert.deepEqual(await idle.take(1_060 + IDLE), ["a"]);
});
