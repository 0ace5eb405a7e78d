import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";

/** Nothing here takes a tenth of this. */
const WAIT_MS = 20_000;

const CLOSE = 8;

export interface RawAnswer {
  /** The head of what the upgrade was answered with. */
  readonly head: string;
  readonly webSocket: RawWebSocket;
}

/** A WebSocket by hand, so that a test can send what no client would. Text is Latin-1. */
export interface RawWebSocket {
  /** One binary message in one frame. */
  readonly send: (text: string) => void;
  /** Bytes as they are, framed or not. */
  readonly write: (bytes: Uint8Array) => void;
  /** Everything the server's messages have said, once it matches, or is closed, which fails. */
  readonly until: (pattern: RegExp) => Promise<string>;
  /** What was said until the server closed. */
  readonly closed: () => Promise<string>;
  readonly socket: Socket;
  readonly close: () => void;
}

/** @param head  further header lines */
export async function openRaw(url: string, head: readonly string[] = []): Promise<RawAnswer> {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect(Number(port), hostname).setNoDelay();
  const lines = [
    `GET ${pathname} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ...head,
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  let received = Buffer.alloc(0);
  let said = "";
  let over = false;
  let wake = (): void => {};
  let answer: string | undefined;
  const read = (): void => {
    if (answer === undefined) {
      const end = received.indexOf("\r\n\r\n");
      if (end < 0) return;
      answer = received.toString("latin1", 0, end);
      if (answer.startsWith("HTTP/1.1 101")) received = received.subarray(end + 4);
    }
    if (!answer.startsWith("HTTP/1.1 101")) return;
    for (let frame = frameOf(received); frame; frame = frameOf(received)) {
      if (frame.opcode <= 2) said += frame.payload.toString("latin1");
      if (frame.opcode === CLOSE) socket.end(maskedFrame(frame.payload, CLOSE));
      received = received.subarray(frame.end);
    }
  };
  socket.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    read();
    wake();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    over = true;
    wake();
  });
  const waitFor = async <T>(look: () => T | undefined): Promise<T> => {
    const end = Date.now() + WAIT_MS;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (Date.now() > end) throw new Error(`waited in vain; it was said: ${said.slice(-500)}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, 1_000).unref();
      });
    }
  };
  const answered = await waitFor(() => answer ?? (over ? "" : undefined));
  return {
    head: answered.startsWith("HTTP/1.1 101") ? answered : `${answered}\r\n\r\n${await bodyOf()}`,
    webSocket: {
      socket,
      send: (text) => void socket.write(maskedFrame(Buffer.from(text, "latin1"))),
      write: (bytes) => void socket.write(bytes),
      until: (pattern) =>
        waitFor(() => {
          if (pattern.test(said)) return said;
          if (over) throw new Error(`closed before ${pattern}; it was said: ${said.slice(-500)}`);
          return undefined;
        }),
      closed: () => waitFor(() => (over ? said : undefined)),
      close: () => void socket.destroy(),
    },
  };

  async function bodyOf(): Promise<string> {
    await waitFor(() => (over ? true : undefined));
    return received.toString("latin1").split("\r\n\r\n").slice(1).join("\r\n\r\n");
  }
}

/** One frame as a client sends it (RFC 6455 §5.3). */
export function maskedFrame(payload: Uint8Array, opcode = 2, isLast = true): Buffer {
  const mask = randomBytes(4);
  const { length } = payload;
  const head = length < 126 ? Buffer.of(length | 0x80) : Buffer.alloc(length < 65_536 ? 3 : 9);
  if (length >= 65_536) {
    head[0] = 127 | 0x80;
    head.writeUInt32BE(length, 5);
  } else if (length >= 126) {
    head[0] = 126 | 0x80;
    head.writeUInt16BE(length, 1);
  }
  const masked = Buffer.from(payload).map((byte, at) => byte ^ (mask[at % 4] ?? 0));
  return Buffer.concat([Buffer.of((isLast ? 0x80 : 0) | opcode), head, mask, masked]);
}

function frameOf(bytes: Buffer): { opcode: number; payload: Buffer; end: number } | undefined {
  if (bytes.length < 2) return undefined;
  const short = (bytes[1] ?? 0) & 0x7f;
  const start = short === 127 ? 10 : short === 126 ? 4 : 2;
  if (bytes.length < start) return undefined;
  const length = short === 127 ? bytes.readUInt32BE(6) : short === 126 ? bytes.readUInt16BE(2) : short;
  if (bytes.length < start + length) return undefined;
  return {
    opcode: (bytes[0] ?? 0) & 0x0f,
    payload: bytes.subarray(start, start + length),
    end: start + length,
  };
}
