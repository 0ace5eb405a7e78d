/**
 * What is released, one file without packages, does what the source does: under the Node that runs this test. Its
 * manifest asks for Node 22 or later.
 */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { TRUST_DOMAIN } from "@countersign/devstack/stack.ts";
import { createVerifier, remoteKeySet } from "@countersign/seal";
import { startTestStack, type TestStack } from "./support.ts";
import { buildInto, endOf, runCommand, type SignedIn, signInAs, storedOrders } from "./support-operations.ts";

let dist: string;
let program: string;
let stack: TestStack;
let alice: SignedIn;
before(async () => {
  dist = await mkdtemp(join(tmpdir(), "countersign-bundle-"));
  program = await buildInto(dist);
  stack = await startTestStack({ gateway: { bundle: program } });
});
after(async () => {
  await stack?.stop();
  await rm(dist, { recursive: true, force: true });
});

test("it starts with no package beside it, and says from which Node on", async () => {
  const manifest = JSON.parse(await readFile(join(dirname(program), "package.json"), "utf8")) as {
    readonly version: string;
    readonly dependencies?: unknown;
    readonly engines: { readonly node: string };
  };
  assert.equal(manifest.dependencies, undefined);
  const least = Number(/^>=(\d+)$/.exec(manifest.engines.node)?.[1]);
  assert(Number(process.versions.node.split(".")[0]) >= least);
  const { code, out } = await runCommand(["--version"], { program, cwd: dist });
  assert.deepEqual([code, out], [0, `${manifest.version}\n`]);
});

test("a browser signs in, publishes, and reads its message back with the verified sender", async () => {
  alice = await signInAs("alice", stack.gatewayUrl);
  const stream = await stack.stream(["orders.eu.>"], { headers: alice.headers });
  const path = "/v1/publish?subject=orders.eu.1.create";
  const answer = await stack.call(path, { method: "POST", headers: alice.headers, body: "three apples" });
  assert.equal(answer.status, 202);
  const [event] = await stream.read(1);
  const { subject, data, sender, txn } = event?.data ?? {};
  assert.deepEqual(
    { subject, data, sender, txn },
    {
      subject: "orders.eu.1.create",
      data: "three apples",
      sender: { verified: true, user: "demo-alice", issuer: "demo" },
      txn: answer.json().txn,
    },
  );

  const out = await stack.call("/auth/logout", { method: "POST", headers: alice.headers });
  assert.equal(out.status, 200);
  assert.deepEqual((await endOf(stream))?.data, { code: "logout", reconnect: false });
  assert.equal((await stack.call("/v1/whoami", { headers: alice.headers })).status, 401);
});

test("a subscriber that knows only the key set verifies it, and so does the bundled command", async () => {
  const [stored] = (await storedOrders(stack)).filter(({ txn }) => txn !== undefined);
  assert(stored);
  const keys = remoteKeySet({ url: `${stack.gatewayUrl}/.well-known/jwks.json` });
  const verify = createVerifier({ issuer: stack.gatewayUrl, audience: TRUST_DOMAIN, keys });
  const { subject, headers, payload, storedAt } = stored;
  const bytes = Buffer.from(payload);
  const verified = await verify({ subject, headers, payload: bytes, brokerTime: storedAt });
  assert.equal(verified.sender.user, "demo-alice");

  const where = ["--issuer", stack.gatewayUrl, "--audience", TRUST_DOMAIN];
  const stdin = JSON.stringify({ subject, headers, payload, brokerTime: storedAt });
  const { code, out } = await runCommand(["verify", ...where], { program, stdin });
  assert.equal(code, 0);
  assert.match(out, /^verified {2}orders\.eu\.1\.create {2}demo-alice /);
});

test("a machine client is known by its token, and may what its role says", async () => {
  const token = stack.token("inventory");
  const { code, out } = await runCommand(["whoami", "--at", stack.gatewayUrl], { program, stdin: token });
  assert.equal(code, 0, out);
  assert.match(out, /^kind {5}service$/m);
  const refused = await stack.call("/v1/publish?subject=orders.eu.1.create", {
    method: "POST",
    token,
    body: "x",
  });
  assert.equal(refused.status, 403);
});

test("it ends on SIGTERM", async () => {
  const gateway = stack.gateway();
  process.kill(gateway.pid, "SIGTERM");
  assert.equal(await gateway.exited, 0);
});
