import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientOutput } from "./client-output.ts";

function outputTo(): { readonly output: ClientOutput; readonly sent: string[] } {
  const sent: string[] = [];
  const output = new ClientOutput({
    send: (parts) => sent.push(Buffer.concat(parts).toString()),
    unsentBytes: 0,
    pause() {},
    resume() {},
    close() {},
  });
  return { output, sent };
}

const nextTick = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

test("ClientOutput lets no line of ours land inside a message that a chunk has cut", async () => {
  const { output, sent } = outputTo();
  output.pass(Buffer.from("MSG a 1 4\r\nab"));
  output.flush(true);
  output.write("-ERR 'x'\r\n");
  await nextTick();
  assert.deepEqual(sent, []);
  output.pass(Buffer.from("cd\r\n"));
  output.flush(false);
  assert.deepEqual(sent, ["MSG a 1 4\r\nabcd\r\n-ERR 'x'\r\n"]);
});

test("ClientOutput sends the lines of one turn together", async () => {
  const { output, sent } = outputTo();
  output.write("+OK\r\n");
  output.write("PONG\r\n");
  await nextTick();
  assert.deepEqual(sent, ["+OK\r\nPONG\r\n"]);
});

test("ClientOutput ends with whole lines only, and nothing follows the last words", async () => {
  const { output, sent } = outputTo();
  output.pass(Buffer.from("MSG a 1 4\r\nab"));
  output.flush(true);
  output.write("-ERR 'Slow'\r\n");
  output.end("-ERR 'End'\r\n");
  output.pass(Buffer.from("cd\r\n"));
  output.flush(false);
  output.write("PONG\r\n");
  await nextTick();
  assert.deepEqual(sent, ["-ERR 'Slow'\r\n-ERR 'End'\r\n"]);
});
