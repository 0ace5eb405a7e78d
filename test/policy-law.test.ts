/**
 * The law that holds policy and NATS together: for generated policies, identities and subjects, nats-server,
 * given the credential minted from a Grant, lets through exactly what `decide` allows under the same Grant, and
 * never delivers to a wildcard subscription what `decide` would not allow by itself.
 *
 * LAW_CASES says how many (default 250), LAW_SEED repeats a run.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type NatsServer, startNatsServer } from "@countersign/devstack/nats-server.ts";
import { encodeNatsJwt } from "countersign/credentials/nats-jwt.ts";
import { createNkey } from "countersign/credentials/nkey.ts";
import { mintCredential } from "countersign/credentials/user.ts";
import type { Action } from "countersign/policy/action.ts";
import { compileGrant, crudeRules } from "countersign/policy/compile.ts";
import { decide } from "countersign/policy/decide.ts";
import type { Grant, NatsPermissions } from "countersign/policy/grant.ts";
import { parsePolicy } from "countersign/policy/parse.ts";
import { includes } from "countersign/policy/pattern.ts";
import { needsInbox, permissionsOf } from "countersign/policy/permissions.ts";
import fc from "fast-check";
import { drawSubjects, identityOf, type LawCase, lawCase, policyText, SEAMS } from "./policy-law-cases.ts";
import { connectByHand, type WireClient } from "./wire-client.ts";

const CASES = Number(process.env.LAW_CASES ?? 250);
const SEED = Number(process.env.LAW_SEED ?? Math.floor(Math.random() * 2 ** 31));
const INBOX = "_INBOX.law";
const UNLIMITED = {
  subs: -1,
  data: -1,
  payload: -1,
  imports: -1,
  exports: -1,
  wildcards: true,
  conn: -1,
  leaf: -1,
  disallow_bearer: true,
  mem_storage: 0,
  disk_storage: 0,
  streams: 0,
  consumer: 0,
};

const operator = createNkey("operator");
const account = createNkey("account");
const user = createNkey("user");
let server: NatsServer;
let everybody: WireClient;

before(async () => {
  const now = Date.now() / 1000;
  const operatorJwt = encodeNatsJwt<"operator">({
    name: "law",
    subject: operator.publicKey,
    signer: operator,
    issuedAt: now,
    claims: { type: "operator" },
  });
  const accountJwt = encodeNatsJwt<"account">({
    name: "LAW",
    subject: account.publicKey,
    signer: operator,
    issuedAt: now,
    claims: { type: "account", limits: UNLIMITED },
  });
  const preload = `resolver: MEMORY\nresolver_preload: { ${account.publicKey}: ${accountJwt} }`;
  server = await startNatsServer({ config: `operator: ${operatorJwt}\n${preload}\nmax_control_line: 1MB\n` });
  everybody = await connectAs({ pub: { allow: [">"] }, sub: { allow: [">"] } });
});

after(async () => {
  everybody?.close();
  await server?.stop();
});

// Ten times what a case takes on an idle machine.
const TIMEOUT_MS = 60_000 + CASES * 750;

test("decide() and nats-server agree on every generated policy, identity and subject", {
  timeout: TIMEOUT_MS,
}, async (t) => {
  t.diagnostic(`LAW_SEED=${SEED} LAW_CASES=${CASES}`);
  const examples = SEAMS.map((seam): [LawCase] => [seam]);
  await fc.assert(fc.asyncProperty(lawCase, judge), { numRuns: CASES + SEAMS.length, seed: SEED, examples });
});

async function judge(given: LawCase): Promise<void> {
  const now = Date.now() / 1000;
  const parsed = parsePolicy([{ path: "law.yaml", text: policyText(given) }]);
  assert(parsed.ok, "every generated policy can be read");
  const grant = compileGrant(parsed.policy, identityOf(given, now), now);
  const { literals, wildcards } = drawSubjects(grant, given.entropy);
  const client = await connectAs(permissionsOf(grant, INBOX), grant);
  try {
    await judgePublishing(client, grant, literals);
    await judgeStores(client, grant, [...literals, ...wildcards]);
    await judgeSubscribing(client, grant, literals);
    await judgeReplies(client, grant, literals);
  } finally {
    client.close();
  }
  for (const wildcard of wildcards) {
    for (const queue of [undefined, "q1"]) await judgeWildcard(grant, wildcard, queue, literals);
  }
}

/** A message gets through if and only if `decide` allows it, as a publish or, with a reply subject, as a request. */
async function judgePublishing(client: WireClient, grant: Grant, subjects: readonly string[]): Promise<void> {
  everybody.send("SUB > all");
  await everybody.flush();
  client.send(...subjects.flatMap((subject) => [`PUB ${subject} 0`, ""]));
  await client.flush();
  const { deliveries } = await everybody.flush();
  everybody.send("UNSUB all");
  const expected = subjects.filter((subject) => decide(grant, { verb: "publish", subject }).ok);
  assert.deepEqual(deliveries.map(({ subject }) => subject).sort(), [...expected].sort());

  client.send(`SUB ${INBOX}.> inbox`);
  const inbox = (await client.flush()).errors.length === 0;
  assert.equal(inbox, needsInbox(grant));
  for (const subject of subjects) {
    const request = decide(grant, { verb: "request", subject }).ok;
    assert.equal(request, inbox && expected.includes(subject), `request ${subject}`);
  }
  client.send("UNSUB inbox");
}

/** What reading and writing streams and buckets comes down to: publishing to the subjects of JetStream. */
async function judgeStores(client: WireClient, grant: Grant, subjects: readonly string[]): Promise<void> {
  const cases = subjects.flatMap((subject): (readonly [Action, string])[] => [
    [{ verb: "write-kv", bucket: "K", key: subject }, `$KV.K.${subject}`],
    [{ verb: "read-kv", bucket: "K", key: subject }, `$JS.API.DIRECT.GET.KV_K.$KV.K.${subject}`],
    [{ verb: "read-stream", stream: "S", subject }, `$JS.API.CONSUMER.CREATE.S.${grant.user}-1.${subject}`],
    [
      { verb: "read-stream", stream: "S", subject, consumer: "x" },
      `$JS.API.CONSUMER.CREATE.S.${grant.user}-x.${subject}`,
    ],
  ]);
  // Writing under a wildcard is refused by us and merely odd to the server.
  const judged = cases.filter(([{ verb }, subject]) => verb !== "write-kv" || !/[*>]/.test(subject));
  client.send(...judged.flatMap(([, subject]) => [`PUB ${subject} 0`, ""]));
  const refused = new Set((await client.flush()).errors);
  for (const [action, subject] of judged) {
    const error = `'Permissions Violation for Publish to "${subject}"'`;
    assert.equal(!refused.has(error), decide(grant, action).ok, JSON.stringify(action));
  }
  await judgeUpkeep(client, grant);
  const others = [
    `$JS.API.CONSUMER.CREATE.S.other.a`,
    `$JS.API.CONSUMER.DELETE.S.other`,
    `$JS.API.CONSUMER.DELETE.S.${grant.user}-x`,
    `$JS.FC.S.other.1`,
    `$JS.API.CONSUMER.MSG.NEXT.S.other`,
    `$JS.API.CONSUMER.MSG.NEXT.KV_K.other`,
    `$JS.API.STREAM.INFO.S`,
    `$JS.ACK.S.other.1.1.1.1.1`,
  ];
  client.send(...others.flatMap((subject) => [`PUB ${subject} 0`, ""]));
  assert.equal(
    (await client.flush()).errors.length,
    others.length,
    "nothing of JetStream that is not one's own",
  );
}

/** Numbered consumers may be pulled from, deleted, and told when they may send more, by whoever reads through them. */
async function judgeUpkeep(client: WireClient, grant: Grant): Promise<void> {
  for (const stream of ["S", "KV_K"]) {
    const consumer = `${stream}.${grant.user}-1`;
    const asked = ["API.CONSUMER.MSG.NEXT", "API.CONSUMER.DELETE"].map((ask) => `$JS.${ask}.${consumer}`);
    client.send(...[...asked, `$JS.FC.${consumer}.x`].flatMap((subject) => [`PUB ${subject} 0`, ""]));
    const { errors } = await client.flush();
    const reads = grant.may.some(
      ({ verb, object }) =>
        object?.consumers === undefined &&
        ((verb === "read-stream" && object?.stream === stream) ||
          (verb === "read-kv" && `KV_${object?.bucket}` === stream)),
    );
    assert.equal(errors.length, reads ? 0 : 3, `upkeep of ${consumer}`);
  }
}

/** A literal subscription is taken, and delivers, if and only if `decide` allows it; each queue by itself. */
async function judgeSubscribing(
  client: WireClient,
  grant: Grant,
  subjects: readonly string[],
): Promise<void> {
  const asked = subjects.flatMap((subject) => [undefined, "q1", "q3"].map((queue) => ({ subject, queue })));
  client.send(...asked.map(({ subject, queue }, sid) => `SUB ${subject} ${queue ? `${queue} ` : ""}s${sid}`));
  await client.flush();
  everybody.send(...subjects.flatMap((subject) => [`PUB ${subject} 0`, ""]));
  await everybody.flush();
  const { deliveries } = await client.flush();
  const reached = new Set(deliveries.map(({ sid }) => sid));
  for (const [sid, { subject, queue }] of asked.entries()) {
    const expected = decide(grant, { verb: "subscribe", subject, ...(queue !== undefined && { queue }) }).ok;
    assert.equal(reached.has(`s${sid}`), expected, `subscribe ${subject} ${queue ?? ""}`);
  }
  client.send(...asked.map((_, sid) => `UNSUB s${sid}`));
  await client.flush();
}

/** One who responds may answer what reached it, once, wherever the answer goes; nobody else may. */
async function judgeReplies(client: WireClient, grant: Grant, subjects: readonly string[]): Promise<void> {
  const subject = subjects.find((one) => decide(grant, { verb: "subscribe", subject: one }).ok);
  if (subject === undefined) return;
  client.send(`SUB ${subject} r`);
  everybody.send("SUB back b");
  await client.flush();
  await everybody.flush();
  everybody.send(`PUB ${subject} back 0`, "");
  await everybody.flush();
  await client.flush();
  client.send("PUB back 0", "", "PUB back 0", "");
  await client.flush();
  const { deliveries } = await everybody.flush();
  everybody.send("UNSUB b");
  const responds = grant.may.some(({ verb }) => verb === "respond");
  assert.equal(deliveries.length, responds ? 1 : 0, `reply after ${subject}`);
}

/**
 * On a connection of its own, since one filtered subscription makes nats-server filter the others too. Under a
 * Grant that nats-server can keep by itself, whatever it takes delivers nothing else than what `decide` allows;
 * otherwise that holds for what `decide` lets the gateway subscribe to.
 */
async function judgeWildcard(
  grant: Grant,
  wildcard: string,
  queue: string | undefined,
  universe: readonly string[],
): Promise<void> {
  const asking = queue === undefined ? {} : { queue };
  const decided = decide(grant, { verb: "subscribe", subject: wildcard, ...asking }).ok;
  if (!decided && crudeRules(grant.may, grant.never).length > 0) return;
  const client = await connectAs(permissionsOf(grant, INBOX), grant);
  try {
    client.send(`SUB ${wildcard} ${queue ? `${queue} ` : ""}w`);
    const { errors } = await client.flush();
    everybody.send(...universe.flatMap((subject) => [`PUB ${subject} 0`, ""]));
    await everybody.flush();
    const { deliveries } = await client.flush();
    const allowed = universe.filter((subject) => decide(grant, { verb: "subscribe", subject, ...asking }).ok);
    for (const { subject } of deliveries) {
      assert(allowed.includes(subject), `subscribe ${wildcard} ${queue ?? ""} delivers ${subject}`);
    }
    if (!decided) return;
    assert.deepEqual(errors, [], `nats-server takes subscribe ${wildcard} ${queue ?? ""}`);
    const expected = allowed.filter((subject) => includes(wildcard, subject));
    assert.deepEqual(deliveries.map(({ subject }) => subject).sort(), expected.sort());
  } finally {
    client.close();
  }
}

function connectAs(permissions: NatsPermissions, grant?: Grant): Promise<WireClient> {
  const now = Date.now() / 1000;
  const minted = mintCredential({
    identity: identityOf({ id: "any" } as LawCase, now),
    grant: grant ?? ({ limits: { credentialSeconds: 86_400 } } as Grant),
    permissions,
    userPublicKey: user.publicKey,
    signer: { accountPublicKey: account.publicKey, signingKey: account },
    now,
    inboxPrefix: INBOX,
    controlLineBytesMax: 1_000_000,
    dangerouslyWithoutTrustedProxy: true,
  });
  assert(minted.ok, "every generated grant fits into a credential");
  return connectByHand(server.url, minted.value.jwt, user);
}
