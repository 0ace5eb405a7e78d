import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type NatsServer, startNatsServer } from "@countersign/devstack/nats-server.ts";
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import {
  CALLOUT_SUBJECT,
  CALLOUT_XKEY_HEADER,
  type CalloutRequest,
  createReadCallout,
} from "../credentials/callout.ts";
import { createNkey } from "../credentials/nkey.ts";
import { createXkey, type Xkey } from "../credentials/xkey.ts";
import { type CalloutListener, type CalloutListenerParts, openCalloutListener } from "./callout-listener.ts";
import { testClock, until } from "./testing/cluster.ts";

const account = createNkey("account").publicKey;
const signer = createNkey("server");

let server: NatsServer;
/** As whoever may publish to the callout's subject: nats-server, and nobody else in life. */
let asker: NatsConnection;
const opened: NatsConnection[] = [];

before(async () => {
  server = await startNatsServer({ config: "max_payload: 4MB" });
  asker = await dial();
});
after(async () => {
  for (const connection of opened) await connection.close();
  await server?.stop();
});

async function dial(): Promise<NatsConnection> {
  const connection = await connect({ servers: server.url });
  opened.push(connection);
  return connection;
}

interface Listening {
  readonly listener: CalloutListener;
  readonly silences: string[];
  readonly judged: string[];
}

async function listen(parts: Partial<CalloutListenerParts> = {}): Promise<Listening> {
  const silences: string[] = [];
  const judged: string[] = [];
  const connection = await dial();
  const listener = openCalloutListener({
    connection,
    read: createReadCallout({ about: account }),
    judge: async ({ client }) => {
      judged.push(client.name ?? "");
      return `answer to ${client.name}`;
    },
    clock: testClock,
    onSilence: (why) => silences.push(why),
    ...parts,
  });
  await connection.flush();
  return { listener, silences, judged };
}

function question(name: string, key = signer, xkey?: string): Buffer {
  const claims = {
    exp: Math.floor(testClock()) + 10,
    iss: key.publicKey,
    sub: account,
    aud: "nats-authorization-request",
    nats: {
      server_id: { id: signer.publicKey, name: "n1", ...(xkey !== undefined && { xkey }) },
      user_nkey: createNkey("user").publicKey,
      client_info: { host: "127.0.0.1", id: 1, kind: "Client", type: "nats", name },
      connect_opts: { auth_token: "t" },
      type: "authorization_request",
      version: 2,
    },
  };
  const body = [{ typ: "JWT", alg: "ed25519-nkey" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return Buffer.from(`${body}.${key.sign(body).toString("base64url")}`);
}

function sealedQuestion(name: string, from: Xkey, to: Xkey, signedAs = from.publicKey) {
  const header = headers();
  header.set(CALLOUT_XKEY_HEADER, from.publicKey);
  return { data: from.seal(question(name, signer, signedAs), to.publicKey) ?? Buffer.alloc(0), header };
}

/** In the midst of its signature: the last characters of one are often the same. */
function changed(question: Buffer): Buffer {
  const at = question.length - 40;
  const other = Buffer.from(question);
  other[at] = question[at] === 0x41 ? 0x42 : 0x41;
  return other;
}

test("CalloutListener answers a server's question, and meets with silence what is none", async () => {
  const { listener, silences, judged } = await listen();
  const forger = createNkey("server");
  const silent: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.from("hello"), /not a NATS JWT/],
    [Buffer.alloc(0), /not a NATS JWT/],
    [question("forged", forger), /not the one that signed it/],
    [changed(question("changed")), /signature/],
    [Buffer.alloc(2 * 1024 * 1024 + 1, "a"), /size limit/],
  ];
  const inbox = "_INBOX.silence";
  const answers: string[] = [];
  asker.subscribe(inbox, { callback: (_, message) => void answers.push(message.string()) });
  for (const [data] of silent) asker.publish(CALLOUT_SUBJECT, data, { reply: inbox });
  asker.publish(CALLOUT_SUBJECT, question("without a reply"));
  // Answered after all that came before it.
  const answer = await asker.request(CALLOUT_SUBJECT, question("ann"));
  assert.equal(answer.string(), "answer to ann");
  await asker.flush();
  assert.deepEqual(answers, []);
  assert.deepEqual(judged, ["ann"]);
  assert.equal(silences.length, silent.length + 1);
  for (const [index, [, why]] of silent.entries()) assert.match(silences[index] ?? "", why);
  await listener.close();
});

test("CalloutListener with a curve key takes what is sealed for it, by the server that signed it, and seals", async () => {
  const [ours, theirs, other] = [createXkey(), createXkey(), createXkey()];
  const { listener, silences } = await listen({ xkey: ours });
  const inbox = "_INBOX.sealed";
  asker.subscribe(inbox, { callback: () => assert.fail("answered") });
  const wrong = [
    { data: question("open"), header: headers() },
    sealedQuestion("for another", theirs, other),
    sealedQuestion("by another", other, ours, theirs.publicKey),
  ];
  for (const { data, header } of wrong)
    asker.publish(CALLOUT_SUBJECT, data, { reply: inbox, headers: header });
  const { data, header } = sealedQuestion("ann", theirs, ours);
  const answer = await asker.request(CALLOUT_SUBJECT, data, { timeout: 10_000, headers: header });
  assert.doesNotMatch(answer.string(), /answer/);
  assert.equal(Buffer.from(theirs.open(answer.data, ours.publicKey) ?? []).toString(), "answer to ann");
  assert.equal(silences.length, 3);
  await listener.close();
});

test("CalloutListener takes no more than it may hold, and answers those before it closes", async () => {
  const release = Promise.withResolvers<void>();
  const judged: CalloutRequest[] = [];
  const { listener, silences } = await listen({
    waitingMax: 3,
    judge: async (request) => {
      judged.push(request);
      await release.promise;
      return "late";
    },
  });
  const asked = ["a", "b", "c"].map((name) =>
    asker.request(CALLOUT_SUBJECT, question(name), { timeout: 20_000 }),
  );
  await until(() => judged.length === 3);
  asker.publish(CALLOUT_SUBJECT, question("d"), { reply: "_INBOX.none" });
  await until(() => silences.length === 1);
  assert.match(silences[0] ?? "", /too many/);
  const closing = listener.close();
  release.resolve();
  await closing;
  assert.deepEqual(
    (await Promise.all(asked)).map((answer) => answer.string()),
    ["late", "late", "late"],
  );
});

test("CalloutListener says nothing where judging fails, and goes on", async () => {
  const { listener, silences } = await listen({
    judge: ({ client }) =>
      client.name === "bad" ? Promise.reject(new Error("a fault of ours")) : Promise.resolve("good"),
  });
  asker.publish(CALLOUT_SUBJECT, question("bad"), { reply: "_INBOX.none" });
  assert.equal((await asker.request(CALLOUT_SUBJECT, question("ann"))).string(), "good");
  assert.deepEqual(silences, ["Error: a fault of ours"]);
  await listener.close();
});
