import assert from "node:assert/strict";
import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { type CalloutStack, startCalloutStack } from "./support-callout.ts";

/** As many as reconnect at once when a server restarts. */
const CLIENTS = 2_000;

let stack: CalloutStack;
before(async () => {
  stack = await startCalloutStack();
});
after(() => stack?.stop());

test("two thousand clients that come at once all get in, with the key set fetched once", async () => {
  // Each with a token of its own, none of which was seen before.
  const tokens = Array.from({ length: CLIENTS }, (_, index) =>
    stack.token("alice", { claims: { jti: `storm-${index}` } }),
  );
  const before = stack.identityProvider.requests.get(jwksPath()) ?? 0;
  const first = await Promise.all(tokens.map((token) => enter(stack.nats.port, token)));
  assert.deepEqual(answersOf(first), { PONG: CLIENTS });
  assert.equal((stack.identityProvider.requests.get(jwksPath()) ?? 0) - before, 1);

  // They lose their connections and come back with what they hold.
  for (const { socket } of first) socket.destroy();
  const again = await Promise.all(tokens.map((token) => enter(stack.nats.port, token)));
  assert.deepEqual(answersOf(again), { PONG: CLIENTS });
  assert.equal((stack.identityProvider.requests.get(jwksPath()) ?? 0) - before, 1);
  for (const { socket } of again) socket.destroy();

  const callouts = stack.audit().filter(({ lane }) => lane === "callout");
  assert.equal(callouts.length, 2 * CLIENTS, "each has its record");
  assert.ok(callouts.every(({ outcome }) => outcome === "allowed"));
});

function jwksPath(): string {
  const [path = ""] = [...stack.identityProvider.requests.keys()].filter((each) => /jwks/.test(each));
  return path === "" ? "/jwks" : path;
}

interface Entered {
  readonly answer: string;
  readonly socket: Socket;
}

/** By hand: two thousand clients of nats.js would be slow by themselves. */
async function enter(port: number, token: string): Promise<Entered> {
  const socket = createConnection(port, "127.0.0.1");
  socket.setEncoding("latin1").on("error", () => {});
  let text = "";
  const answered = new Promise<string>((resolve) => {
    socket.on("data", (chunk: string) => {
      if (text === "") {
        const options = { auth_token: token, verbose: false, pedantic: false, protocol: 1, lang: "test" };
        socket.write(`CONNECT ${JSON.stringify(options)}\r\nPING\r\n`);
      }
      text += chunk;
      const answer = /^(PONG|-ERR [^\r]*)\r$/m.exec(text)?.[1];
      if (answer !== undefined) resolve(answer);
    });
    socket.once("close", () => resolve(`closed after ${text.length} characters`));
  });
  await once(socket, "connect").catch(() => {});
  return { answer: await answered, socket };
}

function answersOf(entered: readonly Entered[]): Readonly<Record<string, number>> {
  const groups = Map.groupBy(entered, ({ answer }) => answer);
  return Object.fromEntries([...groups].map(([answer, those]) => [answer, those.length]));
}
