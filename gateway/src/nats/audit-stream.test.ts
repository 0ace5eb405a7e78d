import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createAuditStream } from "./audit-stream.ts";
import { type Control, openControl } from "./control.ts";
import { controlOptionsOf, startCluster, type TestCluster, until } from "./testing/cluster.ts";

let cluster: TestCluster;
let control: Control;
before(async () => {
  cluster = await startCluster();
  control = await openControl(controlOptionsOf(cluster, "one"));
});
after(async () => {
  await control?.close();
  await cluster?.close();
});

/** Every line in the stream under this instance's subject, in order. */
async function linesOf(instance: string): Promise<string[]> {
  const { state } = await control.manager.streams.info("AUDIT");
  const lines: string[] = [];
  for (let seq = state.first_seq; seq > 0 && seq <= state.last_seq; seq++) {
    const message = await control.manager.streams.getMessage("AUDIT", { seq });
    if (message?.subject === `audit.${instance}`) lines.push(...message.string().split("\n").slice(0, -1));
  }
  return lines;
}

const numbered = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => JSON.stringify({ n: from + index }));

test("append() durable fulfils when the lines are in the stream, in order, whatever came between", async () => {
  const sink = createAuditStream({ control, instance: "ordered" });
  for (let at = 0; at < 5_000; at += 10) await sink.append(numbered(at, at + 10), false);
  await sink.append(numbered(5_000, 5_001), true);
  assert.deepEqual(await linesOf("ordered"), numbered(0, 5_001));
  const { state } = await control.manager.streams.info("AUDIT");
  assert.ok(state.messages < 500, `${state.messages} messages for 501 batches`);
  await sink.close();
});

test("append() splits what would not fit into one message", async () => {
  const sink = createAuditStream({ control, instance: "large" });
  const lines = Array.from({ length: 40 }, (_, index) => `${index} ${"x".repeat(60_000)}`);
  await sink.append(lines, true);
  assert.deepEqual(await linesOf("large"), lines);
  await sink.close();
});

test("append() rejects beyond its buffer", async () => {
  const sink = createAuditStream({ control, instance: "full", bufferBytesMax: 1_000 });
  await sink.append(["x".repeat(900)], false);
  await assert.rejects(async () => sink.append(["x".repeat(200)], false), /too slow/);
  await sink.close();
});

test("append() rejects while nats-server is away, and what it had taken is written once when it is back", async () => {
  const sink = createAuditStream({ control, instance: "away" });
  await sink.append(["before"], true);
  const taken = sink.append(["taken"], false);
  await taken;
  await cluster.stop();
  await until(() => control.unready() !== undefined);
  await assert.rejects(async () => sink.append(["refused"], false), /lost/);
  await cluster.restart();
  await until(() => control.unready() === undefined, 20_000);
  await until(
    () =>
      Promise.resolve(sink.append(["after"], true)).then(
        () => true,
        () => false,
      ),
    20_000,
  );
  assert.deepEqual(await linesOf("away"), ["before", "taken", "after"]);
  await sink.close();
});

test("nothing can be deleted from the stream by the gateway's own user", async () => {
  await assert.rejects(control.manager.streams.deleteMessage("AUDIT", 1));
  await assert.rejects(control.manager.streams.purge("AUDIT"));
});
