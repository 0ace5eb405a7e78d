import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import { createNkey, type Nkey } from "../credentials/nkey.ts";
import { dialAs, plainUserJwt } from "../credentials/testing/user.ts";
import { startCluster, type TestCluster, testClock, until } from "../nats/testing/cluster.ts";
import { type CommandIo, EXIT } from "./io.ts";
import { createProgram } from "./program.ts";

let cluster: TestCluster;
const opened: NatsConnection[] = [];

before(async () => {
  cluster = await startCluster({ size: 3 });
  await writeFile(
    join(cluster.home, "countersign.yaml"),
    `public-url: http://127.0.0.1:8480
listen: { address: '127.0.0.1:8480' }
trust-domain: demo.example
issuers: { demo: { url: http://127.0.0.1:1, audience: countersign } }
nats: { servers: ${JSON.stringify(cluster.urls)}, keys: keys }
policy: policy.yaml
audit: [ stdout ]
`,
  );
  // A server hears of an account when somebody of it connects; all have to answer from then on.
  await until(
    async () => (await revoke(["*", "--account", "CONTROL", "--dry-run"])).code === EXIT.yes,
    20_000,
  );
});
after(async () => {
  for (const connection of opened) await connection.close();
  await cluster?.close();
});

async function revoke(args: readonly string[], offline = "offline") {
  const ran = { code: EXIT.yes as number, out: "", err: "" };
  const io: CommandIo = {
    out: (text) => {
      ran.out += text;
    },
    err: (text) => {
      ran.err += text;
    },
    stdin: () => Promise.resolve(Buffer.alloc(0)),
    terminal: false,
    colours: false,
    env: {},
    cwd: cluster.home,
    clock: testClock,
    exit: (code) => {
      ran.code = code;
    },
    onHangup: () => {},
    signal: new AbortController().signal,
  };
  try {
    await createProgram(io).parseAsync(["revoke", ...args, "--offline", offline], { from: "user" });
  } catch (error) {
    return { ...ran, code: -1, err: ran.err + String(error) };
  }
  return ran;
}

interface Client {
  readonly userKey: Nkey;
  readonly dial: (server: number) => Promise<NatsConnection>;
}

/** A user of CORE, past every gateway, as a thief of the signing key would make one. */
function clientOf(now: number = testClock()): Client {
  const userKey = createNkey("user");
  const { signingKey, account } = cluster.keys;
  const jwt = plainUserJwt({ signer: signingKey, account, userKey, now });
  return {
    userKey,
    async dial(server) {
      const user = { jwt, userKey, inboxPrefix: "_INBOX.u" };
      const connection = await dialAs(cluster.urls[server] ?? "", user, undefined);
      opened.push(connection);
      return connection;
    },
  };
}

async function refusedEverywhere({ dial }: Client): Promise<void> {
  for (const server of [0, 1, 2]) await assert.rejects(dial(server), /Authorization Violation/);
}

test("a revoked key's connections end on every server and it gets in nowhere; others stay", async () => {
  const [bad, good] = [clientOf(), clientOf()];
  const bads = await Promise.all([0, 1, 2].map(bad.dial));
  const stays = await good.dial(1);
  const ended = Promise.all(bads.map((connection) => connection.closed()));
  const ran = await revoke([bad.userKey.publicKey, "--account", "CORE", "--json"]);
  assert.deepEqual([ran.code, ran.err], [EXIT.yes, ""]);
  const { takenBy, refusedBy, added, dryRun } = JSON.parse(ran.out);
  assert.deepEqual(
    [takenBy.sort(), refusedBy, added, dryRun],
    [["test-0", "test-1", "test-2"], [], [bad.userKey.publicKey], false],
  );
  await ended;
  await refusedEverywhere(bad);
  assert.equal(stays.isClosed(), false);
  await (await good.dial(2)).close();
});

test("a dry run shows what would be and changes nothing", async () => {
  const client = clientOf();
  const ran = await revoke([client.userKey.publicKey, "--account", "CORE", "--dry-run"]);
  assert.equal(ran.code, EXIT.yes);
  assert.match(ran.out, new RegExp(`^account {2}CORE A.*\\nrevoked {2}${client.userKey.publicKey} .*\\n`));
  assert.match(ran.out, /\ndry run: nothing was written\n$/);
  await (await client.dial(0)).close();
});

test("everybody of an account is out, what is issued later is in, and a restarted server remembers", async () => {
  const client = clientOf();
  const connection = await client.dial(2);
  const ended = connection.closed();
  const ran = await revoke(["*", "--account", cluster.keys.account]);
  assert.equal(ran.code, EXIT.yes, ran.err);
  await ended;
  await refusedEverywhere(client);
  // Its configuration still names the JWT that init made.
  await cluster.restart();
  await until(
    async () =>
      client.dial(0).then(
        () => false,
        (error) => /Authorization/.test(String(error)),
      ),
    20_000,
  );
  // nats-server compares whole seconds.
  await delay(1_100);
  await (await clientOf().dial(0)).close();
});

test("a key for good is out whenever its JWT was issued", async () => {
  const client = clientOf(testClock() + 5);
  const ran = await revoke([client.userKey.publicKey, "--account", "CORE", "--for-good"]);
  assert.equal(ran.code, EXIT.yes, ran.err);
  await refusedEverywhere(client);
});

test("while a server does not answer nothing is replaced, since it may hold another JWT", async () => {
  const hung = cluster.servers[2]?.pid ?? assert.fail();
  process.kill(hung, "SIGSTOP");
  try {
    const ran = await revoke(["*", "--account", "CORE"]);
    assert.match(ran.err, /Waiting for every nats-server/);
    assert.match(ran.err, /Cannot replace the account's JWT: of 3 servers only .* answer/);
  } finally {
    process.kill(hung, "SIGCONT");
  }
});

test("keys of another operator, unknown accounts, times and folders are refused in words", async () => {
  const other = join(cluster.home, "other");
  const { mkdir } = await import("node:fs/promises");
  await mkdir(other, { mode: 0o700 });
  const system = await readFile(join(cluster.home, "offline", "sys-account.nk"), "utf8");
  await writeFile(join(other, "sys-account.nk"), system, { mode: 0o600 });
  await writeFile(join(other, "operator-signing.nk"), createNkey("operator").exportSeed(), { mode: 0o600 });
  const cases: readonly (readonly [readonly string[], string, RegExp])[] = [
    [["*", "--account", "CORE"], "other", /it was signed by O\w+, and the key in the folder is O\w+/],
    [["*", "--account", "CORE"], "nowhere", /operator-signing\.nk.*there is no such file.*--offline/s],
    [["*", "--account", "CORE"], "keys", /operator-signing\.nk.*there is no such file/s],
    [["*", "--account", "NOBODY"], "offline", /"NOBODY" is unknown; expected SYS, CONTROL, CORE/],
    [["*", "--account", "CORE", "--before", "yesterday"], "offline", /is no time such as/],
    [["*", "--account", "CORE", "--before", "2999-01-01T00:00:00Z"], "offline", /a time in the future/],
    [["alice", "--account", "CORE"], "offline", /expected public keys of users/],
  ];
  for (const [args, folder, message] of cases) assert.match((await revoke(args, folder)).err, message);
});
