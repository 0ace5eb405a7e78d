import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Connection, InboundMessage } from "./connection.ts";
import { createPool } from "./pool.ts";
import { identityDialOf, startCluster, type TestCluster, testClock, userOf } from "./testing/cluster.ts";

let cluster: TestCluster;
before(async () => {
  cluster = await startCluster();
});
after(() => cluster.close());

async function withConnection(
  run: (connection: Connection) => Promise<void>,
  permissions: Parameters<typeof identityDialOf>[1] = {},
): Promise<void> {
  const pool = createPool({
    ...identityDialOf(cluster, permissions),
    clock: testClock,
    onFault: assert.ifError,
  });
  const { identity, grant } = userOf("ada");
  const outcome = await pool.connectionFor(identity, grant);
  try {
    assert.ok(outcome.ok, JSON.stringify(outcome));
    await run(outcome.value);
  } finally {
    await pool.close();
  }
}

const bytes = (text: string) => Buffer.from(text);

test("publish() sends payload and headers as given, and confirm() says received", async () => {
  const admin = await cluster.admin();
  const seen = Promise.withResolvers<[string, string[], string]>();
  admin.subscribe("orders.>", {
    max: 1,
    callback: (_, message) =>
      seen.resolve([message.subject, message.headers?.values("Seal-Claims") ?? [], message.string()]),
  });
  await admin.flush();
  await withConnection(async (connection) => {
    const sent = connection.publish({
      subject: "orders.eu.1",
      payload: bytes("héllo"),
      headers: [["Seal-Claims", "a b c"]],
    });
    assert.deepEqual(sent, { ok: true, value: undefined });
    assert.equal(await connection.confirm("orders.eu.1"), "received");
    assert.deepEqual(await seen.promise, ["orders.eu.1", ["a b c"], "héllo"]);
  });
});

test("confirm() is answered before a closing connection is closed", async () => {
  const answers: string[] = [];
  await withConnection(async (connection) => {
    const sent = connection.publish({ subject: "orders.1", payload: bytes("1"), headers: [] });
    assert.ok(sent.ok);
    void connection.confirm("orders.1").then((answer) => answers.push(answer));
  });
  assert.deepEqual(answers, ["received"]);
});

test("confirm() says refused for a subject that nats-server does not allow, and received for the others", async () => {
  await withConnection(async (connection) => {
    for (const subject of ["orders.1", 'secret."1"', "orders.2"])
      assert.ok(connection.publish({ subject, payload: bytes(""), headers: [] }).ok);
    const all = ["orders.1", 'secret."1"', "orders.2"].map((subject) => connection.confirm(subject));
    assert.deepEqual(await Promise.all(all), ["received", "refused", "received"]);
  });
});

test("request() brings the reply, no_responders and timeout", async () => {
  const admin = await cluster.admin();
  admin.subscribe("echo.now", { callback: (_, message) => void message.respond(`${message.string()}!`) });
  admin.subscribe("echo.never", { callback: () => {} });
  await admin.flush();
  await withConnection(async (connection) => {
    const ask = (subject: string) =>
      connection.request({ subject, payload: bytes("hi"), headers: [["A", "b"]] }, 200);
    const answered = await ask("echo.now");
    assert.equal(answered.ok && Buffer.from(answered.value.payload).toString(), "hi!");
    assert.deepEqual(await ask("echo.nobody"), {
      ok: false,
      refusal: { reason: "no_responders", subject: "echo.nobody" },
    });
    assert.deepEqual(await ask("echo.never"), { ok: false, refusal: { reason: "timeout", timeoutMs: 200 } });
    assert.deepEqual(await ask("secret.x"), {
      ok: false,
      refusal: { reason: "nats_unavailable", why: "nats-server refused what the grant allows" },
    });
  });
});

test("subscribe() delivers in order until end(), and refuses what nats-server refuses", async () => {
  const admin = await cluster.admin();
  await withConnection(async (connection) => {
    const seen: string[] = [];
    const opened = await connection.subscribe({
      subject: "orders.*",
      onMessage: ({ payload }) => seen.push(Buffer.from(payload).toString()),
      onEnd: () => {},
    });
    assert.ok(opened.ok);
    for (let index = 0; index < 100; index++) admin.publish("orders.x", String(index));
    await admin.flush();
    await connection.confirm("orders.x");
    assert.deepEqual(
      seen,
      Array.from({ length: 100 }, (_, index) => String(index)),
    );
    opened.value.end();
    admin.publish("orders.x", "late");
    await admin.flush();
    await connection.confirm("orders.x");
    assert.equal(seen.length, 100);

    const refusal = await connection.subscribe({
      subject: "secret.*",
      onMessage: () => {},
      onEnd: () => {},
    });
    assert.deepEqual(refusal, {
      ok: false,
      refusal: { reason: "nats_unavailable", why: "nats-server refused the subscription" },
    });
  });
});

test("a message with hostile headers is delivered without them, and the connection lives on", async () => {
  const admin = await cluster.admin();
  await withConnection(async (connection) => {
    const seen: InboundMessage[] = [];
    await connection.subscribe({
      subject: "orders.>",
      onMessage: (message) => seen.push(message),
      onEnd: () => {},
    });
    const hostile = [
      "NATS/1.0\r\nA b\x00: 1\r\nGood: yes\r\n\n: x\r\nBare: a\nNats-Msg-Id: 1\r\n\r\n",
      "",
      "\xff\xff",
      "NATS/1.0",
    ];
    for (const block of hostile)
      admin.publish("orders.x", "p", { headers: { encode: () => Buffer.from(block, "latin1") } as never });
    await admin.flush();
    await connection.confirm("orders.x");
    assert.deepEqual(
      seen.map(({ headers }) => headers),
      [[["Good", "yes"]], [], [], []],
    );
  });
});

test("an answer with hostile headers and no payload is an answer, and the connection lives on", async () => {
  const admin = await cluster.admin();
  const headers = { encode: () => Buffer.from("NATS/1.0\r\nbad name\0: 1\r\n\r\n") } as never;
  admin.subscribe("echo.hostile", { callback: (_, message) => void message.respond("", { headers }) });
  await admin.flush();
  await withConnection(async (connection) => {
    for (let times = 0; times < 2; times++) {
      const reply = await connection.request(
        { subject: "echo.hostile", payload: bytes(""), headers: [] },
        500,
      );
      assert.deepEqual(reply.ok && reply.value.headers, []);
    }
  });
});

test("publish() refuses what is too large, ill-formed, or more than nats-server has taken yet", async () => {
  await withConnection(async (connection) => {
    const send = (subject: string, size: number, headers: [string, string][] = []) =>
      connection.publish({ subject, payload: Buffer.alloc(size), headers });
    const { payloadBytesMax } = connection;
    assert.deepEqual(send("orders.1", payloadBytesMax), {
      ok: false,
      refusal: { reason: "payload_too_large", bytes: payloadBytesMax + 12, bytesMax: payloadBytesMax },
    });
    const reasonOf = (outcome: ReturnType<typeof send>) => !outcome.ok && outcome.refusal.reason;
    assert.equal(reasonOf(send("orders.*", 1)), "subject_invalid");
    assert.equal(reasonOf(send("orders.1", 1, [["A", "b\nc"]])), "header_refused");
    let taken = 0;
    while (send("orders.1", 100_000).ok) taken += 1;
    assert.deepEqual(send("orders.1", 100_000), {
      ok: false,
      refusal: { reason: "nats_unavailable", why: "backpressure" },
    });
    assert.ok(taken > 10 && taken < 100, String(taken));
    await connection.confirm("orders.1");
    assert.ok(send("orders.1", 100_000).ok);
  });
});

test("subscribe() refuses when nats-server takes no more subscriptions, without naming one", async () => {
  const small = await startCluster({ change: (config) => `${config}\nmax_subscriptions: 2\n` });
  const pool = createPool({ ...identityDialOf(small), clock: testClock, onFault: assert.ifError });
  try {
    const { identity, grant } = userOf("ada");
    const outcome = await pool.connectionFor(identity, grant);
    assert.ok(outcome.ok);
    const open = (subject: string) =>
      outcome.value.subscribe({ subject, onMessage: () => {}, onEnd: () => {} });
    const opened = [await open("orders.1"), await open("orders.2"), await open("orders.3")];
    assert.deepEqual(
      opened.map(({ ok }) => ok),
      [true, true, false],
    );
  } finally {
    await pool.close();
    await small.close();
  }
});

test("request() and store() say connection_lost of what was sent when the connection broke: it may have arrived", async () => {
  const admin = await cluster.admin();
  const arrived = Promise.withResolvers<void>();
  let count = 0;
  admin.subscribe("orders.lost", {
    callback: () => {
      count += 1;
      if (count === 2) arrived.resolve();
    },
  });
  await admin.flush();
  await withConnection(async (connection) => {
    const message = { subject: "orders.lost", payload: bytes(""), headers: [] };
    const asked = [connection.request(message, 20_000), connection.store(message, 20_000)];
    await arrived.promise;
    await cluster.restart();
    for (const outcome of await Promise.all(asked)) {
      assert.deepEqual(outcome, { ok: false, refusal: { reason: "connection_lost" } });
    }
  });
});
