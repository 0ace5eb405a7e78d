/** The record: before every effect, in every sink, through kills, full disks and rotation; and without a secret in it. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type GatewayProcess, startGateway } from "@countersign/devstack/gateway-process.ts";
import { controlStreamsOf, loadKeys, natsServersOf } from "countersign/compose/from-config.ts";
import { loadConfig } from "countersign/config/load.ts";
import { type Control, openControl } from "countersign/nats/control.ts";
import { createDial } from "countersign/nats/dial.ts";
import { type JsonObject, send, startTestStack, type TestStack } from "./support.ts";
import {
  beginSignIn,
  configureInstance,
  eventually,
  runCommand,
  type StoredMessage,
  signInAs,
  storedOrders,
} from "./support-operations.ts";

const POLICY = readFileSync(new URL("../devstack/policy.yaml", import.meta.url), "utf8").replace(
  "rate: 500/s",
  "rate: 10000/s",
);
const ROTATE_BYTES = 1_048_576;

let stack: TestStack;
let control: Control;
before(async () => {
  stack = await startTestStack({
    policy: POLICY,
    configure: (yaml) =>
      yaml.replace(
        /^audit: \[ \{ file: (.*) \} \]$/m,
        "audit: [ { file: $1, rotate: 1MiB }, { stream: AUDIT } ]",
      ),
  });
  const config = await loadConfig(stack.configFile);
  const { control: user, proxyKey } = await loadKeys(config);
  control = await openControl({
    dial: createDial(natsServersOf(config)),
    user,
    ...(proxyKey && { proxyKey }),
    instance: "test",
    ...controlStreamsOf(config),
  });
});
after(async () => {
  await control?.close();
  await stack?.stop();
});

/** The current file and all that were rotated away. */
function auditFiles(): readonly string[] {
  const names = readdirSync(stack.stateDir).filter((name) => name.startsWith("audit.jsonl"));
  return names.map((name) => join(stack.stateDir, name));
}

function auditLines(): readonly JsonObject[] {
  return auditFiles().flatMap((file) =>
    readFileSync(file, "utf8")
      .split("\n")
      .flatMap((line) => {
        try {
          return [JSON.parse(line) as JsonObject];
        } catch {
          // The last line of a process that was killed may be torn.
          return [];
        }
      }),
  );
}

/** How often each transaction has a line of this kind. */
function countOf(kind: "decision" | "completion", lines: readonly JsonObject[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const line of lines) {
    if (line.kind !== kind) continue;
    const txns = kind === "decision" ? [line.txn] : (line.txns as readonly unknown[]);
    for (const txn of txns) counts.set(String(txn), (counts.get(String(txn)) ?? 0) + 1);
  }
  return counts;
}

/** Publishes so many in one write on one connection. @returns the transactions that were accepted */
async function publishMany(count: number): Promise<readonly string[]> {
  const token = stack.token("alice");
  const requests = Array.from({ length: count }, (_, at) =>
    [
      `POST /v1/publish?subject=orders.eu.${at}.create HTTP/1.1`,
      "Host: gateway",
      `Authorization: Bearer ${token}`,
      "Content-Length: 1",
      ...(at === count - 1 ? ["Connection: close"] : []),
      "",
      "x",
    ].join("\r\n"),
  );
  const answers = await stack.raw(requests.join(""));
  return [...answers.matchAll(/"txn":"([0-9a-f-]{36})"/g)].map(([, txn = ""]) => txn);
}

/** All lines in the stream AUDIT. */
async function streamLines(): Promise<readonly JsonObject[]> {
  const { state } = await control.manager.streams.info("AUDIT");
  const lines: JsonObject[] = [];
  for (let seq = state.first_seq; seq > 0 && seq <= state.last_seq; seq++) {
    const message = await control.manager.streams.getMessage("AUDIT", { seq });
    for (const line of message?.string().split("\n").slice(0, -1) ?? [])
      lines.push(JSON.parse(line) as JsonObject);
  }
  return lines;
}

test("rotation under load loses no record: one decision and one completion for each message, in files of bounded size", async () => {
  const accepted: string[] = [];
  while (auditFiles().length < 4) accepted.push(...(await publishMany(250)));
  await eventually("the completions", () => {
    const completed = countOf("completion", auditLines());
    return accepted.every((txn) => completed.has(txn)) ? true : undefined;
  });
  const lines = auditLines();
  const [decided, completed] = [countOf("decision", lines), countOf("completion", lines)];
  assert.deepEqual(
    accepted.filter((txn) => decided.get(txn) !== 1 || completed.get(txn) !== 1),
    [],
  );
  for (const file of auditFiles()) assert(statSync(file).size <= ROTATE_BYTES, file);
  if (process.platform !== "win32") {
    for (const file of auditFiles()) assert.equal(statSync(file).mode & 0o777, 0o600);
  }
});

test("the stream AUDIT holds the same records as the file", async () => {
  const inFile = auditLines().map((line) => JSON.stringify(line));
  await eventually("the last record in the stream", async () => {
    const inStream = new Set((await streamLines()).map((line) => JSON.stringify(line)));
    return inFile.every((line) => inStream.has(line)) ? true : undefined;
  });
});

test("a record that the policy wants durable is in the stream when the answer comes", async () => {
  for (let at = 0; at < 10; at++) {
    const path = `/v1/publish?subject=payments.eu.${at}.authorize`;
    const answer = await stack.call(path, { method: "POST", token: stack.token("alice"), body: "x" });
    assert.equal(answer.status, 202);
    const { state } = await control.manager.streams.info("AUDIT");
    let found = false;
    for (let seq = state.last_seq; seq > state.last_seq - 5 && !found; seq--) {
      const message = await control.manager.streams.getMessage("AUDIT", { seq });
      found = message?.string().includes(`"txn":"${answer.json().txn}"`) ?? false;
    }
    assert(found, "its record is not acknowledged yet");
  }
});

test("kill -9 under load: every message that left has its decision in the file", async () => {
  const killed = stack.gateway();
  let accepted = 0;
  async function load(): Promise<void> {
    for (;;) {
      const answer = await stack
        .call("/v1/publish?subject=orders.eu.9.create", {
          method: "POST",
          token: stack.token("alice"),
          body: "x",
        })
        .catch(() => undefined);
      if (answer?.status !== 202) return;
      accepted += 1;
      if (accepted === 400) process.kill(killed.pid, "SIGKILL");
    }
  }
  await Promise.all(Array.from({ length: 8 }, load));
  assert.equal(await killed.exited, null);
  await stack.admin.flush();
  const stored: readonly StoredMessage[] = await storedOrders(stack);
  assert(stored.length >= 400);
  const decided = countOf("decision", auditLines());
  assert.deepEqual(
    stored.filter(({ txn }) => !decided.has(String(txn))),
    [],
  );
  await stack.restartGateway();
  // What was in the middle of a line when it was killed makes no second one unreadable.
  assert((await publishMany(1)).length === 1);
});

describe("a sink that takes nothing", {
  skip: process.platform !== "linux" && "there is no /dev/full",
}, () => {
  let full: GatewayProcess;
  let configFile: string;
  before(async () => {
    const instance = await configureInstance(stack, "full");
    configFile = instance.configFile;
    const yaml = await readFile(configFile, "utf8");
    await writeFile(configFile, yaml.replace(/^audit: .*$/m, "audit: [ stdout, { file: /dev/full } ]"));
    full = await startGateway({ configFile, publicUrl: instance.url });
  });
  after(() => full?.stop());

  test("no message leaves and nobody reads: 503", async () => {
    const subscription = stack.admin.subscribe(">");
    await stack.admin.flush();
    const token = stack.token("alice");
    const subjects = ["orders.eu.1.create", "payments.eu.1.authorize"];
    for (const subject of subjects) {
      const url = `${full.url}/v1/publish?subject=${subject}`;
      const answer = await send(url, { method: "POST", token, body: "x" });
      assert.deepEqual([answer.status, answer.json().code], [503, "unavailable"]);
      assert.doesNotMatch(answer.text, /ENOSPC|disk|audit|full/i);
    }
    const asked = await send(`${full.url}/v1/request?subject=inventory.check`, {
      method: "POST",
      token,
      body: "x",
    });
    assert.equal(asked.status, 503);
    for (const path of ["/v1/subscribe?subject=orders.eu.%3E", "/v1/whoami"])
      assert.equal((await send(full.url + path, { token })).status, 503);

    await stack.admin.flush();
    const left: string[] = [];
    subscription.unsubscribe();
    for await (const { subject } of subscription) left.push(subject);
    assert.deepEqual(
      left.filter((subject) => /^(orders|payments|inventory)\./.test(subject)),
      [],
    );
    assert.match(full.log(), /audit record not written.*ENOSPC|ENOSPC.*audit record not written/);
  });

  test("nobody signs in or out, of a browser or by the provider: 503, and every session stays as it was", async () => {
    const alice = await signInAs("alice", stack.gatewayUrl);
    const sessions = async (): Promise<unknown> => {
      const subjects_filter = "$KV.sessions.*";
      return (await control.manager.streams.info("KV_sessions", { subjects_filter })).state.subjects;
    };
    const before = await sessions();

    const { callback, loginCookie } = await beginSignIn("alice", stack.gatewayUrl);
    // The browser has a session already, which signing in again would end.
    const cookie = `${alice.cookie}; ${loginCookie}`;
    const signedIn = await send(full.url + callback, { headers: { cookie } });
    assert.deepEqual([signedIn.status, signedIn.headers["set-cookie"]], [503, undefined]);
    const out = await send(`${full.url}/auth/logout`, { method: "POST", headers: alice.headers });
    assert.equal(out.status, 503);
    const now = Math.floor(Date.now() / 1000);
    const logoutToken = stack.identityProvider.sign(
      {
        iss: stack.identityProvider.issuer,
        aud: stack.identityProvider.gatewayClient.id,
        sub: "alice",
        iat: now,
        exp: now + 120,
        jti: "unrecorded",
        events: { "http://schemas.openid.net/event/backchannel-logout": {} },
      },
      { typ: "logout+jwt" },
    );
    const backChannel = async (url: string): Promise<number> => {
      const body = new URLSearchParams({ logout_token: logoutToken }).toString();
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      return (await send(`${url}/auth/backchannel-logout`, { method: "POST", headers, body })).status;
    };
    assert.equal(await backChannel(full.url), 503);

    assert.deepEqual(await sessions(), before);
    const whoami = async (): Promise<number> =>
      (await send(`${stack.gatewayUrl}/v1/whoami`, { headers: alice.headers })).status;
    assert.equal(await whoami(), 200);
    // The provider sends it again, to an instance that can write.
    assert.equal(await backChannel(stack.gatewayUrl), 200);
    assert.equal(await whoami(), 401);
  });

  test("a sink that writes and cannot sync refuses what the policy wants durable, and takes the rest", async () => {
    const instance = await configureInstance(stack, "unsynced");
    const yaml = await readFile(instance.configFile, "utf8");
    await writeFile(instance.configFile, yaml.replace(/^audit: .*$/m, "audit: [ { file: /dev/null } ]"));
    const unsynced = await startGateway({ configFile: instance.configFile, publicUrl: instance.url });
    const subscription = stack.admin.subscribe("payments.>");
    await stack.admin.flush();
    const publish = async (subject: string): Promise<number> => {
      const url = `${unsynced.url}/v1/publish?subject=${subject}`;
      return (await send(url, { method: "POST", token: stack.token("alice"), body: "x" })).status;
    };
    const found = [await publish("orders.eu.1.create"), await publish("payments.eu.1.authorize")];
    await unsynced.stop();
    assert.deepEqual(found, [202, 503]);
    await stack.admin.flush();
    assert.equal(subscription.getReceived(), 0);
    subscription.unsubscribe();
  });

  test("a folder where the file should be is told at the start, in words", async () => {
    const folder = join(stack.stateDir, "a-folder");
    await mkdir(folder);
    const yaml = await readFile(configFile, "utf8");
    const broken = join(stack.stateDir, "broken.yaml");
    await writeFile(
      broken,
      yaml.replace("/dev/full", JSON.stringify(folder)).replace(/127\.0\.0\.1:\d+' }$/m, "127.0.0.1:0' }"),
    );
    const { code, err } = await runCommand(["serve", "--config", broken]);
    assert.equal(code, 1);
    assert.match(err, /^Cannot write the audit log to .*a-folder: EISDIR/m);
    assert.doesNotMatch(err, /a fault of its own|\n {4}at /);
  });
});

test("neither token, cookie, code, key nor payload stands in the record, the log, or what doctor prints", async () => {
  const payload = "the-payload-that-nobody-logs";
  const header = "the-header-that-nobody-logs";
  const secrets = new Set<string>([payload, header]);
  const token = stack.token("alice");
  const expired = stack.token("alice", { claims: { exp: 1_000_000_000 } });
  for (const each of [token, expired]) for (const part of each.split(".")) secrets.add(part);
  const alice = await signInAs("alice", stack.gatewayUrl);
  const { callback, loginCookie } = await beginSignIn("bob", stack.gatewayUrl);
  const code = new URLSearchParams(callback.split("?")[1]).get("code") ?? "";
  const signedIn = await send(stack.gatewayUrl + callback, { headers: { cookie: loginCookie } });
  assert.equal(signedIn.status, 303);
  for (const cookie of [alice.cookie, loginCookie, ...(signedIn.headers["set-cookie"] ?? [])])
    secrets.add(cookie.split(";")[0]?.split("=")[1] || payload);
  secrets.add(code);

  const publish = "/v1/publish?subject=orders.eu.1.create";
  const headers = { ...alice.headers, "msg-note": header };
  assert.equal((await stack.call(publish, { method: "POST", headers, body: payload })).status, 202);
  const wrong = [
    { path: publish, how: { method: "POST", token: expired, body: payload } },
    { path: publish, how: { method: "POST", token: `${token}x`, body: payload } },
    { path: `${publish}&access_token=${token}`, how: { method: "POST", body: payload } },
    { path: `/v1/whoami?access_token=${token}`, how: {} },
    { path: `/nowhere?access_token=${token}`, how: {} },
    { path: "/v1/whoami", how: { headers: { authorization: `Basic ${token}` } } },
    { path: "/v1/whoami", how: { headers: { cookie: `${alice.cookie}; ${alice.cookie}` } } },
    {
      path: "/v1/whoami",
      how: {
        token,
        headers: {
          cookie: signedIn.headers["set-cookie"]?.[0]?.split(";")[0] ?? "",
          "countersign-request": "1",
        },
      },
    },
    { path: `${callback}&code=again`, how: { headers: { cookie: loginCookie } } },
    { path: callback, how: {} },
    { path: "/auth/backchannel-logout", how: { method: "POST", body: `logout_token=${token}` } },
    { path: "/v1/publish?subject=orders..create", how: { method: "POST", token, body: payload } },
    { path: "/v1/publish?subject=orders.us.1.create", how: { method: "POST", token, body: payload } },
  ];
  for (const { path, how } of wrong) {
    const { status, text } = await stack.call(path, how);
    assert(status >= 400 && status < 500, `${path.slice(0, 40)}: ${status}`);
    for (const secret of secrets) assert(!text.includes(secret), `${path.slice(0, 40)} answers with it`);
  }
  await stack.call("/auth/logout", { method: "POST", headers: alice.headers });

  for (const name of ["cluster.secret", "account.sk", "signing.nk", "proxy.nk"]) {
    const text = await readFile(join(stack.stateDir, "nats", name), "utf8").catch(() => undefined);
    if (text !== undefined) secrets.add(text.trim());
  }
  secrets.add(stack.identityProvider.gatewayClient.secret);
  const doctor = await runCommand(["doctor", "--config", stack.configFile]);
  assert.equal(doctor.code, 0, doctor.out + doctor.err);
  const written = [
    ...auditFiles().map((file) => readFileSync(file, "utf8")),
    readFileSync(join(stack.stateDir, "gateway.log"), "utf8"),
    doctor.out + doctor.err,
  ];
  for (const text of written) {
    for (const secret of secrets) assert(!text.includes(secret), "a secret was written");
    assert.doesNotMatch(text, /eyJ[A-Za-z0-9_-]{10,}\.|S[AUOC][A-Z2-7]{50,}|-----BEGIN/);
  }
});
