import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PolicyFollower } from "./follow-policy.ts";
import { createLog } from "./log.ts";
import { loadCandidate } from "./policy/candidate.ts";
import { createLivePolicy, type LivePolicy } from "./policy/live.ts";
import type { PolicyFile } from "./policy/policy.ts";
import type { PolicyStore, PushedPolicy } from "./policy/store.ts";

const policyOf = (subject: string): string => `version: 1
roles:
  clerk: { given-to: [ { issuer: demo, groups: Clerks } ], may: [ publish ${subject} ] }
`;

let folder: string;
let path: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "countersign-follow-"));
  path = join(folder, "policy.yaml");
});
after(() => rm(folder, { recursive: true, force: true }));

interface World {
  readonly follower: PolicyFollower;
  readonly live: LivePolicy;
  /** What is pushed; undefined = nothing ever was. */
  readonly pushed: { current: PushedPolicy | undefined; files: readonly PolicyFile[]; fails: boolean };
}

async function start(): Promise<World> {
  await writeFile(path, policyOf("a"));
  const live = createLivePolicy(loadCandidate(path, ["demo"], 0).policy);
  const pushed: World["pushed"] = { current: undefined, files: [], fails: false };
  const store: Pick<PolicyStore, "current" | "filesOf"> = {
    async current() {
      if (pushed.fails) throw new Error("no leader");
      return pushed.current;
    },
    filesOf: async () => pushed.files,
  };
  const log = createLog("fatal");
  const follower = new PolicyFollower({ path, issuerNames: ["demo"], store, live, clock: () => 0, log });
  return { follower, live, pushed };
}

const linesOf = ({ current }: LivePolicy): readonly string[] =>
  current.roles.flatMap(({ may }) => may.map(({ rule }) => rule.text));

test("look() takes up a changed file, and judges one that is wrong only once", async () => {
  const { follower, live } = await start();
  await writeFile(path, policyOf("bb"));
  await follower.look();
  assert.deepEqual([linesOf(live), follower.problem], [["publish bb"], undefined]);
  await writeFile(path, policyOf(">"));
  await follower.look();
  assert.deepEqual(linesOf(live), ["publish bb"]);
  assert.match(follower.problem ?? "", /policy\.yaml may not go live: policy\.yaml:3:/);
});

test("reload() judges again what was refused before, as after SIGHUP", async () => {
  const { follower, live } = await start();
  live.replace(live.current);
  let replaced = 0;
  live.onReplace(() => {
    replaced += 1;
  });
  await follower.look();
  await follower.reload();
  assert.equal(replaced, 0, "the same version is no change");
  await writeFile(path, policyOf("ccc"));
  await follower.reload();
  assert.deepEqual([replaced, linesOf(live)], [1, ["publish ccc"]]);
});

test("a pushed policy counts before the file, and the file's not again when the store cannot be asked", async () => {
  const { follower, live, pushed } = await start();
  pushed.current = { version: "1".repeat(64), by: "demo-carol", at: 0, former: "" };
  pushed.files = [{ path: "policy.yaml", text: policyOf("pushed") }];
  await follower.look();
  assert.deepEqual([linesOf(live), follower.source], [["publish pushed"], "pushed"]);
  await writeFile(path, policyOf("edited"));
  pushed.fails = true;
  await follower.look();
  assert.deepEqual([linesOf(live), follower.problem], [["publish pushed"], "no leader"]);
  pushed.fails = false;
  await follower.look();
  assert.deepEqual([linesOf(live), follower.problem], [["publish pushed"], undefined]);
});

test("a pushed policy that is not right here does not replace the one that works", async () => {
  const { follower, live, pushed } = await start();
  pushed.current = { version: "2".repeat(64), by: "demo-carol", at: 0, former: "" };
  pushed.files = [{ path: "policy.yaml", text: policyOf(">") }];
  await follower.look();
  assert.deepEqual(linesOf(live), ["publish a"]);
  assert.match(follower.problem ?? "", /the policy pushed by demo-carol may not go live/);
});

test("begin() throws when the pushed policy cannot be known, or is not right here: the file's may be wider", async () => {
  const { follower, pushed, live } = await start();
  pushed.fails = true;
  const unknown = {
    code: "POLICY_INVALID",
    message: /Cannot begin under the policy that was pushed: no leader/,
  };
  await assert.rejects(follower.begin(), unknown);
  pushed.fails = false;
  pushed.current = { version: "3".repeat(64), by: "demo-carol", at: 0, former: "" };
  pushed.files = [{ path: "policy.yaml", text: policyOf(">") }];
  await assert.rejects(follower.begin(), { code: "POLICY_INVALID", message: /may not go live/ });
  pushed.current = { ...pushed.current, version: "4".repeat(64) };
  pushed.files = [{ path: "policy.yaml", text: policyOf("pushed") }];
  await follower.begin();
  assert.deepEqual(linesOf(live), ["publish pushed"]);
});
