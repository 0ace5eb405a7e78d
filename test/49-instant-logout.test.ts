/**
 * Whoever is signed out is out: on every gateway and every nats-server, whatever was open, and none of it gets back in
 * with what it holds. Here with three servers and two gateways, each of which ends what it carries itself.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { after, before, describe, type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { DemoUserId } from "@countersign/devstack/demo-users.ts";
import type { NatsServer } from "@countersign/devstack/nats-server.ts";
import { jwtAuthenticator, wsconnect } from "@nats-io/nats-core";
import { createUser } from "@nats-io/nkeys";
import { connect, type NodeConnectionOptions } from "@nats-io/transport-node";
import { WebSocket } from "ws";
import { type Answer, openStream, send } from "./support.ts";
import { type ClusterGateway, startTestCluster, type TestCluster } from "./support-cluster.ts";
import { eventually, runCommand, type SignedIn, signInAs } from "./support-operations.ts";

const POLICY = (may: string): string => `version: 1
roles:
  clerk: { given-to: [ { issuer: demo, groups: Orders.Clerks } ], may: [ ${may} ], limits: { payload: 1MiB } }
  operator: { given-to: [ { issuer: demo, groups: Audit } ], may: [ push-policy, end-sessions ] }
`;
const ALL = POLICY("connect native, connect direct, publish lab.>, subscribe lab.>");

let cluster: TestCluster;
before(async () => {
  cluster = await startTestCluster({ policy: ALL, direct: true });
});
after(() => cluster?.stop());

/** What somebody presents, in the ways of each kind of client. */
interface Proof {
  readonly headers: Readonly<Record<string, string>>;
}

function token(who: DemoUserId): Proof {
  return { headers: { authorization: `Bearer ${cluster.provider.tokenFor(who)}` } };
}

async function session(who: DemoUserId, browser?: SignedIn["browser"]): Promise<Proof & SignedIn> {
  return await signInAs(who, cluster.first.url, browser);
}

/** Something that is open. */
interface Open {
  readonly what: string;
  /** Fulfils with the time at which it ended. */
  readonly ended: Promise<number>;
  readonly isOpen: () => boolean;
  readonly close: () => unknown;
  /** Rejects when it does not get in again with what it holds. */
  readonly again: () => Promise<Open>;
}

type Opener = (proof: Proof) => Promise<Open>;

function openOf(
  what: string,
  over: Promise<unknown>,
  close: () => unknown,
  again: () => Promise<Open>,
): Open {
  let open = true;
  const ended = over.then(() => {
    open = false;
    return performance.now();
  });
  return { what, ended, isOpen: () => open, close, again };
}

function streamAt({ url }: ClusterGateway, name: string): Opener {
  return async function opener(proof): Promise<Open> {
    const reader = await openStream(`${url}/v1/subscribe?subject=lab.%3E`, { headers: proof.headers });
    return openOf(`SSE at ${name}`, reader.ended, reader.leave, () => opener(proof));
  };
}

function nativeAt({ url }: ClusterGateway, name: string): Opener {
  return async function opener(proof): Promise<Open> {
    const connection = await wsconnect({
      servers: `${url.replace("http", "ws")}/v1/nats`,
      reconnect: false,
      wsFactory: async (at) => ({
        socket: new WebSocket(at, { headers: { ...proof.headers } }) as unknown as globalThis.WebSocket,
        encrypted: false,
      }),
    });
    const close = (): Promise<void> => connection.close();
    return openOf(`native at ${name}`, connection.closed(), close, () => opener(proof));
  };
}

/** Past the gateway, with a credential that one gateway gave and the auth callout of any judges. */
function directAt({ url }: ClusterGateway, { url: server }: NatsServer, name: string): Opener {
  return async function opener(proof): Promise<Open> {
    const userKey = createUser();
    const answer = await send(`${url}/v1/credentials`, {
      method: "POST",
      headers: { ...proof.headers, "content-type": "text/plain" },
      body: userKey.getPublicKey(),
    });
    assert.equal(answer.status, 200, answer.text);
    const { jwt, inboxPrefix } = answer.json();
    const authenticator = jwtAuthenticator(String(jwt), userKey.getSeed());
    return await dialDirect(`credential at ${name}`, server, {
      authenticator,
      inboxPrefix: String(inboxPrefix),
    });
  };
}

/** Past the gateway, with the very token. */
function tokenAt({ url: server }: NatsServer, name: string): Opener {
  return async ({ headers: { authorization = "" } }) =>
    await dialDirect(`token at ${name}`, server, { token: authorization.slice("Bearer ".length) });
}

async function dialDirect(what: string, server: string, how: NodeConnectionOptions): Promise<Open> {
  const dialled = { ...how, servers: server, reconnect: false, ignoreClusterUpdates: true, timeout: 15_000 };
  const connection = await connect(dialled);
  // What it held before it was ended, not what it could get now.
  const again = (): Promise<Open> => dialDirect(what, server, how);
  return openOf(what, connection.closed(), () => connection.close(), again);
}

/** One of each kind, everywhere. */
function openers({ headers }: Proof): readonly Opener[] {
  const { first, second, servers } = cluster;
  const direct = servers.flatMap((server, index) => [
    directAt(index === 1 ? second : first, server, `n${index + 1}`),
    ...(headers.authorization === undefined ? [] : [tokenAt(server, `n${index + 1}`)]),
  ]);
  return [
    ...direct,
    streamAt(first, "first"),
    streamAt(second, "second"),
    nativeAt(first, "first"),
    nativeAt(second, "second"),
  ];
}

/** One after another: nats.js keeps the kind of its connections, TCP or WebSocket, for the whole process. */
async function openAll(proof: Proof): Promise<readonly Open[]> {
  const opened: Open[] = [];
  for (const open of openers(proof)) opened.push(await open(proof));
  return opened;
}

async function openAllOf(proofs: readonly Proof[]): Promise<readonly (readonly Open[])[]> {
  const opened: (readonly Open[])[] = [];
  for (const proof of proofs) opened.push(await openAll(proof));
  return opened;
}

/** A call that signs somebody out, with when it was made. */
interface Call {
  readonly answer: Answer;
  readonly sentAt: number;
  readonly acknowledgedAt: number;
}

async function timed(calling: () => Promise<Answer>): Promise<Call> {
  const sentAt = performance.now();
  const answer = await calling();
  assert.equal(answer.status, 200, answer.text);
  return { answer, sentAt, acknowledgedAt: performance.now() };
}

/** All of it ends, and gets in nowhere; how long that took is told, not judged. */
async function allEnd(
  t: TestContext,
  opened: readonly Open[],
  { sentAt, acknowledgedAt }: Call,
): Promise<void> {
  const last = Math.max(...(await Promise.all(opened.map(({ ended }) => ended))));
  const [fromSent, fromAnswer] = [last - sentAt, last - acknowledgedAt].map((ms) => ms.toFixed(1));
  t.diagnostic(
    `${opened.length} ended, the last one ${fromSent} ms after the call was sent, ${fromAnswer} ms after its answer`,
  );
  for (const { what, again } of opened) {
    // The other gateway hears of it from NATS.
    await eventually(`${what} to be refused`, async () => {
      const back = await again().catch(() => undefined);
      await back?.close();
      return back === undefined ? true : undefined;
    });
  }
}

async function allStay(opened: readonly Open[]): Promise<void> {
  for (const { what, isOpen, close } of opened) {
    assert(isOpen(), `${what} is open still`);
    await close();
  }
}

function logout({ headers }: SignedIn): Promise<Answer> {
  return send(`${cluster.first.url}/auth/logout`, { method: "POST", headers });
}

function backChannel(claims: object): Promise<Answer> {
  const now = Math.floor(Date.now() / 1000);
  const { issuer, gatewayClient, sign } = cluster.provider;
  const usual = { iss: issuer, aud: gatewayClient.id, iat: now, exp: now + 120, jti: randomUUID() };
  const events = { "http://schemas.openid.net/event/backchannel-logout": {} };
  const logoutToken = sign({ ...usual, events, ...claims }, { typ: "logout+jwt" });
  return send(`${cluster.second.url}/auth/backchannel-logout`, {
    method: "POST",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({ logout_token: logoutToken }).toString(),
  });
}

function kick(body: unknown, who: DemoUserId = "carol"): Promise<Answer> {
  return send(`${cluster.first.adminUrl}/v1/kick`, {
    method: "POST",
    token: cluster.provider.tokenFor(who),
    body: JSON.stringify(body),
  });
}

describe("signing out", () => {
  test("ends what the session opened, everywhere, and nothing else of the user", async (t) => {
    const [alice, elsewhere] = [await session("alice"), await session("alice")];
    const [mine, others, tokens] = await openAllOf([alice, elsewhere, token("alice")]);
    assert(mine && others && tokens);
    const call = await timed(() => logout(alice));
    await allEnd(t, mine, call);
    await allStay([...others, ...tokens]);
  });

  test("at the provider, by its session id, ends that session everywhere", async (t) => {
    const former = await session("alice");
    const out = await logout(former);
    const sid = new URL(String(out.json().location)).searchParams.get("logout_hint");
    const alice = await session("alice", former.browser);
    const [mine, tokens] = await openAllOf([alice, token("alice")]);
    assert(mine && tokens);
    await allEnd(t, mine, await timed(() => backChannel({ sid })));
    await allStay(tokens);
  });

  test("at the provider, by the user, ends all of the user and nobody else", async (t) => {
    const proofs = [await session("bob"), token("bob"), token("alice")];
    const [sessions, tokens, others] = await openAllOf(proofs);
    assert(sessions && tokens && others);
    await allEnd(t, [...sessions, ...tokens], await timed(() => backChannel({ sub: "bob" })));
    await allStay(others);
  });
});

describe("countersign kick", () => {
  test("ends all of a user, says what ended where, and lets a new sign-in in", async (t) => {
    const proofs = [await session("bob"), await freshToken("bob"), token("alice")];
    const [sessions, tokens, others] = await openAllOf(proofs);
    assert(sessions && tokens && others);
    const call = await timed(() => kick({ user: "demo-bob" }));
    const { user, notBefore, ended, notReached } = call.answer.json();
    assert.deepEqual([user, notReached], ["demo-bob", []]);
    assert.match(String(notBefore), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    t.diagnostic(JSON.stringify(ended));
    assert((ended as readonly { readonly way: string }[]).some(({ way }) => way === "gateway"));
    await allEnd(t, [...sessions, ...tokens], call);
    await allStay(others);
    for (const { close } of await openAll(await session("bob"))) await close();
    for (const { close } of await openAll(await freshToken("bob"))) await close();
  });

  test("as a command does so, and says so", async () => {
    const opened = await openAll(await session("bob"));
    const env = { COUNTERSIGN_TOKEN: cluster.provider.tokenFor("carol") };
    const ran = await runCommand(["kick", "demo-bob", "--at", cluster.second.adminUrl], { env });
    assert.deepEqual([ran.code, ran.err], [0, ""]);
    assert.match(ran.out, /^demo-bob: refused if proved before \d{4}-.*\n(?:ended: \d+ .* on n\d\n)+$/);
    await Promise.all(opened.map(({ ended }) => ended));
    const nobody = await runCommand(["kick", "demo-nobody", "--json", "--at", cluster.second.adminUrl], {
      env,
    });
    const { ended, notReached } = JSON.parse(nobody.out);
    assert.deepEqual([nobody.code, ended, notReached], [0, [], []]);
  });

  test("is for who may end sessions, for one user, and stands in the record before it happens", async () => {
    const refused = await kick({ user: "demo-bob" }, "alice");
    assert.equal(refused.status, 403);
    const bodies = [{}, { user: "bob" }, { user: 1 }, { user: "demo-bob", all: true }, "demo-bob", []];
    for (const body of [...bodies, { user: `demo-${"b".repeat(300)}` }])
      assert.equal((await kick(body)).status, 400, JSON.stringify(body));
    const anonymous = await send(`${cluster.first.adminUrl}/v1/kick`, { method: "POST", body: "{}" });
    assert.equal(anonymous.status, 401);
    const ran = await runCommand(["kick", "demo-bob", "--at", cluster.first.adminUrl], {
      env: { COUNTERSIGN_TOKEN: cluster.provider.tokenFor("alice") },
    });
    assert.equal(ran.code, 1);
    const records = (await readFile(cluster.first.auditFile, "utf8")).split("\n").filter(Boolean);
    const kicks = records
      .map((line) => JSON.parse(line))
      .filter(({ action }) => /^end-sessions/.test(action));
    assert(
      kicks.some(
        ({ action, outcome, user }) =>
          action === "end-sessions demo-bob" && outcome === "allowed" && user === "demo-carol",
      ),
    );
    assert(kicks.some(({ outcome, user }) => outcome === "refused" && user === "demo-alice"));
  });
});

describe("another policy", () => {
  test("ends what is no longer granted, everywhere, and it gets in nowhere", async (t) => {
    const [alices, bobs] = await openAllOf([token("alice"), await freshToken("bob")]);
    assert(alices && bobs);
    await allEnd(t, [...alices, ...bobs], await timed(() => push(POLICY("publish lab.>"))));
    assert.equal((await push(ALL)).status, 200);
  });
});

describe("direct connections", () => {
  test("that are being made at the moment of a kick are refused or cut: none is left", async (t) => {
    const proof = await freshToken("bob");
    const [server] = cluster.servers;
    assert(server);
    const open = tokenAt(server, "n1");
    const counted = { refused: 0, cut: 0 };
    const attempts: Promise<void>[] = [];
    const attempt = async (): Promise<void> => {
      const opened = await open(proof).catch(() => undefined);
      counted[opened ? "cut" : "refused"] += 1;
      await opened?.ended;
    };
    const first = await open(proof);
    for (let count = 0; count < 20; count += 1) attempts.push(attempt());
    const kicking = kick({ user: "demo-bob" });
    let kicked = false;
    void kicking.then(() => {
      kicked = true;
    });
    // Turn by turn until the kick is answered, so that connects stand at every step of it.
    while (!kicked && attempts.length < 200) {
      attempts.push(attempt());
      await delay(2);
    }
    const { notReached } = (await kicking).json();
    assert.deepEqual(notReached, []);
    await Promise.all([first.ended, ...attempts]);
    t.diagnostic(JSON.stringify(counted));
    await assert.rejects(open(proof), /Authorization Violation/);
  });

  test("under another policy stay where its Grant is the same, whichever gateway let them in", async () => {
    const extra = "  extra: { given-to: [ { issuer: demo, user: alice } ], may: [ subscribe extra.> ] }\n";
    assert.equal((await push(ALL + extra)).status, 200);
    const [bobs] = await openAllOf([await freshToken("bob")]);
    const alices = await openAll(token("alice"));
    const before = await sweeps();
    assert.equal((await push(ALL)).status, 200);
    const direct = ({ what }: Open): boolean => /^(?:token|credential)/.test(what);
    for (const { ended } of alices.filter(direct)) await ended;
    await sweptSince(before);
    await allStay(bobs ?? []);
    for (const { close } of alices) await close();
  });

  test("that a gateway let in which is gone since end with their session all the same", async (t) => {
    const [alice, elsewhere] = [await session("alice"), await session("alice")];
    const opened = [...(await openAll(alice)), ...(await openAll(alice))];
    const others = await openAll(elsewhere);
    const pid = cluster.second.gateway.pid;
    process.kill(pid, "SIGKILL");
    const here = ({ what }: Open): boolean => !what.endsWith("second");
    await allEnd(t, opened.filter(here), await timed(() => logout(alice)));
    await allStay(others.filter(here));
  });
});

/** How often each gateway has looked through the cluster's connections. */
async function sweeps(): Promise<readonly number[]> {
  const texts = await Promise.all(
    [cluster.first, cluster.second].map(async ({ adminUrl }) => (await send(`${adminUrl}/metrics`, {})).text),
  );
  return texts.map((text) => Number(/^countersign_direct_sweeps_total (\d+)$/m.exec(text)?.[1]));
}

async function sweptSince(before: readonly number[]): Promise<void> {
  await eventually("both gateways to look through the cluster", async () => {
    const now = await sweeps();
    return now.every((count, index) => count > (before[index] ?? 0)) ? true : undefined;
  });
}

function push(text: string): Promise<Answer> {
  return send(`${cluster.first.adminUrl}/v1/policy`, {
    method: "POST",
    token: cluster.provider.tokenFor("carol"),
    body: JSON.stringify({ files: [{ path: "policy.yaml", text }] }),
  });
}

/** Tokens have whole seconds: one of the second in which its user was signed out is refused too. */
async function freshToken(who: DemoUserId): Promise<Proof> {
  return await eventually(`a token of ${who} that counts`, async () => {
    const proof = token(who);
    const answer = await send(`${cluster.first.url}/v1/whoami`, { headers: { ...proof.headers } });
    const other = await send(`${cluster.second.url}/v1/whoami`, { headers: { ...proof.headers } });
    return answer.status === 200 && other.status === 200 ? proof : undefined;
  });
}
