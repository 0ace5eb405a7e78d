import assert from "node:assert/strict";
import { existsSync, readFileSync, watch } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import {
  Agent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request,
} from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DemoUserId } from "@countersign/devstack/demo-users.ts";
import type { TokenOverrides } from "@countersign/devstack/oidc.ts";
import { type Stack, type StackOptions, startStack } from "@countersign/devstack/stack.ts";

/** Nothing here takes a tenth of this; what does not come at all fails by then. */
const WAIT_MS = 20_000;

export type JsonObject = Readonly<Record<string, unknown>>;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly text: string;
  readonly json: () => JsonObject;
}

export interface Call {
  readonly method?: string;
  readonly token?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Uint8Array;
}

/** A stack of the devstack with what scenarios ask of it. Everything is ended and removed by `stop`. */
export interface TestStack extends Stack {
  readonly stateDir: string;
  /** A bearer token of the provider, cheaply signed. */
  readonly token: (who: DemoUserId | "inventory", overrides?: TokenOverrides) => string;
  /** Calls the gateway: a path under its URL, with its query. */
  readonly call: (path: string, how?: Call) => Promise<Answer>;
  /**
   * Opens `GET /v1/subscribe`; asserts that it is answered with 200.
   *
   * @param query  further parameters: `{ stream: "ORDERS", from: "all" }`
   */
  readonly stream: (
    subjects: readonly string[],
    how: Call,
    query?: Readonly<Record<string, string>>,
  ) => Promise<EventReader>;
  /** Sends bytes on a fresh connection and reads until the gateway closes it. */
  readonly raw: (bytes: string | Uint8Array) => Promise<string>;
  /** Every line of the audit file so far. */
  readonly audit: () => readonly JsonObject[];
  /** The lines about one transaction, once there are at least so many. */
  readonly auditOf: (txn: unknown, count: number) => Promise<readonly JsonObject[]>;
}

/** @param options.policy  text of a policy in place of the devstack's */
export async function startTestStack({
  policy,
  ...options
}: Omit<StackOptions, "stateDir"> & { readonly policy?: string } = {}): Promise<TestStack> {
  const stateDir = await mkdtemp(join(tmpdir(), "countersign-scenario-"));
  const policyFile = join(stateDir, "policy.yaml");
  if (policy !== undefined) await writeFile(policyFile, policy);
  const stack = await startStack({
    ...options,
    stateDir,
    ...(policy !== undefined && { policyFile }),
  });
  const agent = new Agent({ keepAlive: true });
  const call = (path: string, how: Call = {}): Promise<Answer> => send(stack.gatewayUrl + path, how, agent);
  const audit = (): readonly JsonObject[] => linesOf(stack.auditFile);
  return {
    ...stack,
    stateDir,
    call,
    audit,
    token: (who, overrides) => stack.identityProvider.tokenFor(who, overrides),
    stream: (subjects, how, query = {}) =>
      openStream(`${stack.gatewayUrl}/v1/subscribe?${queryOf(subjects)}&${new URLSearchParams(query)}`, how),
    raw: (bytes) => exchange(Number(new URL(stack.gatewayUrl).port), bytes),
    async auditOf(txn, count) {
      const about = (): readonly JsonObject[] =>
        audit().filter(({ txn: one, txns }) => one === txn || (Array.isArray(txns) && txns.includes(txn)));
      return await changing(stack.auditFile, () => {
        const lines = about();
        return lines.length >= count ? lines : undefined;
      });
    },
    async stop() {
      agent.destroy();
      await stack.stop();
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

export function queryOf(subjects: readonly string[]): string {
  return subjects.map((subject) => `subject=${encodeURIComponent(subject)}`).join("&");
}

/** node:http instead of fetch(), which does not let one set the headers that browsers set. */
export function send(
  url: string,
  { method = "GET", token, headers, body }: Call,
  agent?: Agent,
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const sending = request(url, {
    method,
    ...(agent && { agent }),
    headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...headers },
    signal: AbortSignal.timeout(WAIT_MS),
  });
  sending.once("error", reject);
  sending.once("response", async (response) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    } catch (error) {
      reject(error);
    }
    const bytes = Buffer.concat(chunks);
    const text = bytes.toString("utf8");
    const json = (): JsonObject => JSON.parse(text) as JsonObject;
    resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes, text, json });
  });
  sending.end(body);
  return promise;
}

/** One server-sent event: its type, and its data. */
export interface StreamedEvent {
  readonly event: string;
  /** As in this event, or the last one before it that had one. */
  readonly id?: string;
  readonly data: JsonObject;
}

export interface EventReader {
  readonly headers: IncomingHttpHeaders;
  /** All so far. */
  readonly events: readonly StreamedEvent[];
  /** The id to go on after, as of now. */
  readonly lastId: () => string | undefined;
  readonly comments: readonly string[];
  /** Fulfils once there are so many events, or rejects when it ends before. */
  readonly read: (count: number) => Promise<readonly StreamedEvent[]>;
  /** Fulfils with the last event when the response has ended. */
  readonly ended: Promise<StreamedEvent | undefined>;
  readonly leave: () => void;
}

export async function openStream(url: string, { token, headers }: Call): Promise<EventReader> {
  const { promise: answered, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  // Kept alive, as browsers do: its end must not depend on ours.
  const agent = new Agent({ keepAlive: true });
  const sending = request(url, {
    agent,
    headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...headers },
  });
  sending.once("response", resolve).once("error", reject).end();
  const response = await answered;
  const events: StreamedEvent[] = [];
  const comments: string[] = [];
  let wake: () => void = () => {};
  let over = false;
  let buffered = "";
  let lastId: string | undefined;
  const ended = new Promise<StreamedEvent | undefined>((done) => {
    response.once("close", () => {
      over = true;
      agent.destroy();
      wake();
      done(events.at(-1));
    });
  });
  response.setEncoding("utf8").on("error", () => {});
  response.on("data", (text: string) => {
    const blocks = (buffered + text).split("\n\n");
    buffered = blocks.pop() ?? "";
    for (const block of blocks) {
      if (block.startsWith(":")) {
        comments.push(block);
        continue;
      }
      const { id, event } = parseEvent(block);
      lastId = id ?? lastId;
      // An id alone is remembered, and is no event (HTML, §9.2.6).
      if (event) events.push({ ...event, ...(lastId !== undefined && { id: lastId }) });
    }
    wake();
  });
  if (response.statusCode !== 200) {
    await ended;
    assert.fail(`expected a stream, found ${response.statusCode}: ${buffered}`);
  }
  return {
    headers: response.headers,
    events,
    lastId: () => lastId,
    comments,
    ended,
    leave: () => void sending.destroy(),
    async read(count) {
      const late = AbortSignal.timeout(WAIT_MS);
      late.addEventListener("abort", () => wake());
      while (events.length < count) {
        assert(!over && !late.aborted, `expected ${count} events, found ${JSON.stringify(events)}`);
        await new Promise<void>((next) => {
          wake = next;
        });
      }
      return events.slice(0, count);
    },
  };
}

function parseEvent(block: string): { readonly id?: string; readonly event?: StreamedEvent } {
  const fields = block.split("\n").map((line) => /^([a-z]+): (.*)$/s.exec(line));
  const field = (name: string): string | undefined => fields.find((found) => found?.[1] === name)?.[2];
  const [id, data] = [field("id"), field("data")];
  return {
    ...(id !== undefined && { id }),
    ...(data !== undefined && {
      event: { event: field("event") ?? "message", data: JSON.parse(data) as JsonObject },
    }),
  };
}

function exchange(port: number, bytes: string | Uint8Array): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect(port, "127.0.0.1");
  let text = "";
  const timer = setTimeout(() => {
    socket.destroy();
    reject(new Error(`the gateway keeps the connection open after: ${text}`));
  }, WAIT_MS);
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    text += chunk;
  });
  // A gateway that closes while we still write resets the connection; what it answered before counts.
  socket.on("error", () => {});
  socket.once("close", () => {
    clearTimeout(timer);
    resolve(text);
  });
  socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  return promise;
}

function linesOf(file: string): readonly JsonObject[] {
  if (!existsSync(file)) return [];
  // The last line may be in the middle of being written.
  const whole = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return whole.map((line) => JSON.parse(line) as JsonObject);
}

/** Waits until a file that changes brings what is looked for. */
async function changing<T>(file: string, look: () => T | undefined): Promise<T> {
  const late = AbortSignal.timeout(WAIT_MS);
  let wake: () => void = () => {};
  const watcher = watch(file, () => wake());
  late.addEventListener("abort", () => wake());
  try {
    for (;;) {
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const found = look();
      if (found !== undefined) return found;
      assert(!late.aborted, `nothing came in ${file}`);
      await changed;
    }
  } finally {
    watcher.close();
  }
}
