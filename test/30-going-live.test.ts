import assert from "node:assert/strict";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startGateway } from "@countersign/devstack/gateway-process.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { type JsonObject, send, startTestStack, type TestStack } from "./support.ts";
import {
  type Check,
  configureInstance,
  eventually,
  readinessAt,
  ready,
  runCommand,
  withAdmin,
} from "./support-operations.ts";

/** What alice and bob, both order clerks, may do; carol, an auditor, may push. */
function policyWith(lines: {
  readonly clerks: string;
  readonly auditors?: string;
  readonly tests?: string;
}): string {
  return `version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ ${lines.clerks} ]
  auditor:
    given-to: [ { issuer: demo, groups: Audit } ]
    may: [ push-policy, ${lines.auditors ?? "subscribe notices.>"} ]
identities:
  alice: { issuer: demo, user: alice, groups: [ Orders.Clerks ], region: eu }
tests:
  - as: alice
    ${lines.tests ?? "refused: [ publish payments.eu.1 ]"}
`;
}

const WIDE = policyWith({
  clerks: "'publish orders.{region}.>', 'subscribe orders.{region}.>', subscribe notices.>",
});
const WITHOUT_NOTICES = policyWith({ clerks: "'publish orders.{region}.>', 'subscribe orders.{region}.>'" });

let stack: TestStack;
let second: { readonly url: string; readonly adminPort: number; readonly stop: () => Promise<void> };
let adminPort: number;

before(async () => {
  adminPort = await findFreePort();
  stack = await startTestStack({ policy: WIDE, configure: withAdmin(adminPort) });
  await ready(adminPort);
  second = await startSecondGateway();
  await ready(second.adminPort);
});
after(async () => {
  await second?.stop();
  await stack?.stop();
});

async function startSecondGateway(): Promise<typeof second> {
  const port = await findFreePort();
  const { configFile, url } = await configureInstance(stack, "second");
  const yaml = await readFile(configFile, "utf8");
  await writeFile(configFile, yaml.replace(/^admin: .*$/m, `admin: { address: '127.0.0.1:${port}' }`));
  const { stop } = await startGateway({ configFile, publicUrl: url });
  return { url, adminPort: port, stop };
}

async function replaceFile(policy: string): Promise<void> {
  // As editors and mounted volumes do it: never half a file.
  await writeFile(`${stack.policyFile}.new`, policy);
  await rename(`${stack.policyFile}.new`, stack.policyFile);
}

async function versionAt(port: number): Promise<JsonObject> {
  const answer = await send(`http://127.0.0.1:${port}/v1/policy`, { token: stack.token("carol") });
  assert.equal(answer.status, 200, answer.text);
  return answer.json();
}

async function push(
  policy: string,
  how: { readonly as?: "carol" | "alice" } = {},
): Promise<{ status: number; body: JsonObject }> {
  const answer = await send(`http://127.0.0.1:${adminPort}/v1/policy`, {
    method: "POST",
    token: stack.token(how.as ?? "carol"),
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ files: [{ path: "policy.yaml", text: policy }] }),
  });
  return { status: answer.status, body: answer.json() };
}

async function noteOn(port: number, check: string): Promise<Check | undefined> {
  return (await readinessAt(port))?.checks.find((one) => one.check === check);
}

/** Publishes without pause until told to stop; @returns what was accepted, in order */
function publishing(subject: string, token: string): { readonly stop: () => Promise<readonly number[]> } {
  const accepted: number[] = [];
  let going = true;
  const done = (async () => {
    for (let n = 0; going; n += 1) {
      const answer = await stack.call(`/v1/publish?subject=${subject}`, {
        method: "POST",
        token,
        body: String(n),
      });
      assert.equal(answer.status, 202, answer.text);
      accepted.push(n);
    }
  })();
  return {
    async stop() {
      going = false;
      await done;
      return accepted;
    },
  };
}

test("a policy that loses a right ends the streams that had it, and nobody else notices", async () => {
  const alice = stack.token("alice");
  const orders = await stack.stream(["orders.eu.>"], { token: alice });
  const notices = await stack.stream(["notices.>"], { token: alice });
  const publisher = publishing("orders.eu.1", alice);
  await orders.read(20);

  const changedAt = performance.now();
  await replaceFile(WITHOUT_NOTICES);
  const last = await notices.ended;
  assert.deepEqual(last, { event: "end", data: { code: "policy", reconnect: true } });
  assert.ok(performance.now() - changedAt < 2_000, "within two seconds");

  const seen = orders.events.length;
  await orders.read(seen + 200);
  const accepted = await publisher.stop();
  const received = await orders.read(accepted.length);
  assert.deepEqual(
    received.map(({ data }) => Number(data.data)),
    accepted,
    "none lost, none twice, in order, across the change of connection",
  );
  orders.leave();
  const refused = await stack.call("/v1/subscribe?subject=notices.>", { token: alice });
  assert.equal(refused.status, 403);
});

test("a policy that does not parse, or fails its own tests, replaces nothing; readyz and the log say so", async () => {
  const { version } = await versionAt(adminPort);
  await replaceFile("version: 1\nroles: [");
  const broken = await eventually("the note in readyz", async () => {
    const note = await noteOn(adminPort, "policy");
    return note?.found === "ok" ? undefined : note;
  });
  assert.equal(broken.ok, true, "what works goes on working");
  assert.match(broken.found, /may not go live: policy\.yaml:\d+:\d+: /);

  await replaceFile(
    policyWith({ clerks: "'publish orders.{region}.>'", tests: "allowed: [ publish payments.eu.1 ]" }),
  );
  const failing = await eventually("the note in readyz", async () => {
    const note = await noteOn(adminPort, "policy");
    return note?.found.includes("test failed") ? note : undefined;
  });
  assert.match(failing.found, /as alice, "publish payments\.eu\.1" should be allowed and is refused/);
  assert.equal((await versionAt(adminPort)).version, version);
  assert.match(stack.gateway().log(), /policy not replaced/);
  assert.equal(
    (await stack.call("/v1/publish?subject=orders.eu.1", { method: "POST", token: stack.token("alice") }))
      .status,
    202,
  );

  await replaceFile(WIDE);
  await eventually("the file's policy to be in force again", async () =>
    (await noteOn(adminPort, "policy"))?.found === "ok" ? true : undefined,
  );
});

test("push needs the right to, and says what is wrong with a policy", async () => {
  const { status } = await push(WITHOUT_NOTICES, { as: "alice" });
  assert.equal(status, 403);
  const wrong = await push(policyWith({ clerks: "publish >" }));
  assert.equal(wrong.status, 422);
  assert.match(JSON.stringify(wrong.body.mistakes), /policy\.yaml:5:/);
  assert.equal((await versionAt(adminPort)).source, "file");
});

test("a pushed policy is in force on every gateway within two seconds, and records who widened what", async () => {
  const wider = policyWith({
    clerks: "'publish orders.{region}.>', 'publish returns.{region}.*'",
    auditors: "subscribe orders.>",
  });
  const { version: former } = await versionAt(adminPort);
  const pushedAt = performance.now();
  const pushed = await push(wider);
  assert.equal(pushed.status, 200, JSON.stringify(pushed.body));
  assert.equal(pushed.body.wider, true);
  assert.equal((await versionAt(adminPort)).version, pushed.body.version, "at once where it was pushed");
  await eventually("the other gateway to follow", async () =>
    (await versionAt(second.adminPort)).version === pushed.body.version ? true : undefined,
  );
  assert.ok(performance.now() - pushedAt < 2_000, "within two seconds");
  const answer = await send(`${second.url}/v1/publish?subject=returns.eu.1`, {
    method: "POST",
    token: stack.token("alice"),
  });
  assert.equal(answer.status, 202, answer.text);

  const completion = stack.audit().find(({ why }) => String(why).startsWith(`policy ${former}`));
  assert.match(String(completion?.why), /wider: .*clerk gained publish returns\.\{region\}\.\*/);
  const [txn] = (completion?.txns ?? []) as readonly string[];
  const decision = stack.audit().find((line) => line.txn === txn);
  assert.deepEqual(
    [decision?.action, decision?.user, decision?.outcome],
    ["push-policy", "demo-carol", "allowed"],
  );

  // A file that is edited now changes nothing: the pushed one counts.
  await replaceFile(WITHOUT_NOTICES);
  assert.equal((await versionAt(adminPort)).version, pushed.body.version);
});

test("rollback puts a former version in force; an unknown one is refused", async () => {
  const narrow = await push(WITHOUT_NOTICES);
  assert.equal(narrow.status, 200);
  const back = async (to: string): Promise<{ status: number; body: JsonObject }> => {
    const url = `http://127.0.0.1:${adminPort}/v1/policy/rollback?to=${to}`;
    const answer = await send(url, { method: "POST", token: stack.token("carol") });
    return { status: answer.status, body: answer.json() };
  };
  const rolled = await back(String(narrow.body.former));
  assert.equal(rolled.status, 200, JSON.stringify(rolled.body));
  const { version, history } = await versionAt(adminPort);
  assert.equal(version, narrow.body.former);
  assert.deepEqual(
    (history as readonly JsonObject[]).slice(0, 2).map((one) => [one.version, one.by]),
    [
      [narrow.body.former, "demo-carol"],
      [narrow.body.version, "demo-carol"],
    ],
  );
  assert.equal((await back("0".repeat(64))).status, 400);
});

test("`countersign policy push` puts the files in force and prints what changed; its exit code says whether", async () => {
  const file = join(stack.stateDir, "proposed.yaml");
  await writeFile(
    file,
    policyWith({ clerks: "'publish orders.{region}.>', 'publish complaints.{region}.*'" }),
  );
  const args = ["policy", "push", "--policy", file, "--to", `http://127.0.0.1:${second.adminPort}`];
  const done = await runCommand(args, { env: { COUNTERSIGN_TOKEN: stack.token("carol") } });
  assert.equal(done.code, 0, done.err);
  assert.match(done.out, /^wider +clerk: gained publish complaints\.\{region\}\.\*$/m);
  const [, version] = /^in force: ([0-9a-f]{64})$/m.exec(done.out) ?? [];
  assert.equal((await versionAt(second.adminPort)).version, version);

  const refused = await runCommand(args, { env: { COUNTERSIGN_TOKEN: stack.token("alice") } });
  assert.equal(refused.code, 1);
  assert.match(refused.out, /^Not allowed\. /);
  await writeFile(file, policyWith({ clerks: "publish >" }));
  const wrong = await runCommand(args, { env: { COUNTERSIGN_TOKEN: stack.token("carol") } });
  assert.equal(wrong.code, 1);
  assert.match(wrong.out, /^proposed\.yaml:5:\d+: /);
});
