import { connect, type Socket } from "node:net";
import type { Nkey } from "countersign/credentials/nkey.ts";

/** A message as it arrived on a subscription. */
export interface Delivery {
  readonly sid: string;
  readonly subject: string;
  readonly payload: string;
}

/** The NATS protocol by hand, so that a test sees every refusal and every delivery exactly as the server sends it. */
export interface WireClient {
  /** Protocol lines, each without its line end. */
  readonly send: (...lines: readonly string[]) => void;
  /** Fulfils when the server has processed everything sent, with what it refused and delivered since the last time. */
  readonly flush: () => Promise<{
    readonly errors: readonly string[];
    readonly deliveries: readonly Delivery[];
  }>;
  readonly close: () => void;
}

/**
 * @param url   `nats://127.0.0.1:<port>`
 * @throws when the server refuses the credential
 */
export async function connectByHand(url: string, jwt: string, user: Nkey): Promise<WireClient> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).setNoDelay();
  const reader = readLines(socket);
  const info = JSON.parse((await reader.next()).slice("INFO ".length)) as { readonly nonce: string };
  const sig = user.sign(info.nonce).toString("base64url");
  const options = {
    jwt,
    sig,
    verbose: false,
    pedantic: false,
    headers: true,
    lang: "test",
    version: "0",
    protocol: 1,
  };
  socket.write(`CONNECT ${JSON.stringify(options)}\r\nPING\r\n`);
  const answer = await reader.until("PONG");
  const failure = answer.errors.find((error) => error.includes("Authorization"));
  if (failure) throw new Error(failure);
  return {
    send: (...lines) => void socket.write(lines.map((line) => `${line}\r\n`).join("")),
    flush() {
      socket.write("PING\r\n");
      return reader.until("PONG");
    },
    close: () => void socket.destroy(),
  };
}

interface LineReader {
  readonly next: () => Promise<string>;
  readonly until: (line: string) => Promise<{ errors: string[]; deliveries: Delivery[] }>;
}

function readLines(socket: Socket): LineReader {
  let buffered = "";
  let wake: (() => void) | undefined;
  let closed = false;
  socket.setEncoding("latin1").on("data", (text: string) => {
    buffered += text;
    wake?.();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    closed = true;
    wake?.();
  });
  const lines: string[] = [];
  async function next(): Promise<string> {
    for (;;) {
      if (lines.length === 0) {
        const end = buffered.lastIndexOf("\r\n");
        if (end !== -1) {
          lines.push(...buffered.slice(0, end).split("\r\n").reverse());
          buffered = buffered.slice(end + 2);
        }
      }
      const line = lines.pop();
      if (line !== undefined) return line;
      if (closed) throw new Error("the server closed the connection");
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  return {
    next,
    async until(last) {
      const errors: string[] = [];
      const deliveries: Delivery[] = [];
      for (;;) {
        const line = await next();
        if (line === last) return { errors, deliveries };
        if (line === "PING") socket.write("PONG\r\n");
        if (line.startsWith("-ERR ")) errors.push(line.slice("-ERR ".length));
        if (line.startsWith("MSG ")) {
          const [, subject = "", sid = ""] = line.split(" ");
          deliveries.push({ sid, subject, payload: await next() });
        }
      }
    },
  };
}
