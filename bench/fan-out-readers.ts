/**
 * A thousand readers in a process of their own: Server-Sent Events over bare sockets, or nats.js subscriptions.
 *
 * `node bench/fan-out-readers.ts`, with a `ReadersPlan` as JSON on the first line of standard input. Prints a line when
 * all are open, then one whenever each has had so many events as a further line of input asks for.
 */

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { connect, credsAuthenticator } from "@nats-io/transport-node";
import { readLean } from "../test/lean-reader.ts";

export type ReadersPlan = { readonly readers: number } & (
  | { readonly port: number; readonly path: string; readonly tokens: readonly string[] }
  | {
      readonly natsUrl: string;
      readonly credsFile: string;
      readonly subject: string;
      readonly connections: number;
    }
);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const plan = JSON.parse((await lines.next()).value ?? "{}") as ReadersPlan;
const count = { events: 0, wanted: Number.POSITIVE_INFINITY };

function take(): void {
  count.events += 1;
  if (count.events >= count.wanted) tell();
}

function tell(): void {
  count.wanted = Number.POSITIVE_INFINITY;
  process.stdout.write(`${count.events}\n`);
}

if ("natsUrl" in plan) {
  const authenticator = credsAuthenticator(await readFile(plan.credsFile));
  for (let n = 0; n < plan.connections; n += 1) {
    const connection = await connect({ servers: plan.natsUrl, authenticator });
    for (let m = 0; m < plan.readers / plan.connections; m += 1)
      connection.subscribe(plan.subject, { callback: take });
    await connection.flush();
  }
} else {
  const { port, path, tokens } = plan;
  await Promise.all(
    Array.from({ length: plan.readers }, (_, n) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      readLean({
        port,
        path,
        headers: { authorization: `Bearer ${tokens[n % tokens.length]}` },
        onBlock: (block) => {
          if (block.startsWith(": open")) resolve();
          if (block.includes('data: {"subject"')) take();
        },
        onClose: (status) => reject(new Error(`a reader was answered ${status}, or cut off`)),
      });
      return promise;
    }),
  );
}
tell();
for (let line = await lines.next(); !line.done; line = await lines.next()) {
  count.wanted = Number(line.value);
  if (count.events >= count.wanted) tell();
}
process.exit(0);
