import assert from "node:assert/strict";
import { type NatsConnection, headers as natsHeaders } from "@nats-io/transport-node";
import { createNkey } from "../../../credentials/nkey.ts";
import { mintCredential } from "../../../credentials/user.ts";
import type { Identity } from "../../../identity/identity.ts";
import { compileGrant } from "../../../policy/compile.ts";
import type { Grant } from "../../../policy/grant.ts";
import { permissionsOf } from "../../../policy/permissions.ts";
import { roleOf, userOf } from "../../../policy/testing/fixtures.ts";
import type { HeaderList } from "../../connection.ts";
import type { TestCluster } from "../../testing/cluster.ts";
import { ConsumerNames } from "../consumer-names.ts";
import { createInboxMap, type InboxMap } from "../inbox-map.ts";
import type { JetStreamVerdict, OnReply } from "../jetstream.ts";
import { createJetStreamJudge } from "../jetstream-judge.ts";

/** One who asks JetStream through the judge, and is answered by a real nats-server under permissions of the same Grant. */
export interface Judged {
  readonly grant: Grant;
  readonly connection: NatsConnection;
  readonly inbox: InboxMap;
  /** Subjects of the client's inbox that it is subscribed to. */
  readonly subscriptions: Set<string>;
  readonly listen: (subject: string) => void;
  /** The verdict alone; nothing is sent. */
  readonly judge: (subject: string, body?: unknown, headers?: HeaderList) => JetStreamVerdict;
  /** Carries a request through; the answer as the client would see it, JSON when it is that. */
  readonly ask: (subject: string, body?: unknown, headers?: HeaderList) => Promise<Answered>;
  /** What nats-server refused on this connection. */
  readonly violations: readonly string[];
  readonly close: () => Promise<void>;
}

export interface Answered {
  readonly by: "nats" | "gateway" | "refusal";
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts what it finds.
  readonly json: any;
  /** What NATS was asked, step by step. */
  readonly asked: readonly string[];
  /** Of what a consumer delivered: where it is acknowledged. */
  readonly reply?: string;
}

export interface JudgedOptions {
  readonly id?: string;
  readonly may: readonly string[];
  readonly never?: readonly string[];
  readonly connections?: number;
  /** Of another connection of the same identity. */
  readonly names?: ConsumerNames;
}

export function grantFor({ id = "alice", may, never = [], connections = 4 }: JudgedOptions): {
  readonly identity: Identity;
  readonly grant: Grant;
} {
  const now = Date.now() / 1000;
  const identity = userOf(id, {}, { provedAt: now, expiresAt: now + 600 });
  const policy = roleOf(may, never, `    limits: { connections: ${connections} }\n`);
  return { identity, grant: compileGrant(policy, identity, now) };
}

export async function startJudged(cluster: TestCluster, options: JudgedOptions): Promise<Judged> {
  const { identity, grant } = grantFor(options);
  const { keys } = cluster;
  const userKey = createNkey("user");
  const inboxPrefix = `_INBOX.${identity.user}`;
  const minted = mintCredential({
    identity,
    grant,
    permissions: permissionsOf(grant, inboxPrefix),
    userPublicKey: userKey.publicKey,
    signer: { signingKey: keys.signingKey, accountPublicKey: keys.account },
    now: Date.now() / 1000,
    inboxPrefix,
    controlLineBytesMax: 1_000_000,
  });
  assert(minted.ok);
  const { jwt } = minted.value;
  const connection = await cluster.dial({
    name: "judged",
    inboxPrefix,
    answer: (nonce) => ({
      jwt,
      sig: userKey.sign(nonce).toString("base64url"),
      ...(keys.proxyKey && { proxy_sig: keys.proxyKey.sign(nonce).toString("base64url") }),
    }),
  });
  const violations: string[] = [];
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type === "error") violations.push(status.error.message);
    }
  })();

  const clock = (): number => Date.now() / 1000;
  const inbox = createInboxMap(`${inboxPrefix}.c${Math.random().toString(36).slice(2)}`);
  const subscriptions = new Set<string>();
  const count = grant.limits.connections;
  const names = options.names ?? new ConsumerNames({ user: grant.user, count, clock });
  const judge = createJetStreamJudge({
    grant,
    inbox,
    names,
    subscribed: (subject) => subscriptions.has(subject),
  });

  let serial = 0;
  const publishOf = (subject: string, body: unknown, headers: HeaderList) => ({
    subject,
    reply: `_INBOX.test.${++serial}`,
    payload: bytesOf(body),
    headers,
  });

  async function carry(verdict: JetStreamVerdict, reply: string): Promise<Answered> {
    if (verdict.do === "refuse") return answered("refusal", verdict.payload ?? new Uint8Array(0), []);
    if (verdict.do === "answer") return answered("gateway", verdict.payload, []);
    const to = inbox.toServer(reply) ?? assert.fail("the reply subject is in the inbox");
    let step: { subject: string; payload: Uint8Array; headers?: HeaderList; onReply?: OnReply } = verdict;
    const asked: string[] = [];
    for (;;) {
      asked.push(step.subject);
      const received = connection.subscribe(to, { max: 1, timeout: 5_000 });
      const headers = natsHeaders();
      for (const [name, value] of step.headers ?? []) headers.append(name, value);
      connection.publish(step.subject, step.payload, { reply: to, headers });
      const { value: message } = await received[Symbol.asyncIterator]().next();
      // nats.js gives headers only parsed.
      const block = message.headers && encoded(message.headers);
      const onReply: OnReply = step.onReply ?? (() => ({ do: "pass" }));
      const next = onReply({ payload: message.data, ...(block && { headerBlock: block }) });
      if (next.do === "pass") {
        return { ...answered("nats", message.data, asked), ...(message.reply && { reply: message.reply }) };
      }
      if (next.do === "deliver") return answered("nats", next.payload, asked);
      step = next;
    }
  }

  return {
    grant,
    connection,
    inbox,
    subscriptions,
    listen(subject) {
      subscriptions.add(subject);
      judge.listens(subject);
    },
    violations,
    judge: (subject, body, headers = []) => judge.judge(publishOf(subject, body, headers)),
    async ask(subject, body, headers = []) {
      const publish = publishOf(subject, body, headers);
      return await carry(judge.judge(publish), publish.reply);
    },
    close: () => connection.close(),
  };
}

function answered(by: Answered["by"], payload: Uint8Array, asked: readonly string[]): Answered {
  const text = Buffer.from(payload).toString("utf8");
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {}
  return { by, text, json, asked };
}

function encoded(headers: { keys(): string[]; values(name: string): string[]; status: string }): Uint8Array {
  const first = headers.status === "" ? "NATS/1.0" : `NATS/1.0 ${headers.status}`;
  const lines = headers
    .keys()
    .flatMap((name) => headers.values(name).map((value) => `${name}: ${value}\r\n`));
  return Buffer.from(`${first}\r\n${lines.join("")}\r\n`);
}

export function bytesOf(body: unknown): Uint8Array {
  if (body === undefined) return new Uint8Array(0);
  if (body instanceof Uint8Array) return body;
  return Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
}
