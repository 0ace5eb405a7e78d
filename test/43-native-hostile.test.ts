/**
 * What a client may try that means harm, byte by byte: every one of these gets no further than the gateway, is answered
 * as nats-server would, and leaves the others alone.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { createBrowser, signIn } from "@countersign/devstack/browser.ts";
import { nativeUrl } from "./native-client.ts";
import { maskedFrame, openRaw, type RawWebSocket } from "./raw-websocket.ts";
import { type JsonObject, startTestStack, type TestStack } from "./support.ts";

const POLICY = `
version: 1
roles:
  everybody:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ connect native, publish lab.>, subscribe lab.>, request lab.ask, respond lab.serve ]
    limits: { payload: 64KiB, connections: 50 }
  slow:
    given-to: [ { issuer: demo, groups: Audit } ]
    may: [ connect native, publish slow.> ]
    limits: { rate: 5/s }
  agent:
    given-to: [ { issuer: demo, service: agent } ]
    acts-for: [ everybody ]
    may: [ connect native, publish lab.> ]
`;

let stack: TestStack;
before(async () => {
  stack = await startTestStack({ policy: POLICY });
});
after(() => stack?.stop());

const CONNECT = { verbose: false, pedantic: false, headers: true, no_responders: true, protocol: 1 };

/** A client that is connected, with what it has been told so far. */
async function connected(options: JsonObject = {}): Promise<RawWebSocket> {
  const { webSocket } = await openRaw(nativeUrl(stack));
  await webSocket.until(/^INFO \{.*\}\r\n/);
  webSocket.send(
    `CONNECT ${JSON.stringify({ ...CONNECT, auth_token: stack.token("alice"), ...options })}\r\nPING\r\n`,
  );
  await webSocket.until(/PONG\r\n$/);
  return webSocket;
}

/** Everything that comes to `lab.>` from now on, as a trusted reader of the same account sees it. */
async function watch(): Promise<{ readonly subjects: string[]; readonly flush: () => Promise<void> }> {
  const subjects: string[] = [];
  stack.admin.subscribe(">", { callback: (_, msg) => void subjects.push(msg.subject) });
  await stack.admin.flush();
  return { subjects, flush: () => stack.admin.flush() };
}

/** @param why  of the refusal, where several have the same action */
async function refusalOf(action: string, why?: string): Promise<JsonObject | undefined> {
  for (let wait = 0; wait < 50; wait += 1) {
    const refusals = stack
      .audit()
      .filter((one) => one.action === action && one.outcome === "refused")
      .map(({ refusal }) => refusal as JsonObject);
    const found = refusals.find((refusal) => why === undefined || refusal.why === why);
    if (found) return found;
    await delay(50);
  }
  return undefined;
}

describe("the upgrade", () => {
  test("of who presents nothing is answered with an INFO that tells nothing, and ends without a proof", async () => {
    const { head, webSocket } = await openRaw(nativeUrl(stack));
    assert.match(head, /X-Request-Id: [0-9a-f-]{36}/);
    const said = await webSocket.until(/^INFO (\{.*\})\r\n/);
    const info = JSON.parse(said.slice(5)) as JsonObject;
    for (const hidden of [
      "nonce",
      "connect_urls",
      "host",
      "port",
      "ip",
      "xkey",
      "client_ip",
      "tls_required",
    ]) {
      assert.equal(hidden in info, false, hidden);
    }
    webSocket.send("SUB lab.x 1\r\n");
    assert.match(await webSocket.closed(), /-ERR 'Authorization Violation'\r\n$/);
    assert.equal((await refusalOf("connect native", "a command before CONNECT"))?.reason, "proof_missing");
  });

  test("with a wrong proof is an ordinary answer", async () => {
    const { head } = await openRaw(nativeUrl(stack), ["Authorization: Bearer x.y.z"]);
    assert.match(head, /^HTTP\/1\.1 401 /);
    assert.match(head, /"code":"unauthenticated"/);
    const { head: elsewhere } = await openRaw(`${nativeUrl(stack)}x`);
    assert.match(elsewhere, /^HTTP\/1\.1 404 /);
    const { head: twice } = await openRaw(nativeUrl(stack), ["Host: other"]);
    assert.match(twice, /^HTTP\/1\.1 400 /);
  });

  test("with a cookie counts only from an allowed origin", async () => {
    const browser = createBrowser();
    await signIn(browser, { gatewayUrl: stack.gatewayUrl, user: "alice", returnTo: "/v1/whoami" });
    const cookie = `Cookie: ${browser.cookiesFor(stack.gatewayUrl)}`;
    for (const head of [[cookie], [cookie, "Origin: https://evil.example"], [cookie, "Origin: null"]]) {
      assert.match((await openRaw(nativeUrl(stack), head)).head, /^HTTP\/1\.1 403 /);
    }
    const origin = `Origin: ${new URL(stack.gatewayUrl).origin}`;
    const { head, webSocket } = await openRaw(nativeUrl(stack), [cookie, origin]);
    assert.match(head, /^HTTP\/1\.1 101 /);
    webSocket.send(`CONNECT ${JSON.stringify(CONNECT)}\r\nPING\r\n`);
    await webSocket.until(/PONG\r\n$/);
    webSocket.close();
  });

  test("and CONNECT must not speak for two users", async () => {
    const { webSocket } = await openRaw(nativeUrl(stack), [`Authorization: Bearer ${stack.token("alice")}`]);
    webSocket.send(`CONNECT ${JSON.stringify({ ...CONNECT, auth_token: stack.token("bob") })}\r\nPING\r\n`);
    assert.match(await webSocket.closed(), /-ERR 'Authorization Violation'\r\n$/);
  });
});

describe("a client", () => {
  for (const [what, bytes, words] of [
    ["that connects a second time", 'CONNECT {"headers":true}\r\n', "Unknown Protocol Operation"],
    ["that speaks as a server", "MSG lab.x 1 1\r\nx\r\n", "Unknown Protocol Operation"],
    ["with a line that does not end", "SUB ".padEnd(5_000, "a"), "Maximum Control Line Exceeded"],
    ["with a message beyond its bound", "PUB lab.x 65537\r\n", "Maximum Payload Violation"],
    ["whose message is longer than it says", "PUB lab.x 1\r\nxyz\r\n", "Unknown Protocol Operation"],
  ] as const) {
    test(`${what} is cut off`, async () => {
      const webSocket = await connected();
      webSocket.send(bytes);
      assert.match(await webSocket.closed(), new RegExp(`-ERR '${words}'\r\n$`));
      assert.equal((await refusalOf("connect native", words))?.reason, "request_invalid");
    });
  }

  test("may write verbs in any case, tabs and bare LFs, and is judged the same", async () => {
    const webSocket = await connected();
    webSocket.send("sub\tlab.low\t1\npub lab.low 1\nx\r\nPub  secret.low  1\r\nx\r\nsUb secret.> 2\nping\n");
    const said = await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n/);
    assert.match(said, /-ERR 'Permissions Violation for Publish to "secret.low"'\r\n/);
    assert.match(said, /-ERR 'Permissions Violation for Subscription to "secret.>"'\r\n/);
    await webSocket.until(/HMSG lab\.low 1 \d+ \d+\r\n/);
    webSocket.close();
  });

  test("sends no answer to a foreign inbox, nor asks for one there", async () => {
    const { subjects, flush } = await watch();
    const webSocket = await connected();
    webSocket.send(
      "PUB _INBOX.victim 1\r\nx\r\nPUB lab.ask admin.x 1\r\nx\r\nPUB lab.ask $JS.API.STREAM.DELETE.ORDERS 1\r\nx\r\nPING\r\n",
    );
    const said = await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n/);
    assert.match(said, /-ERR 'Permissions Violation for Publish to "_INBOX.victim"'/);
    assert.match(said, /-ERR 'Permissions Violation for Publish with Reply of "admin.x"'/);
    assert.match(
      said,
      /-ERR 'Permissions Violation for Publish with Reply of "\$JS.API.STREAM.DELETE.ORDERS"'/,
    );
    await flush();
    assert.deepEqual(
      subjects.filter((subject) => /victim|admin|lab\.ask|DELETE/.test(subject)),
      [],
    );
    assert.equal((await refusalOf("publish lab.ask"))?.reason, "subject_invalid");
    webSocket.close();
  });

  test("answers only what it was asked, once, and by its own seal", async () => {
    const webSocket = await connected();
    webSocket.send("SUB lab.serve 1\r\nSUB lab.read 2\r\nPING\r\n");
    await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n/);
    const answers: string[] = [];
    stack.admin.subscribe("answers.*", { callback: (_, msg) => void answers.push(msg.subject) });
    stack.admin.publish("lab.serve", "", { reply: "answers.serve" });
    stack.admin.publish("lab.read", "", { reply: "answers.read" });
    await webSocket.until(/MSG lab\.read 2 answers\.read/);
    const sealed = "NATS/1.0\r\nSeal-Claims: e30\r\n\r\n";
    const size = `${sealed.length} ${sealed.length}`;
    webSocket.send(
      `HPUB answers.serve ${size}\r\n${sealed}\r\nPUB answers.read 0\r\n\r\nPUB answers.none 0\r\n\r\n`,
    );
    webSocket.send("PUB answers.serve 0\r\n\r\nPUB answers.serve 0\r\n\r\nPING\r\n");
    await webSocket.until(/(?:PONG\r\n[\s\S]*){3}/);
    await stack.admin.flush();
    assert.deepEqual(answers, ["answers.serve"]);
    webSocket.close();
  });

  test("reaches no subject with a wildcard, none of the system's, and none that is not well-formed", async () => {
    const webSocket = await connected();
    const subjects = [
      "lab.>",
      "lab.*",
      "lab.a.*.b",
      "$SYS.REQ.SERVER.PING",
      "lab..x",
      "lab.",
      ".lab",
      "lab.\0",
      `lab.${"a".repeat(300)}`,
      "lab.\u00e4",
    ];
    for (const subject of subjects) webSocket.send(`PUB ${subject} 0\r\n\r\n`);
    webSocket.send("PING\r\n");
    const said = await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n/);
    assert.equal(said.match(/-ERR 'Permissions Violation for Publish to/g)?.length, subjects.length);
    webSocket.close();
  });

  test("subscribes to nobody else's inbox", async () => {
    const webSocket = await connected();
    const bobs = (await stack.call("/v1/whoami", { token: stack.token("bob") })).json().inboxPrefix as string;
    const { subjects } = await watch();
    webSocket.send(`SUB ${bobs}.> 1\r\nSUB _INBOX.> 2\r\nSUB $SYS.> 3\r\nSUB > 4\r\nSUB *.x 5\r\nPING\r\n`);
    const said = await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n/);
    assert.equal(
      said.match(/-ERR 'Permissions Violation for Subscription to "(?:\$SYS\.>|>|\*\.x)"'/g)?.length,
      3,
    );
    stack.admin.publish(`${bobs}.abc`, "for bob");
    stack.admin.publish("_INBOX.admin", "for the administrator");
    stack.admin.publish("lab.end", "");
    await stack.admin.flush();
    webSocket.send("PING\r\n");
    assert.doesNotMatch(await webSocket.until(/(?:PONG\r\n[\s\S]*){3}/), /MSG/);
    assert(subjects.includes(`${bobs}.abc`), "it was sent");
    webSocket.close();
  });

  for (const [what, block] of [
    ["Nats-Rollup", "NATS/1.0\r\nNats-Rollup: all\r\n\r\n"],
    ["nats-rollup in any case", "NATS/1.0\r\nnAtS-rOlLuP: all\r\n\r\n"],
    ["Nats-Schedule", "NATS/1.0\r\nNats-Schedule: @every 1s\r\n\r\n"],
    ["Nats-TTL", "NATS/1.0\r\nNats-TTL: 1s\r\n\r\n"],
    ["Nats-Trace-Dest", "NATS/1.0\r\nNats-Trace-Dest: lab.trace\r\n\r\n"],
    ["a seal of its own", "NATS/1.0\r\nSeal-Claims: e30\r\n\r\n"],
    ["a token of its own", "NATS/1.0\r\ntxn-token: e30\r\n\r\n"],
    ["KV-Operation", "NATS/1.0\r\nKV-Operation: PURGE\r\n\r\n"],
    ["a header behind a bare LF", "NATS/1.0\r\nA: b\nNats-Rollup: all\r\n\r\n"],
    ["a status", "NATS/1.0 503\r\n\r\n"],
    ["a block without an end", "NATS/1.0\r\nA: b\r\n"],
  ] as const) {
    test(`publishes nothing with ${what}`, async () => {
      const { subjects, flush } = await watch();
      const webSocket = await connected();
      webSocket.send(`HPUB lab.header ${block.length} ${block.length}\r\n${block}\r\nPING\r\n`);
      const said = await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n/);
      assert.match(said, /-ERR 'Permissions Violation for Publish to "lab.header"'/);
      await flush();
      assert.deepEqual(
        subjects.filter((subject) => subject === "lab.header"),
        [],
      );
      webSocket.close();
    });
  }

  test("makes nobody else's message a duplicate by naming its id", async () => {
    const seen = stack.admin.subscribe("lab.id");
    const messages = seen[Symbol.asyncIterator]();
    await stack.admin.flush();
    const block = "NATS/1.0\r\nNats-Msg-Id: bob-1\r\n\r\n";
    async function idOf(token: string): Promise<string> {
      const webSocket = await connected({ auth_token: token });
      webSocket.send(`HPUB lab.id ${block.length} ${block.length}\r\n${block}\r\n`);
      const { value: msg } = await messages.next();
      webSocket.close();
      return msg?.headers?.get("Nats-Msg-Id") ?? "";
    }
    const agent = stack.token("alice", { claims: { act: { sub: "agent" } } });
    const [first, again, other, acting] = [
      await idOf(stack.token("alice")),
      await idOf(stack.token("alice")),
      await idOf(stack.token("bob")),
      await idOf(agent),
    ];
    // Version 8 is made with the cluster's secret: whoever speaks to nats-server without us cannot make it.
    assert.match(first, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(again, first);
    assert.equal(new Set([first, other, acting]).size, 3, "an agent of hers is not she");
    seen.unsubscribe();
  });

  test("has so many subscriptions and no more", async () => {
    const webSocket = await connected();
    const subs = Array.from({ length: 1_001 }, (_, n) => `SUB lab.${n} ${n}\r\n`);
    webSocket.send(`${subs.join("")}PING\r\n`);
    const said = await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n/);
    assert.equal(said.match(/-ERR 'maximum subscriptions exceeded'/g)?.length, 1);
    webSocket.send("UNSUB 0\r\nPING\r\n");
    await webSocket.until(/(?:PONG\r\n[\s\S]*){3}/);
    webSocket.send("SUB lab.again 2000\r\nPING\r\n");
    assert.equal(
      (await webSocket.until(/(?:PONG\r\n[\s\S]*){4}/)).match(/maximum subscriptions/g)?.length,
      1,
    );
    webSocket.close();
  });

  test("sends no more messages a second than the policy says", async () => {
    const { subjects, flush } = await watch();
    const webSocket = await connected({ auth_token: stack.token("carol") });
    webSocket.send(`${"PUB slow.x 0\r\n\r\n".repeat(40)}PING\r\n`);
    const said = await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n/);
    const refused = said.match(/-ERR 'Permissions Violation for Publish to "slow.x"'/g)?.length ?? 0;
    await flush();
    const arrived = subjects.filter((subject) => subject === "slow.x").length;
    assert.equal(arrived + refused, 40);
    assert(arrived >= 5 && arrived <= 10, `${arrived} arrived`);
    assert.equal((await refusalOf("publish slow.x"))?.reason, "rate_limited");
    webSocket.close();
  });

  test("that goes on after a thousand refusals in a second is cut off", async () => {
    const webSocket = await connected();
    webSocket.send("PUB secret.flood 0\r\n\r\n".repeat(5_000));
    await webSocket.closed();
  });

  test("that does not read holds up nobody, and is bounded", async () => {
    const webSocket = await connected();
    webSocket.send("SUB lab.flood 1\r\nPING\r\n");
    await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n/);
    const resident = async (): Promise<number> => {
      const { readFile } = await import("node:fs/promises");
      const status = await readFile(`/proc/${stack.gateway().pid}/status`, "utf8").catch(() => "");
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
    };
    const before = await resident();
    webSocket.socket.pause();
    const payload = new Uint8Array(60_000);
    for (let n = 0; n < 1_000; n += 1) {
      stack.admin.publish("lab.flood", payload);
      if (n % 50 === 0) await stack.admin.flush();
    }
    await stack.admin.flush();
    assert((await resident()) - before < 40, "60 MB were sent, and are not kept here");
    const other = await connected();
    other.send("PING\r\n");
    await other.until(/PONG\r\n[\s\S]*PONG\r\n/);
    other.close();
    webSocket.close();
  });

  test("that asks a million times in one message holds up nobody", async () => {
    const [flooding, other] = [await connected(), await connected()];
    flooding.send("PING\r\n".repeat(1_300_000));
    other.send("PING\r\n");
    await other.until(/PONG\r\n(?:.*)PONG\r\n$/s);
    flooding.close();
    assert.equal((await stack.call("/healthz")).status, 200);
    other.close();
  });

  test("that asks more often than is passed on at once has every answer", async () => {
    const webSocket = await connected();
    webSocket.send("PING\r\n".repeat(10_000));
    await webSocket.until(/(?:PONG\r\n){10001}$/);
    webSocket.send("UNSUB 1\r\n".repeat(10_000));
    webSocket.send("PING\r\n");
    await webSocket.until(/(?:PONG\r\n){10002}$/);
    webSocket.close();
  });

  test("keeps no large message here that it has not begun with a CONNECT", async () => {
    const { webSocket } = await openRaw(nativeUrl(stack));
    await webSocket.until(/^INFO /);
    // All but the end of one message, which is nobody's to judge before it has come.
    webSocket.write(maskedFrame(Buffer.alloc(1024 * 1024)).subarray(0, -1));
    assert.doesNotMatch(await webSocket.closed(), /-ERR/);
    const proved = await connected();
    proved.write(maskedFrame(Buffer.from("PING\r\n".repeat(100_000))));
    await proved.until(/(?:PONG\r\n){1000}/);
    proved.close();
  });

  test("may cut its frames, ping, and leave in the middle of one", async () => {
    const webSocket = await connected();
    const text = Buffer.from("PUB lab.cut 5\r\nhello\r\nPING\r\n");
    webSocket.write(maskedFrame(text.subarray(0, 7), 2, false));
    webSocket.write(maskedFrame(Buffer.from("are you there"), 9));
    webSocket.write(maskedFrame(text.subarray(7), 0, true));
    await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n/);
    webSocket.write(maskedFrame(text).subarray(0, 10));
    webSocket.close();
    const other = await connected();
    other.write(Buffer.from([0x82, 0x05, 1, 2, 3, 4, 5]));
    await other.closed();
  });

  test("gets its answers in the order it asked, verbose or not", async () => {
    const webSocket = await connected({ verbose: true });
    webSocket.send("SUB lab.verbose 1\r\nPUB lab.none 0\r\n\r\nPUB secret.v 0\r\n\r\nUNSUB 1\r\nPING\r\n");
    const said = await webSocket.until(/PONG\r\n[\s\S]*PONG\r\n/);
    const told = said.slice(said.indexOf("PONG")).split("\r\n").slice(1, -1);
    assert.deepEqual(
      told.filter((line) => !line.startsWith("INFO")),
      ["+OK", "+OK", "-ERR 'Permissions Violation for Publish to \"secret.v\"'", "+OK", "PONG"],
    );
    webSocket.close();
  });
});
