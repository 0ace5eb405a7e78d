/** From a line of IIS's log to the message and back: `countersign trace`, through the stand-in for IIS. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { type GatewayProcess, startGateway } from "@countersign/devstack/gateway-process.ts";
import { pretendTicket, WINDOWS_ACCOUNTS } from "@countersign/devstack/iis/accounts.ts";
import type { IisSite } from "@countersign/devstack/iis/site.ts";
import { startIisStandIn } from "@countersign/devstack/iis-stand-in.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { connectNative } from "./native-client.ts";
import { type Answer, type JsonObject, startTestStack, type TestStack } from "./support.ts";
import { eventually, runCommand } from "./support-operations.ts";

const POLICY = `
version: 1
roles:
  order-clerk:
    given-to:
      - { issuer: demo, groups: Orders.Clerks }
      - { issuer: iis, groups: 'CORP\\OrderClerks' }
    may: [ 'publish orders.eu.*.create', request stock.check ]
  stock:
    given-to: [ { issuer: demo, service: inventory } ]
    may: [ respond stock.check, connect native ]
`;
const PROOF = randomBytes(32).toString("base64url");
const KEY = randomBytes(32).toString("base64");
const ALICE = WINDOWS_ACCOUNTS.alice;
const AS_ALICE = { authorization: pretendTicket("alice"), "countersign-request": "1" };

interface Traced {
  readonly code: number | null;
  readonly events: readonly JsonObject[];
  readonly findings: readonly JsonObject[];
  readonly logs: readonly JsonObject[];
  readonly err: string;
}

let stack: TestStack;
let site: IisSite;
let gateway: GatewayProcess;

before(async () => {
  const port = await findFreePort();
  stack = await startTestStack({
    gateway: false,
    auditStream: true,
    policy: POLICY,
    configure: (yaml) =>
      yaml
        .replace(
          /^listen: .*$/m,
          `listen: { address: '127.0.0.1:${port}', behind: iis-arr, proof: { file: proof } }`,
        )
        .replace(/^issuers:$/m, "issuers:\n  iis: { windows-auth: true, key: { file: iis.key } }"),
  });
  writeFileSync(join(stack.stateDir, "proof"), PROOF, { mode: 0o600 });
  writeFileSync(join(stack.stateDir, "iis.key"), KEY, { mode: 0o600 });
  site = await startIisStandIn({
    port: Number(new URL(stack.gatewayUrl).port),
    logFolder: stack.stateDir,
    backend: { kind: "arr", port, proof: PROOF },
    identityModule: { key: KEY },
    windowsAuthentication: true,
    // Native clients bring tokens of their own.
    anonymousPaths: ["/healthz", "/.well-known/jwks.json", "/v1/nats"],
  });
  gateway = await startGateway({ configFile: stack.configFile, publicUrl: stack.gatewayUrl });
});

after(async () => {
  await gateway?.stop();
  await site?.stop();
  await stack?.stop();
});

/** Where the gateway itself listens, behind the site. */
function gatewayPort(): number {
  return Number(/address: '127\.0\.0\.1:(\d+)'/.exec(readFileSync(stack.configFile, "utf8"))?.[1]);
}

/** Traces with what is there: the configuration, the site's log unless another is named, and who may read ORDERS. */
async function trace(what: string, ...more: readonly string[]): Promise<Traced> {
  const iis = more.includes("--iis") ? [] : ["--iis", site.logFile];
  const sources = ["--config", stack.configFile, ...iis, "--creds", stack.adminCredsFile];
  const { code, out, err } = await runCommand(["trace", what, "--json", ...sources, ...more], {
    cwd: stack.stateDir,
  });
  assert(out.startsWith("{"), `${code}: ${out}${err}`);
  return { ...(JSON.parse(out) as Omit<Traced, "code" | "err">), code, err };
}

/** Publishes through the site, and waits until its log has the line. */
async function publish(
  subject: string,
  headers: Readonly<Record<string, string>> = AS_ALICE,
): Promise<Answer> {
  const answer = await stack.call(`/v1/publish?subject=${subject}`, { method: "POST", headers, body: "{}" });
  await logged(String(answer.headers["x-request-id"]));
  return answer;
}

async function logged(text: string): Promise<void> {
  await eventually(
    "the line in the log of IIS",
    () => readFileSync(site.logFile, "utf8").includes(text) || undefined,
  );
}

test("a request is followed from IIS through the decision to the message, whose seal is verified", async () => {
  const answer = await publish("orders.eu.1.create");
  assert.equal(answer.status, 202, answer.text);
  const { txn, id } = answer.json();
  const requestId = String(answer.headers["x-request-id"]);
  // Two lines: the decision, and what came of it.
  await stack.auditOf(txn, 2);
  const { code, events, findings } = await trace(requestId);
  assert.deepEqual(findings, []);
  assert.equal(code, 0);
  const bySource = Map.groupBy(events, ({ source }) => source);
  const [line] = bySource.get("iis") ?? [];
  assert.deepEqual(
    [line?.method, line?.path, line?.status, line?.username, line?.requestId],
    ["POST", "/v1/publish", 202, "CORP\\alice", requestId],
  );
  const records = (bySource.get("decision") ?? []).map(({ record }) => record as JsonObject);
  // The file and the stream AUDIT hold the same record; it is shown once.
  assert.equal(records.length, 1);
  const [record = {}] = records as readonly JsonObject[];
  assert.deepEqual(
    [record?.outcome, record?.user, record?.name],
    ["allowed", `iis-${ALICE.sid}`, ALICE.name],
  );
  assert.equal((record.rule as JsonObject).text, "publish orders.eu.*.create");
  assert.match(String(record.policy), /^[0-9a-f]{64}$/);
  const [message] = bySource.get("message") ?? [];
  assert.equal(message?.stream, "ORDERS");
  assert.deepEqual(message?.seal, { verified: true, user: `iis-${ALICE.sid}`, txn, id, requestId });
  const outcomes = (bySource.get("completion") ?? []).map(
    ({ completion }) => (completion as JsonObject).outcome,
  );
  assert.deepEqual(outcomes, ["received"]);
  assert.deepEqual(events.map(({ source }) => source).slice(0, 2), ["iis", "decision"], "IIS saw it first");
});

test("the message leads back to the same, and so do its subject and its user", async () => {
  const answer = await publish("orders.eu.2.create");
  const { txn, id } = answer.json();
  await stack.auditOf(txn, 2);
  for (const what of [String(id), "orders.eu.2.create"]) {
    const { events, findings } = await trace(what);
    assert.deepEqual([what, findings], [what, []]);
    assert.deepEqual(
      [what, ...new Set(events.map(({ source }) => source))].sort(),
      [what, "completion", "decision", "iis", "message"].sort(),
    );
  }
  const { events } = await trace(`iis-${ALICE.sid}`, "--since", "10m");
  const ids = events.filter(({ source }) => source === "iis").map(({ requestId }) => requestId);
  assert(ids.includes(answer.headers["x-request-id"]), JSON.stringify(ids));
});

test("who replied is proved by the reply's seal", async () => {
  const service = await connectNative(stack, "inventory");
  try {
    service.subscribe("stock.check", { callback: (_error, message) => void message.respond("7") });
    await service.flush();
    const answer = await stack.call("/v1/request?subject=stock.check", { method: "POST", headers: AS_ALICE });
    assert.deepEqual([answer.status, answer.text], [200, "7"]);
    const requestId = String(answer.headers["x-request-id"]);
    await logged(requestId);
    await stack.auditOf(requestId, 2);
    const { events, findings } = await trace(requestId);
    assert.deepEqual(findings, []);
    const done = events.find(({ source }) => source === "completion")?.completion as JsonObject | undefined;
    assert.deepEqual([done?.outcome, done?.by], ["replied", "demo-inventory"]);
  } finally {
    await service.close();
  }
});

test("a request that IIS ended by itself is a finding, with what its status means", async () => {
  const answer = await stack.call("/v1/orders.rules", { headers: AS_ALICE });
  assert.equal(answer.status, 404);
  await logged("/v1/orders.rules");
  await publish("orders.eu.7.create");
  const { code, findings } = await trace("CORP\\alice", "--since", "10m");
  assert.equal(code, 1);
  const found = findings.find(({ what }) => String(what).includes("/v1/orders.rules"));
  assert.equal(found?.code, "never_reached");
  assert.match(
    String(found?.what),
    /404\.7.*never reached the gateway: request filtering refuses the file extension/,
  );
});

test("a request that came past IIS is a finding where IIS's log covers its time", async () => {
  const answer = await fetch(`http://127.0.0.1:${gatewayPort()}/v1/publish?subject=orders.eu.3.create`, {
    method: "POST",
    headers: { authorization: `Bearer ${stack.token("alice")}` },
    body: "{}",
  });
  const requestId = String(answer.headers.get("x-request-id"));
  await stack.auditOf(requestId, 1);
  // A line that is later than the request, so that the log says it was there all the time.
  const log = readFileSync(site.logFile, "utf8").trimEnd().split("\r\n");
  const last = log.at(-1) ?? "";
  const later = new Date(Date.now() + 60_000).toISOString();
  const columns = last.split(" ");
  const another = [later.slice(0, 10), later.slice(11, 19), ...columns.slice(2, -2), "-", "-"].join(" ");
  const longer = join(stack.stateDir, "u_ex991228_x.log");
  writeFileSync(longer, `${[...log, another].join("\r\n")}\r\n`);
  const { findings } = await trace(requestId, "--iis", longer);
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["not_through_iis"],
  );
});

test("another user in IIS's log than the gateway decided for is a finding", async () => {
  const answer = await publish("orders.eu.4.create");
  const requestId = String(answer.headers["x-request-id"]);
  await stack.auditOf(requestId, 2);
  const tampered = join(stack.stateDir, "u_ex991231_x.log");
  writeFileSync(tampered, readFileSync(site.logFile, "utf8").replaceAll("CORP\\alice", "CORP\\mallory"));
  const { findings } = await trace(requestId, "--iis", tampered);
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["user_differs"],
  );
  assert.match(String(findings[0]?.what), /IIS says CORP\\mallory, the gateway decided for iis-S-1-5-/);
  const anonymous = join(stack.stateDir, "u_ex991230_x.log");
  writeFileSync(anonymous, readFileSync(site.logFile, "utf8").replaceAll("CORP\\alice", "-"));
  const unvouched = await trace(requestId, "--iis", anonymous);
  assert.deepEqual(
    unvouched.findings.map(({ code }) => code),
    ["identity_unvouched"],
  );
});

test("a message that did not come through the gateway is a finding", async () => {
  stack.admin.publish("orders.eu.5.create", "{}", {});
  await stack.admin.flush();
  const { findings, events } = await trace("orders.eu.5.create");
  assert.deepEqual(
    events.map(({ source }) => source),
    ["message"],
  );
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["message_without_record"],
  );
});

test("a compressed log, with lines that do not fit, is read and reported on", async () => {
  const answer = await publish("orders.eu.6.create");
  const requestId = String(answer.headers["x-request-id"]);
  await stack.auditOf(requestId, 2);
  const compressed = join(stack.stateDir, "u_ex991229_x.log.gz");
  writeFileSync(compressed, gzipSync(`${readFileSync(site.logFile, "utf8")}2026-11-26 broken\r\n`));
  const { events, logs, findings } = await trace(requestId, "--iis", compressed);
  assert.deepEqual(findings, []);
  assert(events.some(({ source }) => source === "iis"));
  assert.deepEqual([logs[0]?.file, logs[0]?.malformed], [compressed, 1]);
  const people = await runCommand(["trace", requestId, "--iis", compressed, "--config", stack.configFile], {
    cwd: stack.stateDir,
  });
  assert.match(people.out, /iis +POST \/v1\/publish\?subject=orders\.eu\.6\.create {2}202/);
  assert.match(people.out, /decision {2}allowed {2}publish orders\.eu\.6\.create {2}by iis-S-1-5-/);
  assert.match(
    people.err,
    /1 of \d+ lines do not fit, and were left out; line \d+ has 2 columns where #Fields names/,
  );
});

test("what cannot be traced is said before anything is read", async () => {
  const cases: readonly [readonly string[], RegExp][] = [
    [["a..b", "--iis", site.logFile], /Cannot trace: "a\.\.b" is no id.*as a subject it has an empty token/],
    [["orders.eu.1.create"], /Nothing to read: name --iis, --audit or --config/],
    [
      ["orders.eu.1.create", "--iis", stack.stateDir, "--since", "yesterday"],
      /--since: expected a time like/,
    ],
    [["orders.eu.1.create", "--iis", join(stack.stateDir, "no-such")], /Cannot read the log/],
  ];
  for (const [args, message] of cases) {
    const { code, err } = await runCommand(["trace", ...args], { cwd: stack.stateDir });
    assert.deepEqual([args, code], [args, 2]);
    assert.match(err, message);
  }
});
