/** Many messages in one request: each a message of its own, whatever its neighbours are, whatever the caller does. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { type JsonObject, startTestStack, type TestStack } from "./support.ts";
import { eventually, storedOrders } from "./support-operations.ts";

const POLICY = `version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may: [ 'publish orders.{region}.>', 'publish lab.>' ]
  slow:
    given-to: [ { issuer: demo, groups: Audit } ]
    may: [ 'publish lab.>' ]
    limits: { rate: 3/s }
`;

let stack: TestStack;
before(async () => {
  stack = await startTestStack({
    policy: POLICY,
    configure: (yaml) => `${yaml}limits: { body: 64KiB, request-timeout: 3s }\n`,
  });
  const manager = await jetstreamManager(stack.admin);
  await manager.streams.add({ name: "LAB", subjects: ["lab.>"] });
});
after(() => stack?.stop());

interface Batch {
  readonly sending: ClientRequest;
  /** Fulfils once there are so many outcomes, or with all there are when the answer has ended. */
  readonly read: (count: number) => Promise<readonly JsonObject[]>;
  readonly answered: Promise<IncomingMessage>;
  /** The text of the answer, when it has ended. */
  readonly whole: Promise<string>;
}

function open(
  query: string,
  { token = stack.token("alice"), headers = {} }: { token?: string; headers?: Record<string, string> } = {},
): Batch {
  const { promise: answered, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sending = request(`${stack.gatewayUrl}/v1/publish${query}`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/x-ndjson", ...headers },
  });
  let text = "";
  let ended = false;
  let wake: () => void = () => {};
  const { promise: whole, resolve: close } = Promise.withResolvers<string>();
  sending.once("error", reject).once("response", (response) => {
    resolve(response);
    response.setEncoding("utf8").on("data", (more: string) => {
      text += more;
      wake();
    });
    response.once("close", () => {
      ended = true;
      close(text);
      wake();
    });
    response.on("error", () => {});
  });
  answered.catch(() => {});
  return {
    sending,
    answered,
    whole,
    async read(count) {
      await answered;
      for (;;) {
        const lines = text.split("\n").slice(0, -1);
        if (lines.length >= count || ended) return lines.map((line) => JSON.parse(line) as JsonObject);
        await new Promise<void>((next) => {
          wake = next;
        });
      }
    },
  };
}

async function send(
  query: string,
  lines: readonly unknown[],
  how?: Parameters<typeof open>[1],
): Promise<readonly JsonObject[]> {
  const batch = open(query, how);
  batch.sending.end(
    lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join(""),
  );
  return await batch.read(Number.POSITIVE_INFINITY);
}

const statuses = (outcomes: readonly JsonObject[]) => outcomes.map(({ status, code }) => code ?? status);

test("each line is answered by a line, in order, and a refused one does not stop the rest", async () => {
  const outcomes = await send("", [
    { subject: "orders.eu.1", data: "1" },
    { subject: "orders.us.1", data: "not hers" },
    { subject: "orders.eu.2", dataBase64: "Mg==", headers: { "X-Case": "kept" } },
    "no json",
    { subject: "orders.*", data: "" },
    "",
    { subject: "orders.eu.3", data: "x".repeat(70_000) },
    { subject: "orders.eu.4", headers: { "Nats-Rollup": "all" } },
    { subject: "orders.eu.5", idempotencyKey: "k" },
    { subject: "orders.eu.6", data: "6" },
  ]);
  assert.deepEqual(statuses(outcomes), [
    ...[202, "not_allowed", 202, "invalid_request", "invalid_subject", "payload_too_large"],
    ...["invalid_header", "invalid_header", 202],
  ]);
  const [first, refused] = outcomes;
  assert.deepEqual(Object.keys(first ?? {}), ["status", "txn", "id", "subject"]);
  assert.deepEqual([refused?.status, refused?.type], [403, `${stack.gatewayUrl}/problems/not_allowed`]);
  assert.equal(new Set(outcomes.map(({ txn }) => txn)).size, 4);
  const stored = await eventually("the messages", async () => {
    const all = await storedOrders(stack);
    return all.length === 3 ? all : undefined;
  });
  assert.deepEqual(stored.map(({ subject, payload }) => [subject, payload]).sort(), [
    ["orders.eu.1", "1"],
    ["orders.eu.2", "2"],
    ["orders.eu.6", "6"],
  ]);
  const second = stored.find(({ payload }) => payload === "2");
  assert(second?.headers.some(([name, value]) => name === "X-Case" && value === "kept"));
});

test("every line is decided upon and recorded by itself, under one request id", async () => {
  const batch = open("");
  batch.sending.end('{"subject":"orders.eu.rec"}\n{"subject":"orders.us.rec"}\n{"subject":\n');
  const { headers } = await batch.answered;
  const requestId = headers["x-request-id"];
  const [{ txn } = {}] = await batch.read(3);
  const records = stack.audit().filter((line) => line.requestId === requestId);
  assert.deepEqual(
    records.map(({ action, outcome }) => [action, outcome]),
    [
      ["publish a batch", "allowed"],
      ["publish orders.eu.rec", "allowed"],
      ["publish orders.us.rec", "refused"],
      ["(invalid)", "refused"],
    ],
  );
  assert.equal(new Set(records.map((one) => one.txn)).size, 4);
  const [, completion] = await stack.auditOf(txn, 2);
  assert.equal(completion?.outcome, "received");
});

test("with ?stream= each outcome says where its message is; keys and preconditions are each line's own", async () => {
  const lines = [
    { subject: "lab.k", data: "a", idempotencyKey: "a" },
    { subject: "lab.k", data: "b", idempotencyKey: "b" },
    { subject: "lab.p", data: "c", headers: { "Nats-Expected-Last-Subject-Sequence": "9" } },
    { subject: "orders.eu.k", data: "d" },
  ];
  const first = await send("?stream=LAB", lines);
  assert.deepEqual(statuses(first), [200, 200, "precondition_failed", "precondition_failed"]);
  assert.equal(first[2]?.lastSequence, 0);
  const again = await send("?stream=LAB", [
    ...lines.slice(0, 2),
    { subject: "lab.k", data: "z", idempotencyKey: "a" },
  ]);
  assert.deepEqual(statuses(again), [200, 200, "key_reused"]);
  for (const [at, { txn, duplicate, ...rest }] of again.slice(0, 2).entries()) {
    const { txn: _, duplicate: fresh, ...former } = first[at] ?? {};
    assert.deepEqual([rest, duplicate, fresh], [former, true, false]);
  }
});

test("outcomes come while lines are still being sent", async () => {
  const batch = open("?stream=LAB");
  for (let n = 1; n <= 3; n++) {
    batch.sending.write(`{"subject":"lab.live","data":"${n}"}\n`);
    const outcomes = await batch.read(n);
    assert.equal(outcomes.at(-1)?.status, 200);
  }
  batch.sending.end();
  assert.equal((await batch.read(4)).length, 3);
});

test("what comes together is sealed together", async () => {
  const roots = new Set<string>();
  const subscription = stack.admin.subscribe("lab.sealed", {
    callback: (_, message) => void roots.add(message.headers?.get("Seal-Root") ?? ""),
  });
  await stack.admin.flush();
  const outcomes = await send(
    "",
    Array.from({ length: 200 }, (_, n) => ({ subject: "lab.sealed", data: `${n}` })),
  );
  assert.equal(outcomes.length, 200);
  await eventually("all of them", () => (subscription.getReceived() === 200 ? true : undefined));
  subscription.unsubscribe();
  assert(roots.size < 20, `${roots.size} signatures for 200 messages`);
});

test("a rate is each line's: those beyond it are told when to come again, the others pass", async () => {
  const outcomes = await send(
    "",
    Array.from({ length: 5 }, () => ({ subject: "lab.rate" })),
    { token: stack.token("carol") },
  );
  assert.deepEqual(statuses(outcomes), [202, 202, 202, "rate_limited", "rate_limited"]);
  assert.equal(outcomes[4]?.retryAfter, 1);
});

/** Refused as a whole, before a line is read. */
const WHOLE: readonly (readonly [string, string, Record<string, string>, number, RegExp])[] = [
  ["nobody", "", { authorization: "Bearer nobody" }, 401, /not accepted/],
  ["a subject for all", "?subject=lab.a", {}, 400, /each line of a batch has its own/],
  ["a key for all", "?stream=LAB", { "idempotency-key": "k" }, 400, /each line of a batch has its own/],
  ["a header for all", "", { "msg-a": "1" }, 400, /each line of a batch has its own/],
  ["a time without a stream", "?timeout=1s", {}, 400, /nothing is waited for/],
  ["an unknown parameter", "?streams=LAB", {}, 400, /unknown/],
];
for (const [what, query, headers, status, detail] of WHOLE) {
  test(`a batch with ${what} is refused as a whole`, async () => {
    const batch = open(query, { headers });
    batch.sending.end('{"subject":"lab.whole"}\n');
    const response = await batch.answered;
    assert.equal(response.statusCode, status);
    const problem = JSON.parse(await batch.whole) as JsonObject;
    assert.match(String(problem.detail), detail);
  });
}

test("the same bytes are one message for a request, and in another content type", async () => {
  const answer = await stack.call("/v1/publish?subject=lab.one", {
    ...{ method: "POST", token: stack.token("alice"), body: '{"subject":"lab.a"}\n' },
    headers: { "content-type": "application/ndjson" },
  });
  assert.equal(answer.status, 202);
});

function memoryOf(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) / 1024;
}

/** Sends without pause and reads nothing, until it is cut off. @returns bytes that were sent */
async function flood(token: string): Promise<number> {
  const line = `{"subject":"lab.flood","data":"${"x".repeat(2_000)}"}\n`.repeat(30);
  const chunk = Buffer.from(`${line.length.toString(16)}\r\n${line}\r\n`);
  const head = [
    ...["POST /v1/publish HTTP/1.1", "Host: gateway", `Authorization: Bearer ${token}`],
    ...["Content-Type: application/x-ndjson", "Transfer-Encoding: chunked", "", ""],
  ];
  const socket = connect(Number(new URL(stack.gatewayUrl).port), "127.0.0.1");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  let sent = 0;
  const push = (): void => {
    while (!socket.destroyed && socket.write(chunk)) sent += chunk.length;
  };
  socket.on("error", () => {}).on("drain", push);
  socket.pause().write(head.join("\r\n"));
  push();
  await closed;
  return sent;
}

test("callers who send without pause and read nothing cost memory that does not grow with what they send, and are cut off", {
  skip: process.platform === "linux" ? false : "memory is read from /proc",
}, async () => {
  const token = stack.token("alice");
  const { pid } = stack.gateway();
  async function floodAll(): Promise<{ readonly mebibytesSent: number; readonly mebibytesHeld: number }> {
    const sent = await Promise.all(Array.from({ length: 8 }, () => flood(token)));
    return { mebibytesSent: sent.reduce((x, y) => x + y) / 2 ** 20, mebibytesHeld: memoryOf(pid) };
  }
  const first = await floodAll();
  const second = await floodAll();
  assert(second.mebibytesSent > 100, `${second.mebibytesSent} MiB sent`);
  assert(second.mebibytesHeld < 800, `${second.mebibytesHeld} MiB held`);
  const grown = second.mebibytesHeld - first.mebibytesHeld;
  assert(grown < 100, `${grown} MiB more after ${second.mebibytesSent} MiB more`);
  const answer = await stack.call("/v1/publish?subject=lab.after", { method: "POST", token });
  assert.equal(answer.status, 202);
});

test("a caller who goes away stops the batch: what was under way is completed in the record, and nothing more is sent", async () => {
  const batch = open("?stream=LAB");
  batch.sending.on("error", () => {});
  batch.sending.write('{"subject":"lab.gone","data":"1"}\n');
  const [{ txn } = {}] = await batch.read(1);
  batch.sending.write('{"subject":"lab.gone","data":"2"}\n{"subject":"lab.gone","da');
  await eventually("the second line", () =>
    stack.audit().filter(({ action }) => action === "publish lab.gone").length === 2 ? true : undefined,
  );
  batch.sending.destroy();
  await stack.auditOf(txn, 2);
  await eventually("its completion", () => {
    const txns = stack
      .audit()
      .flatMap(({ action, txn: one }) => (action === "publish lab.gone" ? [one] : []));
    const done = stack.audit().flatMap(({ txns: those }) => (Array.isArray(those) ? those : []));
    return txns.length === 2 && txns.every((one) => done.includes(one)) ? true : undefined;
  });
});

test("a batch that does not come to its end is ended, with what came of its lines and why", async () => {
  const batch = open("");
  batch.sending.on("error", () => {});
  batch.sending.write('{"subject":"lab.late"}\n{"subject":"lab.la');
  const outcomes = await batch.read(Number.POSITIVE_INFINITY);
  assert.deepEqual(statuses(outcomes), [202, "invalid_request"]);
  assert.match(String(outcomes[1]?.detail), /^batch: not whole after 2700 ms/);
});
