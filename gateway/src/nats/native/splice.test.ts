import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import { mintCredential } from "../../credentials/user.ts";
import { allowed } from "../../refusal.ts";
import { startCluster, type TestCluster, testClock, until, userOf } from "../testing/cluster.ts";
import { ClientOutput } from "./client-output.ts";
import { createNativeDial } from "./dial.ts";
import { createNativeIdentityDial } from "./identity-dial.ts";
import { Splice } from "./splice.ts";

let cluster: TestCluster;
let admin: NatsConnection;
before(async () => {
  cluster = await startCluster({ size: 2 });
  admin = await cluster.admin();
});
after(() => cluster?.close());

interface Spliced {
  readonly splice: Splice;
  /** Everything the client has got. */
  readonly said: () => string;
  /** Replaces the link and fulfils when the next one is in use. @param grantHash  of the grant from now on */
  readonly renew: (grantHash?: string) => Promise<void>;
  readonly held: () => number;
  readonly lost: () => number;
  readonly congest: (isCongested: boolean) => void;
}

/** A client that is spliced to a real nats-server; its inbox depends on its grant, as everybody's does. */
async function spliced(id: string): Promise<Spliced> {
  let grantHash = "first";
  let said = "";
  let [held, lost] = [0, 0];
  let isCongested = false;
  const { keys } = cluster;
  const dialLinkOf = createNativeIdentityDial({
    dial: createNativeDial({ servers: cluster.urls }),
    ...(keys.proxyKey && { proxyKey: keys.proxyKey }),
    instance: "test",
    credentialFor(identity, grant, userPublicKey) {
      const inboxPrefix = `_INBOX.${identity.id}${grant.hash}`;
      return mintCredential({
        ...{
          identity,
          grant,
          userPublicKey,
          inboxPrefix,
          signer: { signingKey: keys.signingKey, accountPublicKey: keys.account },
          now: Math.floor(testClock()),
        },
        permissions: {
          pub: { allow: ["orders.>", "echo.>"] },
          sub: { allow: ["orders.>", "echo.>", `${inboxPrefix}.>`] },
        },
        controlLineBytesMax: 1024 * 1024,
      });
    },
  });
  const { identity } = userOf(id);
  const dialLink = dialLinkOf({
    ...{ identity, grant: () => userOf(id, { grantHash }).grant, connection: "c" },
    options: {
      verbose: false,
      echo: true,
      headers: true,
      noResponders: true,
      lang: "test",
      version: "0",
      token: undefined,
    },
  });
  const first = await dialLink({ first: cluster.url.replace("nats://", "") });
  assert(first.ok);
  const output = new ClientOutput({
    send: (parts) => {
      said += Buffer.concat(parts).toString("latin1");
    },
    unsentBytes: 0,
    pause() {},
    resume() {},
    close() {},
  });
  const splice = new Splice(first.value, {
    dialLink,
    nextExpiry: () => allowed(first.value.expiresAt),
    clock: testClock,
    output,
    isCongested: () => isCongested,
    onRequest() {},
    owes: () => false,
    onInfo() {},
    onError: (text) => assert.fail(text),
    hold: () => {
      held += 1;
    },
    release: () => {
      held -= 1;
    },
    onDrain() {},
    onLost: () => {
      lost += 1;
    },
  });
  return {
    splice,
    said: () => said,
    held: () => held,
    lost: () => lost,
    congest(now) {
      isCongested = now;
      if (!now) splice.resume();
    },
    async renew(hash = grantHash) {
      grantHash = hash;
      const old = splice.live;
      splice.renewNow();
      await until(() => splice.live !== old && held === 0);
    },
  };
}

function numbersIn(text: string, sid: string): readonly number[] {
  const messages = text.matchAll(new RegExp(`MSG orders\\.n ${sid} \\d+\\r\\n(\\d+)\\r\\n`, "g"));
  return Array.from(messages, ([, number]) => Number(number));
}

test("Splice renews under load: nothing lost, nothing twice, everything in order", async () => {
  const { splice, said, renew } = await spliced("load");
  splice.subscriptions.add({ sid: "1", subject: "orders.n" }, false);
  splice.subscriptions.add({ sid: "2", subject: "orders.*", queue: "workers" }, false);
  await splice.live.ping();
  let sent = 0;
  let over = false;
  const sending = (async () => {
    for (; !over; sent += 1) {
      admin.publish("orders.n", String(sent));
      if (sent % 50 === 0) await delay(1);
    }
  })();
  for (let n = 0; n < 20; n += 1) await renew();
  over = true;
  await sending;
  await admin.flush();
  const expected = Array.from({ length: sent }, (_, n) => n);
  await until(() => numbersIn(said(), "1").length >= sent && numbersIn(said(), "2").length >= sent);
  assert.deepEqual(numbersIn(said(), "1"), expected);
  // A group takes no order over a handover, and each message goes to one of its members.
  assert.deepEqual(
    [...numbersIn(said(), "2")].sort((a, b) => a - b),
    expected,
  );
  splice.close();
});

test("Splice delivers as many as were asked for and no more, counted over its links", async () => {
  const { splice, said, renew } = await spliced("max");
  splice.subscriptions.add({ sid: "1", subject: "orders.n" }, false);
  splice.subscriptions.leave("1", 5);
  await splice.live.ping();
  for (let n = 0; n < 3; n += 1) admin.publish("orders.n", String(n));
  await until(() => numbersIn(said(), "1").length === 3);
  await renew();
  for (let n = 3; n < 9; n += 1) admin.publish("orders.n", String(n));
  await admin.flush();
  await splice.live.ping();
  assert.deepEqual(numbersIn(said(), "1"), [0, 1, 2, 3, 4]);
  assert.equal(splice.subscriptions.size, 0);
  splice.close();
});

test("Splice brings answers to an inbox of the former grant too", async () => {
  const { splice, said, renew } = await spliced("regrant");
  admin.subscribe("echo.late", {
    callback: (_, msg) => void delay(400).then(() => msg.respond("late")),
  });
  await admin.flush();
  splice.subscriptions.add({ sid: "9", subject: "_INBOX.me.*" }, false);
  splice.live.write(`PUB echo.late ${splice.live.inbox.toServer("_INBOX.me.1")} 0\r\n\r\n`);
  await splice.live.ping();
  const before = splice.live.inbox.serverPrefix;
  await renew("second");
  assert.notEqual(splice.live.inbox.serverPrefix, before);
  splice.live.write(`PUB echo.late ${splice.live.inbox.toServer("_INBOX.me.2")} 0\r\n\r\n`);
  await until(() => /MSG _INBOX\.me\.2 9 4\r\nlate\r\n/.test(said()));
  assert.match(said(), /MSG _INBOX\.me\.1 9 4\r\nlate\r\n/);
  splice.close();
});

test("Splice takes nothing from NATS while its client does not read", async () => {
  const { splice, said, congest } = await spliced("slow");
  splice.subscriptions.add({ sid: "1", subject: "orders.n" }, false);
  await splice.live.ping();
  congest(true);
  const payload = `1${" ".repeat(60_000)}`;
  for (let n = 0; n < 100; n += 1) admin.publish("orders.n", payload);
  await admin.flush();
  await delay(200);
  assert(said().length < 500_000, `${said().length} bytes`);
  congest(false);
  await until(() => said().length >= 6_000_000);
  splice.close();
});

test("Splice says once that its link is lost", async () => {
  const { splice, lost } = await spliced("lost");
  splice.live.destroy();
  await until(() => lost() === 1);
  splice.close();
});

test("Splice leaves a server that leaves", async () => {
  const { splice, held } = await spliced("leaving");
  const old = splice.live;
  assert.equal(old.server, cluster.url.replace("nats://", ""));
  process.kill(cluster.servers[0]?.pid ?? 0, "SIGUSR2");
  await until(() => splice.live !== old && held() === 0, 10_000);
  assert.notEqual(splice.live.server, old.server);
  splice.close();
});
