/** The command as operators run it: what it prints, its exit codes, and how it ends. */
import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { TRUST_DOMAIN } from "@countersign/devstack/stack.ts";
import type { Msg } from "@nats-io/transport-node";
import { type Answer, openStream, send, startTestStack, type TestStack } from "./support.ts";
import {
  buildInto,
  type CommandOptions,
  configureInstance,
  endOf,
  eventually,
  type Ran,
  runCommand,
  type StoredMessage,
  startCommand,
  startInstance,
  storedOrders,
} from "./support-operations.ts";

let stack: TestStack;
/** As it is released. */
let program: string;
before(async () => {
  const policy = await readFile(new URL("../devstack/policy.yaml", import.meta.url), "utf8");
  stack = await startTestStack({
    auditStream: true,
    policy: policy.replace(
      "      - request inventory.check\n",
      "      - request inventory.check\n      - request slow.answer\n",
    ),
  });
  program = await buildInto(join(stack.stateDir, "dist"));
});
after(() => stack?.stop());

function run(args: string, options: CommandOptions = {}): Promise<Ran> {
  return runCommand(args.split(" "), { cwd: stack.stateDir, program, ...options });
}

/** No more at once than a small machine takes. */
async function runAll(commands: readonly string[]): Promise<readonly Ran[]> {
  const all: Ran[] = [];
  for (let at = 0; at < commands.length; at += 4)
    all.push(...(await Promise.all(commands.slice(at, at + 4).map((command) => run(command)))));
  return all;
}

async function file(name: string, text: string): Promise<string> {
  await writeFile(join(stack.stateDir, name), text);
  return name;
}

describe("help", () => {
  const commands = [
    ...["serve", "init", "doctor", "whoami", "verify", "policy", "policy check", "policy test"],
    ...["policy explain", "policy grants", "policy diff", "policy who-can", "policy push", "kick", "revoke"],
    ...["iis init", "iis doctor"],
  ];
  test("every command shows an example", async () => {
    const all = await runAll(commands.map((command) => `${command} --help`));
    for (const [at, { code, out, err }] of all.entries()) {
      assert.deepEqual([commands[at], code, err], [commands[at], 0, ""]);
      assert.match(out, /^Examples?:\n[\s\S]*^ *(?:npm .* \| )?countersign /m, commands[at]);
    }
    const { out } = await run("--help");
    for (const command of commands) assert.match(out, new RegExp(`^ {2}${command.split(" ")[0]} `, "m"));
    assert.match(out, /countersign init/);
  });

  test("what is mistyped is answered with what was probably meant, and exit code 2", async () => {
    const [command, subcommand, option, nothing] = await runAll([
      "serv",
      "policy chek",
      "serve --chek",
      "verify",
    ]);
    for (const each of [command, subcommand, option, nothing])
      assert.deepEqual([each?.code, each?.out], [2, ""]);
    assert.match(command?.err ?? "", /unknown command 'serv'\n\(Did you mean serve\?\)\nTry --help/);
    assert.match(subcommand?.err ?? "", /\(Did you mean check\?\)\nTry --help/);
    assert.match(option?.err ?? "", /\(Did you mean --check\?\)\nTry --help/);
    assert.match(nothing?.err ?? "", /--issuer/);
  });
});

describe("serve --check", () => {
  test("lists every mistake with its place and what would be right", async () => {
    const yaml = `public-url: http://apps.example.com
listen: { adress: 127.0.0.1:0 }
trust-domain: Example_Com
issuers:
  demo: { url: ftp://login.example.com, audience: countersign }
  Other: { audience: a b }
nats: { servers: [ nats://10.0.0.1:4222 ], keys: nats, replicas: 2 }
policy: policy.yaml
audit: [ stdout, stdot ]
session: { idle: 1, absolute: 90d }
limits: { body: 1GiB, drain: ten }
`;
    const { code, out, err } = await run(`serve --check --config ${await file("wrong.yaml", yaml)}`);
    assert.deepEqual([code, out], [2, ""]);
    const lines = new Set([...err.matchAll(/^.*wrong\.yaml:(\d+):\d+: ./gm)].map(([, line]) => Number(line)));
    assert.deepEqual(
      [...lines].sort((a, b) => a - b),
      [1, 2, 3, 5, 6, 7, 9, 10, 11],
    );
    assert.match(err, /\d+ mistakes\n/);
    assert.match(err, /:2:\d+: .*address/);
  });

  test("says ok, with the policy's version; and starts nothing", async () => {
    const { code, out, err } = await run("serve --check --config countersign.yaml");
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /countersign\.yaml: ok; policy [0-9a-f]{12}, 3 roles\n$/);
  });

  test("warns of an identity provider that nobody has named yet", async () => {
    await run("init --loopback-without-tls --out fresh");
    const { code, out, err } = await run("serve --check --config fresh/countersign.yaml");
    assert.equal(code, 0, err);
    assert.match(out, /fresh[/\\]countersign\.yaml: ok; /);
    assert.equal(
      err,
      'warning: issuer "main" is still https://login.example.com, as init wrote it: name your identity provider in its place\n',
    );
  });

  test("finds what is wrong behind the configuration together with what is wrong in it", async () => {
    await file("bad-policy.yaml", "version: 1\nroles: { clerk: { may: [ publsh a.b, publish b..c ] } }\n");
    await mkdir(join(stack.stateDir, "a-folder"));
    const absent = join("no-such-folder", "audit.jsonl");
    const yaml = (await readFile(stack.configFile, "utf8"))
      .replace(
        /^listen: .*$/m,
        "listen: { address: '127.0.0.1:0', tls: { cert: first.pem, key: second.key } }",
      )
      .replace(/^policy: .*$/m, "policy: bad-policy.yaml")
      .replace(/ {2}keys: .*$/m, "  keys: nowhere")
      .replace(/^state: .*$/m, "state: policy.yaml")
      .replace(/^audit: .*$/m, `audit: [ { file: ${JSON.stringify(absent)} }, { file: a-folder } ]`);
    await file("first.pem", "no certificate");
    await writeFile(join(stack.stateDir, "second.key"), "no key", { mode: 0o600 });
    const [behind, both, none] = await Promise.all([
      run(`serve --check --config ${await file("behind.yaml", yaml)}`),
      run(`serve --check --config ${await file("both.yaml", `${yaml}lisen: {}\nlog: { level: loud }\n`)}`),
      run("serve --config nowhere.yaml"),
    ]);
    for (const { code, out, err } of [behind, both]) {
      assert.deepEqual([code, out], [2, ""], err);
      assert.match(err, /^bad-policy\.yaml:2:\d+: .*publsh/m);
      assert.match(err, /^bad-policy\.yaml:2:\d+: .*b\.\.c/m);
      assert.match(err, /^Cannot use .*nowhere.*no such file/m);
      assert.match(err, /^Cannot use `listen: tls`: certificate and key do not fit/m);
      assert.match(err, /^Cannot write the audit log to .*no-such-folder/m);
      assert.match(err, /^Cannot write the audit log to .*a-folder: it is a folder$/m);
      assert.match(err, /^Cannot keep state in .*policy\.yaml: .* is not a folder$/m);
      assert.doesNotMatch(err, /\n {4}at /);
    }
    assert.match(both.err, /^.*both\.yaml:\d+:\d+: lisen: unknown key; did you mean "listen"\?$/m);
    assert.match(both.err, /^.*both\.yaml:\d+:\d+: log\.level: expected .*loud/m);
    assert.equal(none.code, 2);
    assert.match(none.err, /Cannot find the configuration .*nowhere\.yaml.*countersign init/);
  });

  test("finds keys that were made for another kind of cluster", async () => {
    const yaml = (await readFile(stack.configFile, "utf8")).replace(
      /^ {2}mode: operator$/m,
      "  mode: hosted\n  dangerously-without-trusted-proxy: true",
    );
    const { code, out, err } = await run(`serve --check --config ${await file("hosted.yaml", yaml)}`);
    assert.deepEqual([code, out], [2, ""]);
    assert.match(
      err,
      /^Cannot use the keys in .*: made for `mode: operator`, and the configuration says hosted\n$/,
    );
  });

  test("wants a folder that can be written, and makes nothing in it", {
    skip:
      (process.platform === "win32" || process.getuid?.() === 0) && "folders have no mode here that binds us",
  }, async () => {
    await mkdir(join(stack.stateDir, "closed"), { mode: 0o500 });
    const yaml = (await readFile(stack.configFile, "utf8"))
      .replace(/^state: .*$/m, "state: closed/state")
      .replace(/^audit: .*$/m, "audit: [ { file: closed/audit.jsonl } ]");
    const { code, err } = await run(`serve --check --config ${await file("closed.yaml", yaml)}`);
    assert.equal(code, 2);
    assert.match(err, /^Cannot write the audit log to .*EACCES/m);
    assert.match(err, /^Cannot keep state in .*EACCES/m);
  });
});

describe("doctor", () => {
  test("finds all well, in words and in JSON", async () => {
    const [words, json] = await Promise.all([
      run("doctor --config countersign.yaml"),
      run("doctor --config countersign.yaml --json"),
    ]);
    assert.deepEqual([words.code, words.err, json.code, json.err], [0, "", 0, ""]);
    const findings = JSON.parse(json.out) as readonly { check: string; ok: boolean; remedy: string }[];
    assert(findings.every(({ ok, remedy }) => ok && remedy === ""));
    const checks = findings.map(({ check }) => check);
    const wanted = [
      "policy",
      "keys",
      "audit file",
      "state",
      "issuer demo",
      "nats",
      "server-version",
      "trusted-proxy",
      "jetstream",
      "clock",
      "audit stream",
      "system account",
    ];
    for (const check of wanted) assert(checks.includes(check), check);
    assert.equal(words.out.match(/^ok /gm)?.length, checks.length);
  });

  test("says of each thing that is wrong what to do, and exits with 1", async () => {
    const yaml = (await readFile(stack.configFile, "utf8"))
      .replace(/^policy: .*$/m, "policy: bad-policy.yaml")
      .replace(/^ {4}url: .*$/m, "    url: http://127.0.0.1:1")
      .replace(/ {2}keys: .*$/m, "  keys: nowhere")
      .replace(/^state: .*$/m, "state: policy.yaml")
      .replace(/^audit: .*$/m, "audit: [ { file: nowhere/audit.jsonl } ]");
    const { code, out } = await run(`doctor --json --config ${await file("ill.yaml", yaml)}`);
    assert.equal(code, 1);
    const findings = JSON.parse(out) as readonly { check: string; ok: boolean; remedy: string }[];
    assert.deepEqual(
      findings.map(({ check, ok, remedy }) => [check, ok, remedy !== ""]),
      [
        ["policy", false, true],
        ["keys", false, true],
        ["audit file", false, true],
        ["state", false, true],
        ["issuer demo", false, true],
      ],
    );
  });
});

describe("whoami", () => {
  test("asks with the token of the environment or of standard input, and never prints it", async () => {
    const token = stack.token("alice");
    const at = `--at ${stack.gatewayUrl}`;
    const [env, stdin, json] = await Promise.all([
      run(`whoami ${at}`, { env: { COUNTERSIGN_TOKEN: token } }),
      run(`whoami ${at}`, { stdin: `${token}\n` }),
      run("whoami --json", { env: { COUNTERSIGN_TOKEN: token, COUNTERSIGN_URL: stack.gatewayUrl } }),
    ]);
    assert.deepEqual([env.code, stdin.code, json.code], [0, 0, 0]);
    assert.match(env.out, /^user {5}demo-alice \(Alice Ambrose\)$/m);
    assert.equal(stdin.out, env.out);
    assert.equal((JSON.parse(json.out) as { user: string }).user, "demo-alice");
    for (const { out, err } of [env, stdin, json]) assert(!(out + err).includes(token.slice(-20)));
  });

  test("exits with 1 for a token that is refused, and with 2 when nobody is there", async () => {
    const expired = stack.token("alice", { claims: { exp: 1_000_000_000 } });
    const [refused, nobody, odd] = await Promise.all([
      run(`whoami --at ${stack.gatewayUrl}`, { stdin: expired }),
      run("whoami --at http://127.0.0.1:1", { stdin: expired }),
      run(`whoami --at ${stack.gatewayUrl}`, { stdin: "two words\nand lines" }),
    ]);
    assert.deepEqual([refused.code, nobody.code], [1, 2]);
    assert.match(refused.out + refused.err, /request [0-9a-f-]{36}/);
    assert.match(nobody.err, /Cannot ask http:\/\/127\.0\.0\.1:1\//);
    assert.notEqual(odd.code, 0);
    assert.doesNotMatch(odd.out + odd.err, /a fault of its own|two words/);
  });
});

describe("policy explain, of a running gateway", () => {
  const action = "publish orders.eu.1.create";

  test("says what the bearer of a token may do there, by which line, or what is missing", async () => {
    const [alice, bob] = [stack.token("alice"), stack.token("bob")];
    const at = `--at ${stack.gatewayUrl}`;
    const [allowed, refused, json, read] = await Promise.all([
      run(`policy explain ${at} ${action}`, { stdin: alice }),
      run(`policy explain ${at} ${action}`, { env: { COUNTERSIGN_TOKEN: bob } }),
      run(`policy explain --as - --json ${action}`, {
        stdin: bob,
        env: { COUNTERSIGN_URL: stack.gatewayUrl },
      }),
      run(`policy explain ${at} read-audit`, { stdin: bob }),
    ]);
    assert.deepEqual(
      [allowed, refused, json, read].map(({ code }) => code),
      [0, 1, 1, 1],
    );
    assert.match(
      allowed.out,
      /^allowed {2}publish orders\.eu\.1\.create\nas {7}the bearer of this token, with order-clerk; policy [0-9a-f]{12}\nby {7}publish orders\.\{region\}\.\*\.create {2}role order-clerk\n$/,
    );
    assert.match(refused.out, /^refused .*\n.*\nnear .*\n {9}missing: token 2 is "eu"; .* is "us"\n$/);
    assert.equal((JSON.parse(json.out) as { outcome: string }).outcome, "refused");
    assert.match(read.out, /because {2}no line of these roles is near\n$/);
  });

  test("is refused to nobody's token with 1, and what cannot be asked is answered with 2", async () => {
    const at = `--at ${stack.gatewayUrl}`;
    const [forged, nobody, both, neither, policy] = await Promise.all([
      run(`policy explain ${at} ${action}`, { stdin: "a.b.c" }),
      run(`policy explain --at http://127.0.0.1:1 ${action}`, { stdin: stack.token("bob") }),
      run(`policy explain ${at} --as bob ${action}`),
      run(`policy explain ${action}`),
      run(`policy explain ${at} --policy policy.yaml ${action}`),
    ]);
    assert.deepEqual(
      [forged, nobody, both, neither, policy].map(({ code }) => code),
      [1, 2, 2, 2, 2],
    );
    assert.match(forged.out, /request [0-9a-f-]{36}/);
    for (const { err } of [both, neither])
      assert.match(err, /expected either --as with a name, or --as - or --at/);
    assert.match(policy.err, /leave out --policy/);
  });
});

describe("verify", () => {
  let stored: StoredMessage;
  const where = (): string => `--issuer ${stack.gatewayUrl} --audience ${TRUST_DOMAIN}`;

  function publish(): Promise<Answer> {
    const path = "/v1/publish?subject=orders.eu.7.create";
    return stack.call(path, { method: "POST", token: stack.token("alice"), body: "three apples" });
  }

  before(async () => {
    const { txn } = (await publish()).json();
    stored = await eventually("the message", async () =>
      (await storedOrders(stack)).find((message) => message.txn === txn),
    );
  });

  function asInput({ subject, headers, payload, storedAt }: StoredMessage): string {
    return JSON.stringify({ subject, headers, payload, brokerTime: storedAt });
  }

  test("proves a message taken from the stream, from standard input", async () => {
    const [words, json] = await Promise.all([
      run(`verify ${where()}`, { stdin: asInput(stored) }),
      run(`verify ${where()} --json`, { stdin: asInput(stored) }),
    ]);
    assert.equal(words.code, 0, words.err);
    assert.match(
      words.out,
      /^verified {2}orders\.eu\.7\.create {2}demo-alice {2}\S+Z {2}txn [0-9a-f-]{36}\n$/,
    );
    const { verified, sender, txn } = JSON.parse(json.out) as Record<string, unknown>;
    assert.deepEqual(
      [verified, sender, txn],
      [true, { user: "demo-alice", issuer: "demo", id: "alice" }, stored.txn],
    );
  });

  test("refuses what was changed, with a code and exit code 1", async () => {
    const changed: readonly StoredMessage[] = [
      { ...stored, payload: "four apples" },
      { ...stored, subject: "orders.eu.8.create" },
      { ...stored, storedAt: stored.storedAt + 120 },
      { ...stored, headers: stored.headers.filter(([name]) => name !== "Seal-Root") },
    ];
    const all = await Promise.all(
      changed.map((message) => run(`verify ${where()} --json`, { stdin: asInput(message) })),
    );
    for (const { code, out } of all) {
      const { verified, code: why } = JSON.parse(out) as Record<string, unknown>;
      assert.deepEqual([code, verified, typeof why], [1, false, "string"]);
    }
  });

  test("answers what is no message, or cannot be asked, with exit code 2", async () => {
    const [text, form, issuer] = await Promise.all([
      run(`verify ${where()}`, { stdin: "no JSON" }),
      run(`verify ${where()}`, { stdin: '{"subject":1}' }),
      run(`verify --issuer nonsense --audience a`, { stdin: asInput(stored) }),
    ]);
    assert.deepEqual([text.code, form.code, issuer.code], [2, 2, 2]);
    const mistakes = ["subject: expected a text", "headers: expected a list of [name, value]"];
    assert.equal(
      form.err,
      [
        ...mistakes.map((mistake) => `Cannot read the message: ${mistake}`),
        "See `countersign verify --help` for its form.\n",
      ].join("\n"),
    );
  });

  test("watches a live subject, and ends after so many messages", async () => {
    const options = `--server ${stack.nats.url} --creds ${stack.adminCredsFile} --subject orders.eu.>`;
    const command = startCommand(`verify ${where()} ${options} --count 3`.split(" "), { program });
    // It is subscribed some time after it says that it waits; and it says of what nobody sealed that it is not.
    await eventually("the first message", () => {
      stack.admin.publish("orders.eu.7.create", "unsealed");
      return command.written().out.includes("refused") ? true : undefined;
    });
    await eventually("the rest", async () => {
      if (command.written().out.split("\n").length > 3) return true;
      await publish();
      return undefined;
    });
    const { code, out, err } = await command.done;
    assert.equal(code, 1);
    assert.match(err, /^Waiting for messages on orders\.eu\.>; Ctrl-C ends\.\n$/);
    assert.equal(out.trim().split("\n").length, 3);
  });

  test("ends on Ctrl-C with what it found so far", async () => {
    const options = `--server ${stack.nats.url} --creds ${stack.adminCredsFile} --subject orders.eu.7.create`;
    const command = startCommand(`verify ${where()} ${options}`.split(" "), { program });
    await eventually("a message", async () => {
      await publish();
      return command.written().out.includes("verified") ? true : undefined;
    });
    command.kill("SIGINT");
    assert.equal((await command.done).code, 0);
  });
});

describe("policy", () => {
  test("check and explain answer by exit code: yes, no, cannot be asked", async () => {
    const answers = await runAll([
      "policy check --config countersign.yaml",
      "policy check bad-policy.yaml --json",
      "policy check nowhere.yaml",
      "policy explain --config countersign.yaml --as alice publish orders.eu.1.create",
      "policy explain --config countersign.yaml --as bob publish orders.eu.1.create --json",
      "policy explain --config countersign.yaml --as nobody publish orders.eu.1.create",
      "policy explain --config countersign.yaml --as bob dance orders.eu.1.create",
    ]);
    assert.deepEqual(
      answers.map(({ code }) => code),
      [0, 1, 2, 0, 1, 2, 2],
    );
    assert.match(answers[0]?.out ?? "", /^right {4}3 roles, \d+ tests, 1 file, version [0-9a-f]{12}\n$/);
    assert.equal((JSON.parse(answers[1]?.out ?? "") as { ok: boolean }).ok, false);
    assert.match(answers[3]?.out ?? "", /publish orders\.\{region\}\.\*\.create/);
    assert.equal((JSON.parse(answers[4]?.out ?? "") as { outcome: string }).outcome, "refused");
    for (const { out, err } of answers) assert.doesNotMatch(out + err, /a fault of its own/);
  });
});

describe("the end of serve", () => {
  /** A request that NATS has delivered and nobody has answered. */
  async function pending(url: string): Promise<{ readonly answer: Promise<Answer>; readonly message: Msg }> {
    const subscription = stack.admin.subscribe("slow.answer", { max: 1 });
    await stack.admin.flush();
    const answer = send(`${url}/v1/request?subject=slow.answer&timeout=15s`, {
      method: "POST",
      token: stack.token("alice"),
      body: "?",
    });
    answer.catch(() => {});
    for await (const message of subscription) return { answer, message };
    throw new Error("the subscription ended");
  }

  test("SIGTERM lets requests in flight finish, tells streams to come back, writes the record, and exits with 0", async () => {
    const gateway = await startInstance(stack, "ending", { program });
    const stream = await openStream(`${gateway.url}/v1/subscribe?subject=orders.eu.%3E`, {
      token: stack.token("alice"),
    });
    const { answer, message } = await pending(gateway.url);
    process.kill(gateway.pid, "SIGTERM");
    assert.deepEqual(await endOf(stream), { event: "end", data: { code: "shutdown", reconnect: true } });
    await eventually("new callers to be turned away", () =>
      send(`${gateway.url}/healthz`, {}).then(
        () => undefined,
        () => true as const,
      ),
    );
    message.respond("late but well");
    const { status, text } = await answer;
    assert.deepEqual([status, text], [200, "late but well"]);
    assert.equal(await gateway.exited, 0);
    const record = await readFile(join(stack.stateDir, "audit-ending.jsonl"), "utf8");
    assert.match(record, /"outcome":"ended","why":"shutdown"/);
    assert.match(record, /"outcome":"replied"/);
  });

  test("a second Ctrl-C does not wait", async () => {
    const gateway = await startInstance(stack, "impatient", { program });
    const { answer } = await pending(gateway.url);
    process.kill(gateway.pid, "SIGINT");
    await eventually("the first to be heard", () => (gateway.log().includes('"ending"') ? true : undefined));
    process.kill(gateway.pid, "SIGINT");
    assert.equal(await gateway.exited, 1);
    await assert.rejects(answer);
  });

  test("a port that is taken is told with what to do", async () => {
    const { configFile } = await configureInstance(stack, "taken");
    const yaml = await readFile(configFile, "utf8");
    const port = new URL(stack.gatewayUrl).port;
    await writeFile(configFile, yaml.replace(/^listen: .*$/m, `listen: { address: '127.0.0.1:${port}' }`));
    const { code, err } = await run(`serve --config ${configFile}`);
    assert.equal(code, 1);
    assert.match(err, /Cannot listen on 127\.0\.0\.1:\d+: something listens there already/);
  });

  test("a state folder that cannot be used is told in words", async () => {
    const { configFile } = await configureInstance(stack, "stateless");
    const yaml = await readFile(configFile, "utf8");
    await writeFile(configFile, yaml.replace(/^state: .*$/m, "state: policy.yaml"));
    const { code, err } = await run(`serve --config ${configFile}`);
    assert.equal(code, 1);
    assert.match(err, /policy\.yaml/);
    assert.doesNotMatch(err, /a fault of its own|\n {4}at /);
  });
});
