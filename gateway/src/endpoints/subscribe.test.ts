import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import type { Admission, Ask } from "../admit.ts";
import { listen } from "../compose/listen.ts";
import { allowed, refused } from "../refusal.ts";
import type { StreamEvent, StreamSink, Subscribe } from "../subscribe.ts";
import type { EndpointParts } from "./parts.ts";
import { addSubscribe } from "./subscribe.ts";
import { testServer } from "./testing/server.ts";

interface Opened {
  readonly sink: StreamSink;
  readonly subjects: readonly string[];
  stopped: number;
}

/** A listener whose streams the test itself feeds and ends. */
async function serve(t: TestContext, before: (sink: StreamSink) => boolean = () => true) {
  const opened: Opened[] = [];
  const streams: Pick<Subscribe, "open" | "neverBegan"> = {
    async open({ admissions, sink }) {
      if (!before(sink)) return refused({ reason: "shutting_down" });
      const stream = { sink, subjects: admissions.map(({ subject }) => subject), stopped: 0 };
      opened.push(stream);
      return allowed(() => {
        stream.stopped += 1;
      });
    },
    neverBegan: () => {},
  };
  const parts = {
    streams,
    admit: async ({ action }: Ask) => ("ok" in action && !action.ok ? action : allowed({} as Admission)),
    presentedOf: () => refused({ reason: "proof_missing" }),
  } as unknown as EndpointParts;
  const app = testServer();
  addSubscribe(app, parts);
  const address = await listen(app, { host: "127.0.0.1", port: 0 });
  t.after(() => {
    app.server.closeAllConnections();
    return app.close();
  });
  return { opened, port: Number(address.split(":")[1]) };
}

async function open(port: number, query = "subject=lab.a"): Promise<IncomingMessage> {
  const [response] = await once(
    request({ port, host: "127.0.0.1", path: `/v1/subscribe?${query}`, agent: false }).end(),
    "response",
  );
  return (response as IncomingMessage).setEncoding("utf8");
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) text += chunk;
  return text;
}

function eventOf(payload: Uint8Array | string): StreamEvent {
  const message = { subject: "lab.a", payload: Buffer.from(payload), headers: [] };
  const sender = { verified: false, code: "seal_missing" } as const;
  return { arrival: { message, at: 0, sender: Promise.resolve(sender) }, sender };
}

test("addSubscribe() sends the head at once, then a comment every 15 seconds, so that nothing on the way cuts it", async (t) => {
  const { opened, port } = await serve(t);
  t.mock.timers.enable({ apis: ["setInterval"] });
  const response = await open(port);
  assert.equal(response.headers["content-type"], "text/event-stream");
  assert.equal((await once(response, "data"))[0], ": open\n\n");
  t.mock.timers.tick(15_000);
  assert.equal((await once(response, "data"))[0], ": \n\n");
  opened[0]?.sink.end("shutdown");
  t.mock.timers.tick(15_000);
  assert.equal(await textOf(response), 'event: end\ndata: {"code":"shutdown","reconnect":true}\n\n');
});

test("addSubscribe() keeps what comes before the head, in order, and the end too", async (t) => {
  const { port } = await serve(t, (sink) => {
    sink.deliver(eventOf("early"));
    sink.end("expired");
    return true;
  });
  const text = await textOf(await open(port));
  assert.match(
    text,
    /^: open\n\ndata: \{[^\n]*"early"[^\n]*\}\n\nevent: end\ndata: [^\n]*"expired"[^\n]*\n\n$/,
  );
});

test("addSubscribe() bounds what comes before the head", async (t) => {
  const delivered: boolean[] = [];
  const { port } = await serve(t, (sink) => {
    for (let n = 0; n < 3; n++) delivered.push(sink.deliver(eventOf("a".repeat(500_000))));
    return false;
  });
  const response = await open(port);
  assert.equal(response.statusCode, 503);
  response.resume();
  assert.deepEqual(delivered, [true, true, false]);
});

test("addSubscribe() stops the stream when its reader leaves", async (t) => {
  const { opened, port } = await serve(t);
  const response = await open(port);
  await once(response, "data");
  response.destroy();
  while (opened[0]?.stopped === 0) await new Promise((turn) => setImmediate(turn));
  assert.equal(opened[0]?.stopped, 1);
});

test("addSubscribe() cuts off a reader that takes neither its events nor their end", async (t) => {
  const { opened, port } = await serve(t);
  const socket = connect(port, "127.0.0.1");
  socket.write("GET /v1/subscribe?subject=lab.a HTTP/1.1\r\nHost: a\r\n\r\n");
  await once(socket, "data");
  socket.pause();
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const [stream] = opened;
  assert(stream);
  // As much as both kernels take, and then what stays here.
  while (stream.sink.deliver(eventOf("a".repeat(200_000)))) await new Promise((turn) => setImmediate(turn));
  stream.sink.end("slow_reader");
  t.mock.timers.tick(4_999);
  await new Promise((turn) => setImmediate(turn));
  assert.equal(stream.stopped, 0);
  t.mock.timers.tick(1);
  while (stream.stopped === 0) await new Promise((turn) => setImmediate(turn));
  socket.destroy();
});

test("addSubscribe() tells two subjects that overlap from two that only look alike", async (t) => {
  const { opened, port } = await serve(t);
  const long = `lab.${"a".repeat(200)}`;
  const answer = await open(port, `subject=${long}.*&subject=${long}.b`);
  assert.equal(answer.statusCode, 400);
  const { detail } = JSON.parse(await textOf(answer));
  assert.match(
    detail,
    /^query parameter subject: "lab\.a+\.\.\." and "lab\.a+\.\.\." share subjects, .* two streams$/,
  );
  (await open(port, "subject=lab.*.a&subject=lab.*.b&subject=lab.*")).destroy();
  assert.deepEqual(
    opened.map(({ subjects }) => subjects),
    [["lab.*.a", "lab.*.b", "lab.*"]],
  );
});

test("addSubscribe() asks for each subject once, and for no more than 16", async (t) => {
  const { opened, port } = await serve(t);
  const many = Array.from({ length: 16 }, (_, n) => `subject=lab.${n}`).join("&");
  (await open(port, `${many}&subject=lab.0`)).destroy();
  assert.equal(opened[0]?.subjects.length, 16);
});
