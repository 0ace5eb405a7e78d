import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Admission } from "../admit.ts";
import type { Message } from "../prepare.ts";
import { allowed, type Outcome } from "../refusal.ts";
import type { EndpointParts } from "./parts.ts";
import { addPublish } from "./publish.ts";
import { testServer } from "./testing/server.ts";

const LINE_BYTES_MAX = 256 * 1024;

interface Bench {
  /** Lines that were handed on to be sent. */
  readonly sent: () => number;
  readonly bytes: () => number;
  readonly socket: Socket;
  /** Writes lines until the gateway takes no more for a while. @returns how many it took, at least */
  readonly pump: (line: string, most: number) => Promise<number>;
}

/** A gateway whose messages are sent at once, or not before the test ends, and one caller that does not read. */
async function bench(t: TestContext, when: "at once" | "at the end"): Promise<Bench> {
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  let sent = 0;
  let bytes = 0;
  const parts = {
    admit: async () => allowed({} as Admission),
    effects: {
      async publish(_: Admission, message: Message): Promise<Outcome<object>> {
        sent += 1;
        bytes += message.payload.length;
        if (when === "at the end") await ended;
        return allowed({ filler: "x".repeat(500) });
      },
    },
    presentedOf: () => allowed({}),
    clock: () => 1_000,
  } as unknown as EndpointParts;
  const app = testServer({
    limits: {
      bodyBytesMax: LINE_BYTES_MAX,
      headerBytesMax: 8_192,
      headersTimeoutMs: 10_000,
      requestTimeoutMs: 60_000,
      keepAliveTimeoutMs: 10_000,
      connectionsMax: 10,
    },
  });
  addPublish(app, parts);
  await app.listen({ host: "127.0.0.1", port: 0 });
  const socket = connect((app.server.address() as AddressInfo).port, "127.0.0.1");
  socket.on("error", () => {}).pause();
  t.after(async () => {
    end();
    socket.destroy();
    await app.close();
  });
  await once(socket, "connect");
  socket.write(
    "POST /v1/publish HTTP/1.1\r\nHost: g\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
  );
  return {
    sent: () => sent,
    bytes: () => bytes,
    socket,
    async pump(line, most) {
      const chunk = `${line.length.toString(16)}\r\n${line}\r\n`;
      let taken = 0;
      for (let quiet = 0; quiet < 25 && taken < most; ) {
        if (!socket.writableNeedDrain) {
          socket.write(chunk);
          taken += 1;
          quiet = 0;
          continue;
        }
        await delay(20);
        quiet = socket.writableNeedDrain ? quiet + 1 : 0;
      }
      return taken;
    },
  };
}

const MANY_LINES = `${'{"subject":"lab.a"}\n'.repeat(500)}`;

test("a batch has no more than 256 lines under way, however many come", async (t) => {
  const { pump, sent } = await bench(t, "at the end");
  const taken = await pump(MANY_LINES, 10_000);
  assert(taken < 10_000, "the caller is made to wait");
  assert.equal(sent(), 256);
});

test("a batch has no more than four mebibytes and a line under way", async (t) => {
  const { pump, bytes } = await bench(t, "at the end");
  const line = `{"subject":"lab.a","data":"${"x".repeat(200_000)}"}\n`;
  await pump(line, 200);
  assert(bytes() >= 4 * 2 ** 20 - 200_000 && bytes() <= 4 * 2 ** 20 + 200_000, `${bytes()} bytes`);
});

test("a batch reads no more lines while its outcomes are not read", async (t) => {
  const { pump, sent } = await bench(t, "at once");
  const taken = await pump(MANY_LINES, 1_000);
  assert(taken < 1_000, "the caller is made to wait");
  // A mebibyte of outcomes waits here, some more in the buffers of both sockets: all hundred thousand would be 50.
  let before = -1;
  while (before < sent()) {
    before = sent();
    await delay(300);
  }
  assert(before < 90_000, `${before} lines were sent`);
});

test("a batch goes on when its outcomes are read", async (t) => {
  const { pump, sent, socket } = await bench(t, "at once");
  await pump(MANY_LINES, 1_000);
  const before = sent();
  socket.resume();
  while (sent() < before + 1_000) await delay(10);
});
