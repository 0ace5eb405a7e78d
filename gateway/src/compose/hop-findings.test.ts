import assert from "node:assert/strict";
import { test } from "node:test";
import type { Hop } from "../hop/hop.ts";
import { arrived } from "../hop/testing/arrived.ts";
import { allowed, type Outcome, refused } from "../refusal.ts";
import type { Base } from "./base.ts";
import { withFindings } from "./hop-findings.ts";
import { ReadinessList } from "./running.ts";

/** A judge of whatever is to be judged next, and what its operator hears. */
function bench(edgeIssuers: readonly object[] = []) {
  const heard: string[] = [];
  const readiness = new ReadinessList();
  const state = { now: 1_000, outcome: allowed<Hop>({ forwards: true, vouched: {} }) as Outcome<Hop> };
  const say = (...[first, second]: readonly unknown[]): void => void heard.push(String(second ?? first));
  const base = {
    config: { publicUrl: "https://apps.example.com", edgeIssuers },
    log: { error: say, warn: say },
    clock: () => state.now,
    readiness,
  } as unknown as Base;
  const judge = withFindings(() => state.outcome, base);
  return { heard, readiness, state, judge: () => judge(arrived([])) };
}

test("withFindings() says once a minute what is refused for how IIS is set up, and that it is not ready", () => {
  const { heard, readiness, state, judge } = bench();
  assert.deepEqual(readiness.all(), [{ check: "hop", ok: true, found: "ok" }]);
  state.outcome = refused({ reason: "hop_unfit", why: "a handle" });
  for (state.now of [1_000, 1_030, 1_059]) assert.deepEqual(judge(), state.outcome);
  assert.equal(heard.length, 1);
  state.now = 1_060;
  judge();
  assert.deepEqual(heard, Array(2).fill("requests are refused for how IIS is set up"));
  const [check] = readiness.all();
  assert.deepEqual([check?.ok, check?.found], [false, "a handle"]);
});

test("withFindings() warns of a site that was reached over http, and of requests that its module did not sign", () => {
  const { heard, state, judge } = bench([{ kind: "windows" }]);
  const signed = { signedAt: 1, nonce: "0", method: "GET" };
  state.outcome = allowed({ forwards: true, scheme: "https", vouched: { signed } });
  judge();
  assert.deepEqual(heard, []);
  state.outcome = allowed({ forwards: true, scheme: "http", vouched: {} });
  judge();
  assert.match(heard[0] ?? "", /^what stands in front was reached over http/);
  assert.match(
    heard[1] ?? "",
    /^a request came through IIS without the signature of CountersignIdentity\.cs/,
  );
  assert.equal(heard.length, 2);
});
