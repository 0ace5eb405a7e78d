import { connect } from "node:net";

/** Reads one stream of events with as little work as can be: for hundreds of readers in one process. */
export interface LeanReading {
  readonly port: number;
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Each block between two empty lines, as it came. */
  readonly onBlock: (block: string) => void;
  /** Once, when nothing more comes. @param status  of the answer; 0 when there was none */
  readonly onClose: (status: number) => void;
}

/** @returns leaves */
export function readLean({ port, path, headers, onBlock, onClose }: LeanReading): () => void {
  const socket = connect(port, "127.0.0.1").setNoDelay(true).setEncoding("latin1");
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  // Of HTTP/1.0, whose answer has no chunks: what follows the head are the events.
  socket.write(`GET ${path} HTTP/1.0\r\nHost: 127.0.0.1:${port}\r\n${fields.join("")}\r\n`);
  let status = 0;
  let rest = "";
  socket.on("data", (chunk: string) => {
    rest += chunk;
    if (status === 0) {
      const head = rest.indexOf("\r\n\r\n");
      if (head < 0) return;
      status = Number(rest.slice(9, 12));
      rest = rest.slice(head + 4);
    }
    if (status !== 200) return;
    let from = 0;
    for (let to = rest.indexOf("\n\n"); to >= 0; to = rest.indexOf("\n\n", from)) {
      onBlock(rest.slice(from, to));
      from = to + 2;
    }
    rest = rest.slice(from);
  });
  socket.on("error", () => {});
  socket.once("close", () => onClose(status));
  return () => socket.destroy();
}
