/** Keys of a bucket over HTTP: read, written, compared, deleted; each under its own right, each write sealed. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TRUST_DOMAIN } from "@countersign/devstack/stack.ts";
import { createVerifier } from "@countersign/seal";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { headers } from "@nats-io/nats-core";
import {
  type Answer,
  type Call,
  type EventReader,
  type JsonObject,
  openStream,
  type StreamedEvent,
  startTestStack,
  type TestStack,
} from "./support.ts";

let stack: TestStack;

before(async () => {
  stack = await startTestStack();
});
after(() => stack?.stop());

function kv(
  method: string,
  key: string,
  how: Call & { readonly who?: "alice" | "bob" } = {},
): Promise<Answer> {
  const { who = "alice", ...call } = how;
  const place = `bucket=carts&key=${encodeURIComponent(key)}`;
  return stack.call(`/v1/kv?${place}`, { method, token: stack.token(who), ...call });
}

function revisionOf(answer: Answer): number {
  assert.equal(answer.status, 200, answer.text);
  return Number(answer.json().revision);
}

test("a value is read as it was written, with its revision, its type and its headers", async () => {
  const body = JSON.stringify({ items: [7] });
  const put = await kv("PUT", "demo-alice.one", {
    headers: { "content-type": "application/json", "msg-source": "page" },
    body,
  });
  const revision = revisionOf(put);
  assert.deepEqual(
    [put.headers.etag, put.json().bucket, put.json().key],
    [`"${revision}"`, "carts", "demo-alice.one"],
  );
  const got = await kv("GET", "demo-alice.one");
  assert.deepEqual(
    [got.status, got.text, got.headers.etag, got.headers["content-type"], got.headers["msg-source"]],
    [200, body, `"${revision}"`, "application/json", "page"],
  );
  assert.equal(got.headers["content-security-policy"], "sandbox; default-src 'none'");
  assert(!Object.keys(got.headers).some((name) => name.startsWith("nats-") || name.startsWith("seal-")));
  const same = await kv("GET", "demo-alice.one", { headers: { "if-none-match": `W/"${revision}"` } });
  assert.deepEqual([same.status, same.text], [304, ""]);
});

test("a key that was never written, or is deleted, is not found; its revision counts on", async () => {
  assert.equal((await kv("GET", "demo-alice.never")).status, 404);
  const written = revisionOf(await kv("PUT", "demo-alice.gone", { body: "1" }));
  const deleted = revisionOf(
    await kv("DELETE", "demo-alice.gone", { headers: { "if-match": `"${written}"` } }),
  );
  assert(deleted > written);
  assert.equal((await kv("GET", "demo-alice.gone")).status, 404);
});

test("a write happens under the revision that was named, and under no other", async () => {
  const first = revisionOf(await kv("PUT", "demo-alice.cas", { body: "1" }));
  const second = revisionOf(
    await kv("PUT", "demo-alice.cas", { headers: { "if-match": `"${first}"` }, body: "2" }),
  );
  const late = await kv("PUT", "demo-alice.cas", { headers: { "if-match": `"${first}"` }, body: "3" });
  assert.deepEqual([late.status, late.json().code], [412, "precondition_failed"]);
  const lateDelete = await kv("DELETE", "demo-alice.cas", { headers: { "if-match": `"${first}"` } });
  assert.equal(lateDelete.status, 412);
  assert.deepEqual([(await kv("GET", "demo-alice.cas")).text, second > first], ["2", true]);
});

test("of many that write a key at once, each where it finds none, one does; after a deletion, again one", async () => {
  const create = (body: string): Promise<Answer> =>
    kv("PUT", "demo-alice.race", { headers: { "if-none-match": "*" }, body });
  for (const round of [1, 2]) {
    const answers = await Promise.all(Array.from({ length: 8 }, (_, at) => create(`${round}.${at}`)));
    const won = answers.filter(({ status }) => status === 200);
    assert.deepEqual(answers.map(({ status }) => status).sort(), [
      200,
      ...Array.from({ length: 7 }, () => 412),
    ]);
    const value = (await kv("GET", "demo-alice.race")).text;
    assert.equal(won.length, 1);
    assert.match(value, new RegExp(`^${round}\\.`));
    revisionOf(await kv("DELETE", "demo-alice.race"));
  }
});

test("a key of another user is neither read nor written", async () => {
  revisionOf(await kv("PUT", "demo-alice.own", { body: "1" }));
  for (const method of ["GET", "PUT", "DELETE"]) {
    const answer = await kv(method, "demo-alice.own", { who: "bob" });
    assert.deepEqual([method, answer.status, answer.json().code], [method, 403, "not_allowed"]);
  }
  assert.equal((await kv("GET", "demo-alice.own")).text, "1");
});

test("what is written is sealed: a reader of the bucket proves who wrote it, a deletion too", async () => {
  const { txn, id } = (await kv("PUT", "demo-alice.sealed", { body: "mine" })).json();
  const verify = createVerifier({ issuer: stack.gatewayUrl, audience: TRUST_DOMAIN });
  const bucket = await new Kvm(stack.admin).open("carts");
  const stored = async () => {
    const { jetstreamManager } = await import("@nats-io/jetstream");
    const manager = await jetstreamManager(stack.admin);
    const message = await manager.streams.getMessage("KV_carts", {
      last_by_subj: "$KV.carts.demo-alice.sealed",
    });
    assert(message);
    const headers = [...message.header].flatMap(([name, values]) =>
      values.map((value): [string, string] => [name, value]),
    );
    return {
      subject: message.subject,
      headers,
      payload: message.data,
      brokerTime: message.time.getTime() / 1000,
    };
  };
  const written = await verify(await stored());
  assert.deepEqual(
    [written.sender.user, written.txn, written.id, written.text(), written.claims.scope],
    ["demo-alice", txn, id, "mine", "write-kv:$KV.carts.demo-alice.>"],
  );
  revisionOf(await kv("DELETE", "demo-alice.sealed"));
  assert.equal((await bucket.get("demo-alice.sealed"))?.operation, "DEL");
  const mark = await stored();
  assert.equal((await verify(mark)).sender.user, "demo-alice");
  const revived = { ...mark, headers: mark.headers.filter(([name]) => name !== "KV-Operation") };
  await assert.rejects(verify(revived), { code: "headers_changed" });
});

test("each is recorded with its decision and what came of it", async () => {
  const { txn } = (await kv("PUT", "demo-alice.recorded", { body: "1" })).json();
  const [decision = {}, done] = await stack.auditOf(txn, 2);
  assert.deepEqual(
    [decision.action, decision.outcome, (decision.rule as JsonObject).text],
    ["write-kv carts demo-alice.recorded", "allowed", "write-kv carts {user}.>"],
  );
  assert.deepEqual([done?.outcome, done?.stream], ["stored", "KV_carts"]);
  const got = await kv("GET", "demo-alice.recorded");
  const [read, shown] = await stack.auditOf(got.headers["x-request-id"], 2);
  assert.deepEqual([read?.action, shown?.outcome], ["read-kv carts demo-alice.recorded", "replied"]);
});

async function list(key: string, who: "alice" | "bob" = "alice"): Promise<Answer> {
  return stack.call(`/v1/kv/keys?bucket=carts&key=${encodeURIComponent(key)}`, { token: stack.token(who) });
}

test("keys that have a value are listed, with their revisions, under the pattern that was asked for", async () => {
  assert.deepEqual((await list("demo-alice.none.>")).json(), { bucket: "carts", keys: [], complete: true });
  const revisions: number[] = [];
  for (const key of ["b", "a", "c.d"])
    revisions.push(revisionOf(await kv("PUT", `demo-alice.list.${key}`, { body: key })));
  revisionOf(await kv("PUT", "demo-alice.list.gone", { body: "1" }));
  revisionOf(await kv("DELETE", "demo-alice.list.gone"));
  const [b, a, d] = revisions;
  assert.deepEqual((await list("demo-alice.list.>")).json().keys, [
    { key: "demo-alice.list.a", revision: a },
    { key: "demo-alice.list.b", revision: b },
    { key: "demo-alice.list.c.d", revision: d },
  ]);
  assert.equal(((await list("demo-alice.list.*")).json().keys as unknown[]).length, 2);
  assert.equal((await list("demo-alice.>", "bob")).status, 403);
  assert.equal((await list(">")).status, 400);
});

function watch(query: string, headers = {}): Promise<EventReader> {
  return openStream(`${stack.gatewayUrl}/v1/kv/watch?bucket=carts&${query}`, {
    token: stack.token("alice"),
    headers,
  });
}

function changes(events: readonly StreamedEvent[]): unknown[] {
  return events
    .filter(({ event }) => event === "message")
    .map(({ data }) => [data.key, data.operation, data.data, (data.sender as JsonObject).user]);
}

test("a watch begins with each key as it is, and goes on with what changes", async () => {
  await kv("PUT", "demo-alice.watch.a", { body: "0" });
  await kv("PUT", "demo-alice.watch.a", { body: "1" });
  await kv("PUT", "demo-alice.watch.b", { body: "1" });
  const watching = await watch("key=demo-alice.watch.>");
  await watching.read(3);
  await kv("PUT", "demo-alice.watch.a", { body: "2" });
  await kv("DELETE", "demo-alice.watch.b");
  const events = await watching.read(5);
  const by = "demo-alice";
  assert.deepEqual(changes(events), [
    ["demo-alice.watch.a", "put", "1", by],
    ["demo-alice.watch.b", "put", "1", by],
    ["demo-alice.watch.a", "put", "2", by],
    ["demo-alice.watch.b", "delete", "", by],
  ]);
  watching.leave();
});

test("who comes back with the last id gets the latest of what has changed since, and nothing else", async () => {
  for (const key of ["a", "b"]) await kv("PUT", `demo-alice.back.${key}`, { body: "1" });
  const before = revisionOf(await kv("PUT", "demo-alice.back.c", { body: "1" }));
  for (const body of ["2", "3"]) await kv("PUT", "demo-alice.back.a", { body });
  await kv("DELETE", "demo-alice.back.b");
  const expected = [
    ["demo-alice.back.a", "put", "3", "demo-alice"],
    ["demo-alice.back.b", "delete", "", "demo-alice"],
  ];
  for (const [query, headers] of [
    [`&last-event-id=KV_carts:${before}`, {}],
    ["", { "last-event-id": `KV_carts:${before}` }],
  ] as const) {
    const watching = await watch(`key=demo-alice.back.*${query}`, headers);
    assert.deepEqual(changes(await watching.read(3)), expected);
    watching.leave();
  }
  const fresh = await watch("key=demo-alice.back.*&from=new");
  await fresh.read(1);
  await kv("PUT", "demo-alice.back.a", { body: "4" });
  assert.deepEqual(changes(await fresh.read(2)), [["demo-alice.back.a", "put", "4", "demo-alice"]]);
  fresh.leave();
  const other = await stack.call("/v1/kv/watch?bucket=carts&key=demo-alice.>&last-event-id=ORDERS:1", {
    token: stack.token("alice"),
  });
  assert.deepEqual([other.status, other.json().code], [400, "invalid_request"]);
});

test("what cannot be is said in words that help", async () => {
  const cases: readonly [string, string, Call["headers"], number, RegExp][] = [
    ["PUT", "demo-alice.x", { "if-match": "7" }, 400, /if-match: expected one revision, such as "7"/],
    ["PUT", "demo-alice.x", { "if-match": '"1", "2"' }, 400, /expected one revision/],
    ["PUT", "demo-alice.x", { "if-match": '"1"', "if-none-match": "*" }, 400, /not both/],
    ["DELETE", "demo-alice.x", { "if-none-match": "*" }, 400, /a deletion takes If-Match only/],
    ["PUT", "demo-alice.x", { "nats-rollup": "all" }, 400, /nats-rollup/i],
    ["PUT", "demo-alice.x", { "msg-kv-operation": "PURGE" }, 400, /kv-operation/],
    ["PUT", "demo-alice.*", {}, 400, /expected a key/],
    ["PUT", "demo-alice..x", {}, 400, /expected a key/],
    ["GET", `demo-alice.${"x".repeat(200)}`, {}, 400, /expected a key/],
  ];
  for (const [method, key, headers = {}, status, detail] of cases) {
    const answer = await kv(method, key, { headers });
    assert.deepEqual([method, key, answer.status], [method, key, status], answer.text);
    assert.match(String(answer.json().detail), detail);
  }
  const other = await stack.call("/v1/kv?bucket=none&key=demo-alice.x", { token: stack.token("alice") });
  assert.equal(other.status, 403);
});

test("a revision is the bucket's own word, whatever the writer put into the message", async () => {
  const lies = headers();
  lies.set("Nats-Sequence", "999999");
  lies.set("Nats-Time-Stamp", "2001-01-01T00:00:00Z");
  const { seq } = await jetstream(stack.admin).publish("$KV.carts.demo-alice.lies", "x", { headers: lies });
  const got = await kv("GET", "demo-alice.lies");
  assert.deepEqual([got.status, got.headers.etag], [200, `"${seq}"`]);
  assert(Date.parse(String(got.headers["last-modified"])) > Date.parse("2020-01-01T00:00:00Z"));
  revisionOf(await kv("PUT", "demo-alice.lies", { headers: { "if-match": `"${seq}"` }, body: "y" }));
});

test("a key that passed its time is not there, and can be made anew", async () => {
  const mark = headers();
  mark.set("Nats-Marker-Reason", "MaxAge");
  await jetstream(stack.admin).publish("$KV.carts.demo-alice.expired", "", { headers: mark });
  assert.equal((await kv("GET", "demo-alice.expired")).status, 404);
  revisionOf(await kv("PUT", "demo-alice.expired", { headers: { "if-none-match": "*" }, body: "y" }));
});
