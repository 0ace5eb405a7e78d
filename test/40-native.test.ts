/**
 * An unmodified NATS client comes in over a WebSocket under the identity of its token: what it publishes is sealed, what
 * it may not do is refused in nats-server's own words, and its credential is renewed behind its back.
 */
import assert from "node:assert/strict";
import { rename, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { TRUST_DOMAIN } from "@countersign/devstack/stack.ts";
import { createVerifier, remoteKeySet, type Verifier } from "@countersign/seal";
import { headers, type Msg, type NatsConnection, type Subscription, wsconnect } from "@nats-io/nats-core";
import { versionOf } from "countersign/policy/parse.ts";
import { connectNative, nativeUrl } from "./native-client.ts";
import { type JsonObject, startTestStack, type TestStack } from "./support.ts";

const POLICY = `
version: 1
subjects:
  lab.token.>: { seal: token }
  lab.durable.>: { audit: durable }
roles:
  everybody:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may:
      - connect native
      - publish lab.>
      - subscribe lab.>
      - publish work.>
      - subscribe work.> queue workers
      - request inventory.check
      - request echo.>
      - respond echo.>
    # A credential is renewed after 60–70 % of this.
    limits: { payload: 1MiB, credential: 30s, connections: 8 }
  auditor:
    given-to: [ { issuer: demo, groups: Audit } ]
    may: [ read-audit ]
`;

let stack: TestStack;
let alice: NatsConnection;
let bob: NatsConnection;
let verify: Verifier;
before(async () => {
  stack = await startTestStack({ policy: POLICY });
  verify = createVerifier({
    issuer: stack.gatewayUrl,
    audience: TRUST_DOMAIN,
    keys: remoteKeySet({ url: `${stack.gatewayUrl}/.well-known/jwks.json` }),
  });
  [alice, bob] = await Promise.all([connectNative(stack, "alice"), connectNative(stack, "bob")]);
});
after(async () => {
  await Promise.all([alice?.close(), bob?.close()]);
  await stack?.stop();
});

async function take(sub: Subscription, count: number): Promise<Msg[]> {
  const taken: Msg[] = [];
  for await (const msg of sub) if (taken.push(msg) === count) break;
  return taken;
}

describe("messages", () => {
  test("arrive countersigned in the form their subject asks for, with the client's own headers", async () => {
    const sub = bob.subscribe("lab.>");
    await bob.flush();
    const own = headers();
    own.set("Kind", "apples");
    own.append("Kind", "pears");
    own.set("traceparent", `00-${"a".repeat(32)}-${"b".repeat(16)}-01`);
    alice.publish("lab.one", "1", { headers: own });
    alice.publish("lab.token.two", "2");
    const [one, two] = await take(sub, 2);
    assert(one && two);
    assert.deepEqual(one.headers?.values("Kind"), ["apples", "pears"]);
    // A trace that a client chose, and marked as sampled, would make nats-server publish it.
    assert.match(one.headers?.get("traceparent") ?? "", /^00-(?!a{32})[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    assert.equal(one.headers?.has("Seal-Root"), true);
    assert.equal(two.headers?.has("Txn-Token"), true);
    for (const msg of [one, two]) {
      const verified = await verify(msg);
      assert.equal(verified.sender.user, "demo-alice");
      assert.equal(verified.subject, msg.subject);
    }
  });

  test("of one turn share one signature", async () => {
    const sub = bob.subscribe("lab.many");
    await bob.flush();
    for (let n = 0; n < 50; n += 1) alice.publish("lab.many", String(n));
    const roots = new Set((await take(sub, 50)).map((msg) => msg.headers?.get("Seal-Root")));
    assert.equal(roots.size, 1);
  });

  test("of 900 kB go through both ways", async () => {
    const sub = bob.subscribe("lab.large");
    await bob.flush();
    const payload = new Uint8Array(900_000).map((_, at) => at % 251);
    alice.publish("lab.large", payload);
    const [msg] = await take(sub, 1);
    assert(msg && Buffer.from(msg.data).equals(payload));
    assert.equal((await verify(msg)).sender.user, "demo-alice");
  });

  test("go to one of a queue group", async () => {
    const workers = [bob, alice].map((nc) => nc.subscribe("work.>", { queue: "workers" }));
    const counts = [0, 0];
    const readers = workers.map(async (sub, index) => {
      for await (const _ of sub) counts[index] = (counts[index] ?? 0) + 1;
    });
    await Promise.all([alice.flush(), bob.flush()]);
    for (let n = 0; n < 200; n += 1) alice.publish(`work.${n}`);
    await alice.flush();
    await Promise.all(workers.map((sub) => sub.drain()));
    await Promise.all(readers);
    const [left = 0, right = 0] = counts;
    assert.equal(left + right, 200);
    assert(left > 0 && right > 0, `one worker got all: ${counts}`);
  });

  test("that were published before drain() arrive before it ends", async () => {
    const nc = await connectNative(stack, "alice");
    const sub = nc.subscribe("lab.drain");
    const read: string[] = [];
    const done = (async () => {
      for await (const msg of sub) read.push(msg.string());
    })();
    await nc.flush();
    for (let n = 0; n < 500; n += 1) alice.publish("lab.drain", String(n));
    await alice.flush();
    await nc.drain();
    await done;
    assert.deepEqual(
      read,
      Array.from({ length: 500 }, (_, n) => String(n)),
    );
  });

  test("come no more after as many as were asked for", async () => {
    const sub = bob.subscribe("lab.max", { max: 3 });
    await bob.flush();
    for (let n = 0; n < 5; n += 1) alice.publish("lab.max", String(n));
    const read: string[] = [];
    for await (const msg of sub) read.push(msg.string());
    assert.deepEqual(read, ["0", "1", "2"]);
  });
});

describe("requests", () => {
  test("are answered, and one that nobody answers fails at once", async () => {
    const reply = await alice.request("inventory.check", "apples", { timeout: 5_000 });
    assert(reply.data.length > 0);
    await assert.rejects(alice.request("echo.nobody", "", { timeout: 5_000 }), /no responders/);
    await assert.rejects(alice.request("echo.nobody", "", { timeout: 5_000, noMux: true }), /no responders/);
  });

  test("are answered by native clients too, by a seal that names the request", async () => {
    const requests: Msg[] = [];
    const watched = stack.admin.subscribe("echo.sealed");
    await stack.admin.flush();
    const service = bob.subscribe("echo.sealed", {
      callback: (error, msg) => {
        if (error) return;
        requests.push(msg);
        msg.respond(msg.data);
      },
    });
    await bob.flush();
    const reply = await alice.request("echo.sealed", "hello", { timeout: 5_000 });
    assert.equal(reply.string(), "hello");
    const [seen] = await take(watched, 1);
    const id = seen?.headers?.get("Nats-Msg-Id") ?? "";
    const verified = await verify.reply(reply, { to: id });
    assert.equal(verified.sender.user, "demo-bob");
    await assert.rejects(verify.reply(reply, { to: "another" }));
    service.unsubscribe();
  });

  test("that came unsealed are answered unsealed", async () => {
    const service = bob.subscribe("echo.plain", { callback: (_, msg) => void msg.respond("plain") });
    await bob.flush();
    const reply = await stack.admin.request("echo.plain", "", { timeout: 5_000 });
    assert.equal(reply.string(), "plain");
    assert.equal(reply.headers, undefined);
    service.unsubscribe();
  });

  test("are answered once", async () => {
    const service = bob.subscribe("echo.twice", {
      callback: (_, msg) => {
        msg.respond("first");
        msg.respond("second");
      },
    });
    await bob.flush();
    const inbox = stack.admin.subscribe("_INBOX.twice");
    await stack.admin.flush();
    stack.admin.publish("echo.twice", "", { reply: "_INBOX.twice" });
    assert.equal((await take(inbox, 1))[0]?.string(), "first");
    await bob.flush();
    const again = stack.admin.subscribe("_INBOX.twice", { timeout: 300 });
    await assert.rejects(take(again, 1), /timeout/);
    // nats-server would have refused it as well; the gateway did.
    const refusal = stack.audit().find(({ action }) => action === "publish _INBOX.twice")?.refusal;
    assert.equal((refusal as JsonObject | undefined)?.reason, "not_granted");
    service.unsubscribe();
  });
});

/** The first error that a client is told of. */
async function errorOf(nc: NatsConnection, act: () => void): Promise<string> {
  const errors = (async () => {
    for await (const status of nc.status()) if (status.type === "error") return status.error.message;
    return "none";
  })();
  act();
  return await errors;
}

describe("what is not granted", () => {
  test("is refused in nats-server's words, and the connection goes on", async () => {
    const text = await errorOf(alice, () => alice.publish("secret.x", "1"));
    assert.equal(text, 'Permissions Violation for Publish to "secret.x"');
    const refusedSub = new Promise<string>((resolve) => {
      alice.subscribe("secret.>", { callback: (error) => resolve(error?.message ?? "") });
    });
    assert.equal(await refusedSub, 'Permissions Violation for Subscription to "secret.>"');
    const refusedQueue = new Promise<string>((resolve) => {
      alice.subscribe("work.>", { queue: "others", callback: (error) => resolve(error?.message ?? "") });
    });
    assert.match(
      await refusedQueue,
      /^Permissions Violation for Subscription to "work\.>" using queue "others"/,
    );
    await assert.rejects(
      alice.request("secret.y", "", { timeout: 5_000 }),
      /Permissions Violation for Publish/,
    );
    await alice.flush();
  });

  test("is nobody's inbox but one's own", async () => {
    const sub = new Promise<string>((resolve) => {
      const inbox = alice.subscribe("_INBOX.>", {
        callback: (error, msg) => resolve(error?.message ?? msg.subject),
      });
      setTimeout(() => inbox.unsubscribe(), 500);
      setTimeout(() => resolve("nothing"), 500);
    });
    await alice.flush();
    // Answers to bob and to the administrator pass by meanwhile.
    await bob.request("inventory.check", "apples", { timeout: 5_000 });
    await stack.admin.request("inventory.check", "apples", { timeout: 5_000 });
    assert.equal(await sub, "nothing");
  });

  test("is a connection where the policy names none, over HTTP and in CONNECT", async () => {
    await assert.rejects(connectNative(stack, "carol"), /Authorization Violation/);
    const upgrade = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" };
    const key = { "sec-websocket-key": Buffer.alloc(16).toString("base64") };
    const refused = await stack.call("/v1/nats", {
      token: stack.token("carol"),
      headers: { ...upgrade, ...key },
    });
    assert.equal(refused.status, 403);
    assert.equal(refused.json().code, "not_allowed");
    assert.equal(refused.headers["x-request-id"], refused.json().requestId);
    const plain = await stack.call("/v1/nats", { token: stack.token("alice") });
    assert.equal(plain.json().code, "invalid_request");
  });
});

describe("the way", () => {
  test("may cut what goes through it anywhere", async () => {
    const port = Number(new URL(stack.gatewayUrl).port);
    const relay = createServer((near) => {
      const far = connect(port, "127.0.0.1").setNoDelay();
      const byteByByte = (from: typeof near, to: typeof near): void => {
        from.on("data", (chunk: Buffer) => {
          for (const byte of chunk) to.write(Buffer.of(byte));
        });
        from.on("close", () => to.destroy()).on("error", () => to.destroy());
      };
      near.setNoDelay();
      byteByByte(near, far);
      byteByByte(far, near);
    });
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    const { port: relayed } = relay.address() as AddressInfo;
    const servers = `ws://127.0.0.1:${relayed}/v1/nats`;
    const nc = await wsconnect({ servers, token: stack.token("alice"), reconnect: false });
    const sub = nc.subscribe("lab.cut");
    await nc.flush();
    const payloads = Array.from({ length: 20 }, (_, n) => `${n}`.repeat(n * 10));
    for (const payload of payloads) nc.publish("lab.cut", payload);
    assert.deepEqual(
      (await take(sub, 20)).map((msg) => msg.string()),
      payloads,
    );
    assert((await nc.request("inventory.check", "apples", { timeout: 5_000 })).data.length > 0);
    await nc.close();
    relay.close();
  });
});

describe("renewal", () => {
  /** Renewed after 18 to 21 of its 30 seconds. */
  const WATCHED_MS = 22_500;

  test("under load loses nothing, doubles nothing, and changes no order; who waits for an answer gets it", async () => {
    const [publisher, reader, service] = await Promise.all([
      connectNative(stack, "alice"),
      connectNative(stack, "bob"),
      connectNative(stack, "bob"),
    ]);
    const clients = [publisher, reader, service];
    const before = clients.map((nc) => nc.info?.client_id);
    service.subscribe("echo.slow", {
      callback: (_, msg) => void delay(300).then(() => msg.respond(msg.data)),
    });
    await service.flush();
    const read: number[] = [];
    const sub = reader.subscribe("lab.renewal.*");
    const late = reader.subscribe("lab.renewal.*", { max: 40 });
    const lateRead: string[] = [];
    const reading = (async () => {
      for await (const msg of sub) {
        read.push(Number(msg.string()));
        if (msg.subject.endsWith("end")) break;
      }
    })();
    const readingLate = (async () => {
      for await (const msg of late) lateRead.push(msg.string());
    })();
    await reader.flush();
    const answers: Promise<Msg>[] = [];
    const end = performance.now() + WATCHED_MS;
    let sent = 0;
    for (; performance.now() < end; sent += 1) {
      publisher.publish("lab.renewal.n", String(sent));
      if (sent % 10 === 0) answers.push(publisher.request("echo.slow", String(sent), { timeout: 10_000 }));
      if (sent % 4 === 0) await delay(2);
    }
    publisher.publish("lab.renewal.end", String(sent));
    await reading;
    await readingLate;
    assert.deepEqual(
      read,
      Array.from({ length: sent + 1 }, (_, n) => n),
    );
    assert.deepEqual(
      lateRead,
      Array.from({ length: 40 }, (_, n) => String(n)),
    );
    assert.deepEqual(
      (await Promise.all(answers)).map((msg) => msg.string()),
      answers.map((_, n) => String(n * 10)),
    );
    const renewed = clients.filter((nc, index) => nc.info?.client_id !== before[index]);
    assert.equal(renewed.length, 3, "each of them has another connection to NATS by now");
    await Promise.all(clients.map((nc) => nc.close()));
  });
});

describe("the record", () => {
  async function linesOf(
    select: (line: JsonObject) => boolean,
    count: number,
  ): Promise<readonly JsonObject[]> {
    for (let wait = 0; wait < 100; wait += 1) {
      const found = stack.audit().filter(select);
      if (found.length >= count) return found;
      await delay(100);
    }
    return stack.audit().filter(select);
  }

  test("has the connection, each subscription, each refusal, and one line a rule and second for what is published", async () => {
    const nc = await connectNative(stack, "alice");
    nc.subscribe("lab.audit.>", { callback: () => {} });
    await errorOf(nc, () => nc.publish("secret.audit", "1"));
    const start = Math.floor(Date.now() / 1000);
    for (let n = 0; n < 100; n += 1) nc.publish(`lab.audit.${n}`, "12345");
    nc.publish("lab.durable.audit", "12345");
    await nc.flush();
    await nc.close();
    const [connected] = await linesOf(
      (line) => line.action === "connect native" && line.user === "demo-alice",
      1,
    );
    assert.equal(connected?.outcome, "allowed");
    const [subscribed] = await linesOf((line) => line.action === "subscribe lab.audit.>", 1);
    assert.equal(subscribed?.lane, "nats");
    const [refused] = await linesOf((line) => line.action === "publish secret.audit", 1);
    assert.equal((refused?.refusal as JsonObject | undefined)?.reason, "not_granted");
    const isMany = (line: JsonObject): boolean =>
      line.many === true && line.requestId === subscribed?.requestId && line.action === "publish lab.>";
    const opened = await linesOf(isMany, 1);
    assert(opened.length <= Math.floor(Date.now() / 1000) - start + 1);
    const txns = opened.map(({ txn }) => txn);
    const isDone = (line: JsonObject): boolean =>
      line.kind === "completion" && Array.isArray(line.txns) && line.txns.some((txn) => txns.includes(txn));
    const done = await linesOf(isDone, opened.length);
    assert.equal(
      done.reduce((sum, { messages }) => sum + Number(messages), 0),
      100,
    );
    assert.equal(
      done.reduce((sum, { bytes }) => sum + Number(bytes), 0),
      500,
    );
    assert(
      done.every(({ outcome, roots }) => outcome === "received" && Array.isArray(roots) && roots.length > 0),
    );
    const [durable] = await linesOf((line) => line.action === "publish lab.durable.audit", 1);
    assert.equal((durable?.message as JsonObject | undefined)?.subject, "lab.durable.audit");
    const [completed] = await linesOf(
      (line) => Array.isArray(line.txns) && line.txns.includes(durable?.txn),
      1,
    );
    assert.equal(completed?.outcome, "received");
  });
});

describe("another policy", () => {
  test("ends what it takes away in nats-server's words, and gives what it adds, on a connection that stays", async () => {
    const nc = await connectNative(stack, "alice");
    const ended = new Promise<string>((resolve) => {
      nc.subscribe("work.>", {
        queue: "workers",
        callback: (error) => void (error && resolve(error.message)),
      });
    });
    const kept = nc.subscribe("lab.kept");
    await nc.flush();
    const before = nc.info?.client_id;
    const narrowed = POLICY.replace("      - subscribe work.> queue workers\n", "      - subscribe new.>\n");
    await replacePolicy(narrowed);
    assert.equal(await ended, 'Permissions Violation for Subscription to "work.>" using queue "workers"');
    const added = nc.subscribe("new.>");
    await nc.flush();
    assert.notEqual(nc.info?.client_id, before, "another credential");
    stack.admin.publish("new.one", "new");
    nc.publish("lab.kept", "kept");
    assert.equal((await take(added, 1))[0]?.string(), "new");
    assert.equal((await take(kept, 1))[0]?.string(), "kept");
    // Requests go on, though the inbox has another name by now.
    assert((await nc.request("inventory.check", "apples", { timeout: 5_000 })).data.length > 0);
    await replacePolicy(narrowed.replace("      - connect native\n", ""));
    assert.match(String(await nc.closed()), /Authentication Revoked/i);
    await replacePolicy(POLICY);
    [alice, bob] = await Promise.all([connectNative(stack, "alice"), connectNative(stack, "bob")]);
  });

  async function replacePolicy(text: string): Promise<void> {
    await writeFile(`${stack.policyFile}.new`, text);
    await rename(`${stack.policyFile}.new`, stack.policyFile);
    // Looked at every second; asking who one is tells which policy is in force.
    const version = versionOf([{ path: "policy.yaml", text }]);
    for (let wait = 0; wait < 100; wait += 1) {
      const { policy } = (await stack.call("/v1/whoami", { token: stack.token("alice") })).json();
      if (policy === version) return;
      await delay(100);
    }
    assert.fail("the policy is not in force");
  }
});

describe("the end", () => {
  test("comes with the proof", async () => {
    const token = stack.token("alice", { claims: { exp: Math.ceil(Date.now() / 1000) + 2 } });
    const nc = await wsconnect({ servers: nativeUrl(stack), token, reconnect: false });
    const error = await nc.closed();
    assert.match(String(error), /Authentication Expired/i);
  });

  test("comes when the holder has too many", async () => {
    const held: NatsConnection[] = [];
    const open = async (): Promise<void> => {
      for (let n = 0; n < 9; n += 1) held.push(await connectNative(stack, "bob"));
    };
    await assert.rejects(open(), /maximum connections exceeded/);
    await Promise.all(held.map((nc) => nc.close()));
  });
});
