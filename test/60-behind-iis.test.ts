/**
 * Behind IIS, by a stand-in: ASP.NET Core Module V2, and ARR with URL Rewrite. devstack/src/iis-stand-in.ts says what it is
 * worth. With COUNTERSIGN_REAL_IIS=1, on a Windows machine that may be changed, a real one takes its place.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type GatewayProcess, startGateway } from "@countersign/devstack/gateway-process.ts";
import { pretendTicket, WINDOWS_ACCOUNTS, type WindowsUserId } from "@countersign/devstack/iis/accounts.ts";
import type { AncmBackend, ArrBackend, IisSite, IisSiteOptions } from "@countersign/devstack/iis/site.ts";
import { SERVER_CONFIG, startRealIis } from "@countersign/devstack/iis-real.ts";
import { startIisStandIn } from "@countersign/devstack/iis-stand-in.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import { type Msg, type Subscription, type WsConnectionOptions, wsconnect } from "@nats-io/nats-core";
import { WebSocket } from "ws";
import { nativeUrl } from "./native-client.ts";
import { type Answer, type JsonObject, openStream, queryOf, send, type TestStack } from "./support.ts";
import { ANONYMOUS, type Deployment, deployProgram, PORTAL, writeDeployment } from "./support-iis.ts";
import { endOf, eventually, runCommand, signInAs } from "./support-operations.ts";

const POLICY = `
version: 1
roles:
  order-clerk:
    given-to:
      - { issuer: demo, groups: Orders.Clerks }
      - { issuer: iis, groups: 'CORP\\OrderClerks' }
    may:
      - connect native
      - request slow.answer
      - publish orders.eu.*.create
      - subscribe orders.eu.>
`;
const isReal = process.env.COUNTERSIGN_REAL_IIS === "1";
/** What the stand-in is told to do, and a real one does not do on demand. */
const onStandIn = { skip: isReal && "a real IIS is not told to do this" };
const PUBLISH = "/v1/publish?subject=orders.eu.1.create";
/** As scripts outside browsers do, for proofs that come by themselves. */
const DELIBERATE = { "countersign-request": "1" };

/** One variant of the whole: NATS, provider, the gateway, and IIS before it at the public URL. */
interface Bench {
  readonly deployment: Deployment;
  readonly stack: TestStack;
  readonly site: IisSite;
  /** Where the gateway itself listens. */
  readonly gatewayPort: () => number;
  /** Ends the gateway behind ARR, a service of its own, and nothing else. */
  readonly stopGateway: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** As `countersign iis init` writes it, but that Windows authentication is off until a test switches it on. */
async function startBench(kind: "ancm" | "arr"): Promise<Bench> {
  const port = await findFreePort();
  const deployment = await writeDeployment(`iis-${kind}`, port, POLICY);
  const { stack, name } = deployment;
  const { configFile, gatewayUrl: publicUrl, stateDir } = stack;
  const program = isReal ? await deployProgram(deployment) : undefined;
  const site = isReal
    ? startRealIis({ path: stateDir, name, port: Number(new URL(publicUrl).port) })
    : await startIisStandIn(standInFor(deployment, backendOf(kind, deployment, port)));
  site.setWindowsAuthentication(false);
  let gateway: GatewayProcess | undefined;
  if (kind === "arr") gateway = await startGateway({ configFile, publicUrl, ...(program && { program }) });
  return {
    deployment,
    stack,
    site,
    gatewayPort: () => site.process()?.port ?? port,
    stopGateway: async () => await gateway?.stop(),
    async stop() {
      await gateway?.stop();
      await site.stop();
      await stack.stop();
    },
  };
}

function backendOf(
  kind: "ancm" | "arr",
  { stack: { configFile }, proof }: Deployment,
  port: number,
): AncmBackend | ArrBackend {
  return kind === "ancm" ? { kind, configFile } : { kind, port, ...(proof !== undefined && { proof }) };
}

/** What the generator's web.config and script say of the site, in the stand-in's words. */
function standInFor({ stack, key }: Deployment, backend: AncmBackend | ArrBackend): IisSiteOptions {
  return {
    port: Number(new URL(stack.gatewayUrl).port),
    logFolder: stack.stateDir,
    backend,
    identityModule: { key },
    windowsAuthentication: true,
    anonymousPaths: ANONYMOUS,
    preflightPath: "/healthz",
  };
}

function windows(user: WindowsUserId): Readonly<Record<string, string>> {
  return { authorization: pretendTicket(user), ...DELIBERATE };
}

/** The site's log so far, each line by the names of its fields. */
function iisLog({ logFile, port, flushLog }: IisSite): readonly Readonly<Record<string, string>>[] {
  flushLog();
  const lines = readFileSync(logFile, "utf8").split("\r\n").filter(Boolean);
  const names =
    lines
      .findLast((line) => line.startsWith("#Fields: "))
      ?.split(" ")
      .slice(1) ?? [];
  return lines
    .filter((line) => !line.startsWith("#"))
    .map((line) => Object.fromEntries(line.split(" ").map((value, index) => [names[index] ?? "", value])))
    .filter((line) => line["s-port"] === String(port));
}

/** The line of a request that got as far as the gateway. */
function iisLineOf(site: IisSite, answer: Answer): Promise<Readonly<Record<string, string>>> {
  const requestId = answer.headers["x-request-id"];
  return eventually("the line in the log of IIS", () =>
    iisLog(site).find((line) => line["x-request-id"] === requestId),
  );
}

/** A stock client's WebSocket with headers of the visitor's, which offers compression as browsers do. */
function factoryOf(headers: Readonly<Record<string, string>>): NonNullable<WsConnectionOptions["wsFactory"]> {
  return async (url) => {
    const socket = new WebSocket(url, "nats", { headers, perMessageDeflate: true });
    return { socket: socket as unknown as globalThis.WebSocket, encrypted: false };
  };
}

async function take(sub: Subscription): Promise<Msg | undefined> {
  for await (const msg of sub) return msg;
  return undefined;
}

for (const kind of ["ancm", "arr"] as const) {
  describe(`behind ${kind}`, () => {
    let bench: Bench;
    before(async () => {
      bench = await startBench(kind);
    });
    after(() => bench?.stop());

    async function recordOf(answer: Answer): Promise<JsonObject> {
      const [record] = await bench.stack.auditOf(answer.headers["x-request-id"], 1);
      return record ?? assert.fail("no record");
    }

    test("a browser signs in at the provider, and is known by its cookie", async () => {
      const { stack } = bench;
      const { headers } = await signInAs("alice", stack.gatewayUrl);
      const whoami = await stack.call("/v1/whoami", { headers });
      assert.deepEqual([whoami.status, whoami.json().user], [200, "demo-alice"], whoami.text);
    });

    test("the id of a request is the same in the answer, the log of IIS and the record, with the visitor's address", async () => {
      const { stack, site } = bench;
      const answer = await stack.call(PUBLISH, {
        method: "POST",
        token: stack.token("alice"),
        headers: {
          "x-request-id": "chosen",
          "x-forwarded-for": "203.0.113.9",
          "x-forwarded-proto": "gopher",
        },
      });
      assert.equal(answer.status, 202, answer.text);
      const record = await recordOf(answer);
      const { requestId, clientRequestId, remote, hop, user } = record;
      assert.deepEqual(
        { requestId, clientRequestId, remote, hop, user },
        {
          requestId: answer.headers["x-request-id"],
          clientRequestId: "chosen",
          remote: "127.0.0.1",
          hop: "127.0.0.1",
          user: "demo-alice",
        },
      );
      const line = await iisLineOf(site, answer);
      assert.deepEqual(
        [line["cs-method"], line["cs-uri-stem"], line["sc-status"], line["cs-username"]],
        ["POST", "/v1/publish", "202", "-"],
      );
      assert.match(line["cs-uri-query"] ?? "", /^subject=orders\.eu\.1\.create/);
    });

    test("trace joins the log of IIS and the records of the gateway", async () => {
      const { stack, site } = bench;
      const answer = await stack.call(PUBLISH, { method: "POST", token: stack.token("alice") });
      await iisLineOf(site, answer);
      await stack.auditOf(answer.json().txn, 2);
      const id = String(answer.headers["x-request-id"]);
      const sources = ["--config", stack.configFile, "--iis", site.logFile];
      const { code, out, err } = await runCommand(["trace", id, "--json", ...sources]);
      const { events, findings } = JSON.parse(out) as Record<"events" | "findings", readonly JsonObject[]>;
      assert.deepEqual([code, findings], [0, []], err);
      assert(
        ["iis", "decision"].every((source) => events.some((event) => event.source === source)),
        out,
      );
    });

    test("each event arrives before the next is sent", async () => {
      const { stack } = bench;
      const token = stack.token("alice");
      const stream = await stack.stream(["orders.eu.>"], { token });
      for (const count of [1, 2, 3]) {
        await stack.call(PUBLISH, { method: "POST", token, body: String(count) });
        const events = await stream.read(count);
        assert.equal(events.at(-1)?.data.data, String(count));
      }
      stream.leave();
    });

    test("what a visitor claims to have from an edge is refused and recorded, or was taken away by IIS", async () => {
      const { stack } = bench;
      const token = stack.token("alice");
      const whoami = (headers: Readonly<Record<string, string>>): Promise<Answer> =>
        stack.call("/v1/whoami", { token, headers });
      // Our module in IIS takes these away: the visitor is who the token says.
      for (const name of [
        "Countersign-Identity",
        "countersign_identity",
        "MS-ASPNETCORE-TOKEN",
        "X-ARR-ClientCert",
        "X-MS-CLIENT-PRINCIPAL",
      ]) {
        const answer = await whoami({ [name]: "forged" });
        assert.deepEqual([answer.status, answer.json().user], [200, "demo-alice"], name);
      }
      const proof = await whoami({ "Countersign-Proof": "forged" });
      assert.equal(proof.status, kind === "arr" ? 200 : 400, "a rule of ARR overwrites it");
      const underscore = await whoami({ X_Forwarded_User: "root" });
      assert.equal(underscore.status, 400);
      assert.deepEqual((await recordOf(underscore)).refusal, {
        reason: "proof_malformed",
        why: "a header name with an underscore",
      });
    });

    test("nobody comes in past IIS, whatever they claim", async () => {
      const { stack, gatewayPort } = bench;
      const direct = `http://127.0.0.1:${gatewayPort()}`;
      const forged = {
        "x-forwarded-for": "203.0.113.9",
        "ms-aspnetcore-token": "forged",
        "countersign-proof": "forged",
      };
      for (const headers of [{}, forged]) {
        for (const path of ["/v1/whoami", "/healthz", "/iisintegration"]) {
          const answer = await send(direct + path, { token: stack.token("alice"), headers });
          assert.deepEqual([answer.status, answer.json().code], [400, "invalid_request"], path);
          const record = await recordOf(answer);
          assert.equal((record.refusal as JsonObject).reason, "hop_unproven");
          assert.deepEqual(
            [record.action, record.remote, record.hop],
            [`(unread) GET ${path}`, "127.0.0.1", undefined],
          );
        }
      }
      // A shutdown call that IIS did not make ends nothing.
      const shutdown = await send(`${stack.gatewayUrl}/iisintegration`, {
        method: "POST",
        headers: { "ms-aspnetcore-event": "shutdown " },
      });
      assert.equal(shutdown.status, 404);
      assert.equal((await stack.call("/healthz")).status, 200);
    });

    test("what IIS answers by itself has no request id in its log: that absence is the diagnosis", async () => {
      const { stack, site } = bench;
      const answer = await stack.call("/v1/orders.rules");
      assert.equal(answer.status, 404);
      assert.equal(answer.headers["x-request-id"], undefined);
      const line = await eventually("the line", () =>
        iisLog(site).find((one) => one["cs-uri-stem"] === "/v1/orders.rules"),
      );
      assert.deepEqual([line["sc-status"], line["sc-substatus"], line["x-request-id"]], ["404", "7", "-"]);
    });

    test("a NATS client that offers compression comes through, since IIS knows no extension of WebSocket", async () => {
      const { stack, site } = bench;
      const options = { servers: nativeUrl(stack), reconnect: false, token: stack.token("alice") };
      const client = await wsconnect({ ...options, wsFactory: factoryOf({}) });
      const received = take(client.subscribe("orders.eu.>"));
      await client.flush();
      await stack.call(PUBLISH, { method: "POST", token: stack.token("alice"), body: "natively" });
      assert.equal((await received)?.string(), "natively");
      await client.close();
      const line = await eventually("the upgrade in the log of IIS", () =>
        iisLog(site).find((one) => one["sc-status"] === "101"),
      );
      const [record] = await stack.auditOf(line["x-request-id"], 1);
      assert.deepEqual([record?.lane, record?.remote, record?.hop], ["nats", "127.0.0.1", "127.0.0.1"]);
    });

    test("an upgrade past IIS is refused as any other request", async () => {
      const { stack, gatewayPort } = bench;
      const socket = new WebSocket(`ws://127.0.0.1:${gatewayPort()}/v1/nats`, {
        headers: { "x-forwarded-for": "203.0.113.9" },
      });
      const [, answer] = (await once(socket, "unexpected-response")) as [unknown, IncomingMessage];
      answer.resume();
      assert.equal(answer.statusCode, 400);
      const [record] = await stack.auditOf(answer.headers["x-request-id"], 1);
      const proof = kind === "ancm" ? "the pairing token of IIS" : "the secret of its rewrite rule";
      assert.deepEqual(record?.refusal, { reason: "hop_unproven", proof });
      assert.deepEqual([record?.remote, record?.hop], ["127.0.0.1", undefined]);
    });

    describe("with Windows authentication, as the generator leaves the site", () => {
      before(() => bench.site.setWindowsAuthentication(true));
      after(() => bench.site.setWindowsAuthentication(false));

      test("doctor finds nothing wrong, in the files and from outside", async () => {
        const { stack, deployment } = bench;
        const server = isReal ? [SERVER_CONFIG, "--site", deployment.name] : [];
        const files = [join(stack.stateDir, "site"), ...server];
        for (const what of [files, ["--through", stack.gatewayUrl]]) {
          const { code, out, err } = await runCommand(["iis", "doctor", ...what]);
          assert.equal(code, 0, out + err);
        }
      });

      test("a preflight needs no ticket, and comes through by a rule that is for nothing else", async () => {
        const { stack } = bench;
        const preflight = { origin: PORTAL, "access-control-request-method": "POST" };
        const answer = await stack.call(PUBLISH, { method: "OPTIONS", headers: preflight });
        assert.deepEqual([answer.status, answer.headers["access-control-allow-origin"]], [204, PORTAL]);
        assert.equal((await stack.call(PUBLISH, { method: "OPTIONS" })).status, 401);
      });

      test("whoever runs this is signed in by Windows, and known by their SID", {
        skip: !isReal && "needs Windows",
      }, () => {
        const url = `${bench.stack.gatewayUrl}/v1/whoami`;
        const curl = ["--silent", "--negotiate", "--user", ":", "--header", "Countersign-Request: 1", url];
        const answer = JSON.parse(execFileSync("curl.exe", curl, { encoding: "utf8" })) as JsonObject;
        const [, sid] =
          /"(S-1-5-[0-9-]+)"/.exec(execFileSync("whoami", ["/user", "/fo", "csv"], { encoding: "utf8" })) ??
          [];
        assert.deepEqual([answer.issuer, answer.user], ["iis", `iis-${sid}`]);
      });
    });

    describe("with Windows authentication, and pretended tickets", {
      skip: isReal && "a real ticket needs a client that has one",
    }, () => {
      before(() => bench.site.setWindowsAuthentication(true));
      after(() => bench.site.setWindowsAuthentication(false));

      test("a user is who IIS says, by SID, and what the policy gives to their group", async () => {
        const { stack, site } = bench;
        const answer = await stack.call("/v1/whoami", { headers: windows("alice") });
        assert.equal(answer.status, 200, answer.text);
        const { user, issuer, name, roles, kind: what } = answer.json();
        assert.deepEqual(
          { user, issuer, name, roles, what },
          {
            user: `iis-${WINDOWS_ACCOUNTS.alice.sid}`,
            issuer: "iis",
            name: "CORP\\alice",
            roles: ["order-clerk"],
            what: "user",
          },
        );
        assert.equal((await recordOf(answer)).user, user);
        assert.equal((await iisLineOf(site, answer))["cs-username"], "CORP\\alice");
        assert.equal((await stack.call(PUBLISH, { method: "POST", headers: windows("alice") })).status, 202);
        assert.equal((await stack.call(PUBLISH, { method: "POST", headers: windows("carol") })).status, 403);
      });

      test("one request may open a stream of several subjects, though its signature counts once", async () => {
        const { stack } = bench;
        const url = `${stack.gatewayUrl}/v1/subscribe?${queryOf(["orders.eu.1.>", "orders.eu.2.>"])}`;
        const stream = await openStream(url, { headers: windows("alice") });
        await stack.call(PUBLISH, { method: "POST", headers: windows("alice"), body: "by Windows" });
        const [event] = await stream.read(1);
        const sender = event?.data.sender ?? {};
        assert.equal((sender as JsonObject).user, `iis-${WINDOWS_ACCOUNTS.alice.sid}`);
        stream.leave();
      });

      test("a NATS client is who IIS says, without a token of its own", async () => {
        const { stack } = bench;
        const options = { servers: nativeUrl(stack), reconnect: false };
        const client = await wsconnect({ ...options, wsFactory: factoryOf(windows("alice")) });
        const received = take(client.subscribe("orders.eu.>"));
        client.publish("orders.eu.1.create", "as alice of CORP");
        assert.equal((await received)?.string(), "as alice of CORP");
        await client.close();
        const connected = stack
          .audit()
          .filter(({ action, outcome }) => action === "connect native" && outcome === "allowed");
        assert.equal(connected.at(-1)?.user, `iis-${WINDOWS_ACCOUNTS.alice.sid}`);
        await assert.rejects(wsconnect({ ...options, wsFactory: factoryOf(windows("carol")) }));
      });

      test("a request that another site may have caused has no identity", async () => {
        const headers = { authorization: pretendTicket("alice") };
        const answer = await bench.stack.call("/v1/whoami", { headers });
        assert.equal(answer.status, 403);
        const elsewhere = { ...headers, origin: "https://evil.example" };
        const refused = await bench.stack.call(PUBLISH, { method: "POST", headers: elsewhere });
        assert.equal(refused.status, 403);
        assert.equal(((await recordOf(refused)).refusal as JsonObject).reason, "cross_site");
      });

      test("a browser that is also signed in as somebody else is nobody", async () => {
        const { stack, site } = bench;
        site.setWindowsAuthentication(false);
        const { cookie } = await signInAs("alice", stack.gatewayUrl);
        site.setWindowsAuthentication(true);
        const answer = await stack.call("/v1/whoami", { headers: { cookie, ...windows("carol") } });
        assert.equal(answer.status, 400);
        const { refusal } = await recordOf(answer);
        assert.deepEqual(refusal, {
          reason: "proof_ambiguous",
          users: [`iis-${WINDOWS_ACCOUNTS.carol.sid}`, "demo-alice"],
        });
      });

      test("without a ticket IIS answers; where it lets everybody in, nobody is anybody", async () => {
        const { stack } = bench;
        const none = await stack.call("/v1/whoami");
        assert.deepEqual(
          [none.status, none.headers["www-authenticate"], none.headers["x-request-id"]],
          [401, "Negotiate, NTLM", undefined],
        );
        assert.equal(
          (await stack.call("/v1/whoami", { headers: { authorization: "Negotiate Zm9v" } })).status,
          401,
        );
        for (const path of ANONYMOUS.slice(0, 2)) assert.equal((await stack.call(path)).status, 200, path);
      });
    });
  });
}

test("the process that IIS started ends when IIS asks: streams are told, and the next request starts another", async () => {
  const { stack, site, stop } = await startBench("ancm");
  try {
    const token = stack.token("alice");
    const stream = await stack.stream(["orders.eu.>"], { token });
    const asked = Promise.withResolvers<Msg>();
    stack.admin.subscribe("slow.answer", { callback: (_error, msg) => asked.resolve(msg) });
    const inFlight = stack.call("/v1/request?subject=slow.answer", { method: "POST", token });
    const question = await asked.promise;
    const former = site.process()?.pid;
    const recycled = site.recycle();
    const end = await endOf(stream);
    question.respond("at last");
    assert.deepEqual(
      [(await inFlight).status, (await inFlight).text],
      [200, "at last"],
      "what was in flight is answered",
    );
    assert.equal(await recycled, true, "it ended by itself");
    assert.deepEqual([end?.event, end?.data], ["end", { code: "shutdown", reconnect: true }]);
    assert.equal((await stack.call("/v1/whoami", { token })).status, 200);
    assert.notEqual(site.process()?.pid, former);
  } finally {
    await stop();
  }
});

test("while the gateway is down, ARR answers 502.3 by itself, and its log knows no request id", async () => {
  const { stack, site, stop, stopGateway } = await startBench("arr");
  try {
    await stopGateway();
    const answer = await stack.call("/v1/whoami");
    assert.deepEqual([answer.status, answer.headers["x-request-id"]], [502, undefined]);
    const line = await eventually("the line", () => iisLog(site).find((one) => one["sc-status"] === "502"));
    assert.deepEqual(
      [line["sc-substatus"], line["sc-win32-status"], line["x-request-id"]],
      ["3", "12029", "-"],
    );
  } finally {
    await stop();
  }
});

test(
  "a timeout of IIS that is shorter than the heartbeat cuts a stream, and its log says why",
  onStandIn,
  async () => {
    const { deployment, stack, site, gatewayPort, stop } = await startBench("arr");
    const backend = { ...backendOf("arr", deployment, gatewayPort()), requestTimeoutMs: 300 };
    const hasty = await startIisStandIn({ logFolder: join(stack.stateDir, "hasty"), backend });
    try {
      const url = `${hasty.url}/v1/subscribe?${queryOf(["orders.eu.>"])}`;
      const stream = await openStream(url, { token: stack.token("alice") });
      await stream.ended;
      const line = await eventually("the line", () => iisLog(hasty)[0]);
      assert.deepEqual([line["cs-uri-stem"], line["sc-win32-status"]], ["/v1/subscribe", "12002"]);
      assert.notEqual(hasty.port, site.port);
    } finally {
      await hasty.stop();
      await stop();
    }
  },
);

test(
  "ARR's own buffer holds events back: what the setting of our generator does not",
  onStandIn,
  async () => {
    const { deployment, stack, gatewayPort, stop } = await startBench("arr");
    const backend = { ...backendOf("arr", deployment, gatewayPort()), minResponseBuffer: 262_144 };
    const holding = await startIisStandIn({ logFolder: join(stack.stateDir, "holding"), backend });
    try {
      const token = stack.token("alice");
      const opening = openStream(`${holding.url}/v1/subscribe?${queryOf(["orders.eu.>"])}`, { token });
      const direct = await stack.stream(["orders.eu.>"], { token });
      await stack.call(PUBLISH, { method: "POST", token });
      await direct.read(1);
      const late = await Promise.race([opening, Promise.resolve("nothing yet")]);
      assert.equal(late, "nothing yet");
      direct.leave();
      await holding.stop();
      await opening.then(
        (stream) => stream.leave(),
        () => {},
      );
    } finally {
      await holding.stop();
      await stop();
    }
  },
);

test("handles of Windows tokens are refused loudly: nobody could close them", onStandIn, async () => {
  const { deployment, stack, site, gatewayPort, stop } = await startBench("ancm");
  await site.stop();
  const backend = { ...backendOf("ancm", deployment, gatewayPort()), forwardWindowsAuthToken: true };
  const leaking = await startIisStandIn(standInFor(deployment, backend));
  try {
    const answer = await stack.call("/v1/whoami", { headers: windows("alice") });
    assert.deepEqual([answer.status, answer.json().code], [503, "unavailable"]);
    assert.doesNotMatch(answer.text, /handle/);
    const [record] = await stack.auditOf(answer.headers["x-request-id"], 1);
    const { refusal } = record ?? {};
    assert.match(String((refusal as JsonObject).why), /forwardWindowsAuthToken="false"/);
    const logFile = join(stack.stateDir, "logs", "gateway.log");
    await eventually("the line in the operator's log", () =>
      readFileSync(logFile, "utf8").includes("requests are refused for how IIS is set up") ? true : undefined,
    );
  } finally {
    await leaking.stop();
    await stop();
  }
});
