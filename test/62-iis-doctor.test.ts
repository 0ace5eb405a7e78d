/**
 * `countersign iis doctor --through`: sites that are set up rightly, and sites where one thing is wrong, which each has to
 * be found. The stand-in for IIS plays what it can be told to play wrongly; an edge of our own before it plays the rest.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type GatewayProcess, startGateway } from "@countersign/devstack/gateway-process.ts";
import type { IisSite } from "@countersign/devstack/iis/site.ts";
import { type IisStandInOptions, startIisStandIn } from "@countersign/devstack/iis-stand-in.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import type { Probed } from "countersign/iis/through/probe.ts";
import { startTestStack, type TestStack } from "./support.ts";
import { runCommand } from "./support-operations.ts";

const POLICY = `
version: 1
roles:
  reader:
    given-to: [{ issuer: demo, groups: Orders.Clerks }]
    may: [ connect native, subscribe orders.eu.> ]
`;
const PROOF = randomBytes(32).toString("base64url");
const KEY = randomBytes(32).toString("base64");
const SUBJECT = "orders.eu.>";

const RIGHT = { identityModule: { key: KEY }, backend: { kind: "arr", port: 0, proof: PROOF } } as const;

let stack: TestStack;
let gatewayPort: number;
let gateway: GatewayProcess;
/** Before the gateway at its public URL, set up rightly. */
let site: IisSite;

before(async () => {
  gatewayPort = await findFreePort();
  stack = await startTestStack({
    gateway: false,
    policy: POLICY,
    configure: (yaml) =>
      yaml
        .replace(
          /^listen: .*$/m,
          `listen: { address: '127.0.0.1:${gatewayPort}', behind: iis-arr, proof: { file: proof } }`,
        )
        .replace(/^issuers:$/m, "issuers:\n  iis: { windows-auth: true, key: { file: iis.key } }"),
  });
  writeFileSync(join(stack.stateDir, "proof"), PROOF, { mode: 0o600 });
  writeFileSync(join(stack.stateDir, "iis.key"), KEY, { mode: 0o600 });
  const backend = { ...RIGHT.backend, port: gatewayPort };
  const port = Number(new URL(stack.gatewayUrl).port);
  site = await startIisStandIn({ ...RIGHT, port, logFolder: stack.stateDir, backend });
  gateway = await startGateway({ configFile: stack.configFile, publicUrl: stack.gatewayUrl });
});
after(async () => {
  await gateway?.stop();
  await site?.stop();
  await stack?.stop();
});

interface Through {
  readonly code: number;
  readonly err: string;
  readonly probes: ReadonlyMap<string, Probed>;
  readonly wrong: readonly string[];
  readonly unseen: readonly string[];
}

/** @param options.timesEvents  opens a stream too */
async function doctor(url: string, { withToken = true, timesEvents = false } = {}): Promise<Through> {
  const subject = timesEvents ? ["--subject", SUBJECT] : [];
  const args = ["iis", "doctor", "--through", url, ...subject, "--audit", stack.auditFile, "--json"];
  const env = withToken ? { COUNTERSIGN_TOKEN: stack.token("alice") } : {};
  const { code, out, err } = await runCommand(args, { env });
  const probes: readonly Probed[] = out === "" ? [] : JSON.parse(out).probes;
  const named = (outcome: Probed["outcome"]): readonly string[] =>
    probes.filter((each) => each.outcome === outcome).map(({ probe }) => probe);
  return {
    code: code ?? -1,
    err,
    probes: new Map(probes.map((each) => [each.probe, each])),
    wrong: named("wrong"),
    unseen: named("unseen"),
  };
}

/** A site before the gateway of this file, set up rightly but for what is given. */
async function withSite(
  options: Partial<IisStandInOptions>,
  use: (site: IisSite) => Promise<void>,
): Promise<void> {
  const { backend = RIGHT.backend } = options;
  const site = await startIisStandIn({
    ...RIGHT,
    logFolder: stack.stateDir,
    ...options,
    backend: backend.kind === "arr" ? { ...backend, port: gatewayPort } : backend,
  });
  try {
    await use(site);
  } finally {
    await site.stop();
  }
}

describe("a site that is set up rightly", { concurrency: 3 }, () => {
  test("behind ARR: everything is seen, and nothing is wrong", async () => {
    const { code, wrong, unseen, probes } = await doctor(site.url, { timesEvents: true });
    assert.deepEqual([code, wrong, unseen], [0, [], []], JSON.stringify([...probes.values()], null, 1));
    assert.equal(probes.size, 14);
    assert.match(probes.get("forged Countersign-Identity")?.found ?? "", /taken away/);
    assert.match(
      probes.get("forged X-Forwarded-For")?.found ?? "",
      /has 127\.0\.0\.1, and the visitor's own id/,
    );
    assert.match(probes.get("WebSocket")?.found ?? "", /the first frame came/);
    assert.match(probes.get("server-sent events")?.found ?? "", /^the first byte came after/);
  });

  test("a bare gateway refuses every forged header by itself", async () => {
    const bare = await startTestStack({ policy: POLICY });
    try {
      const url = bare.gatewayUrl;
      const args = [
        "iis",
        "doctor",
        "--through",
        url,
        "--subject",
        SUBJECT,
        "--audit",
        bare.auditFile,
        "--json",
      ];
      const { code, out } = await runCommand(args, { env: { COUNTERSIGN_TOKEN: bare.token("alice") } });
      const { probes } = JSON.parse(out) as { readonly probes: readonly Probed[] };
      assert.deepEqual([code, probes.filter(({ outcome }) => outcome !== "right")], [0, []]);
      const forged = probes.filter(({ probe }) => /^forged (?:Countersign|MS-|X-ARR|X-MS)/.test(probe));
      assert.deepEqual(
        new Set(forged.map(({ found }) => found)),
        new Set(["it reached the gateway, and was refused"]),
      );
    } finally {
      await bare.stop();
    }
  });

  test("where Windows signs users in, what needs a ticket is said not to be seen", async () => {
    const anonymousPaths = ["/healthz", "/.well-known/jwks.json", "/auth/backchannel-logout"];
    await withSite({ windowsAuthentication: true, anonymousPaths }, async (other) => {
      const { code, wrong, unseen } = await doctor(other.url, { withToken: false });
      assert.deepEqual(
        [code, wrong, unseen],
        [0, [], ["forged X-Forwarded-For", "server-sent events", "WebSocket"]],
      );
    });
  });
});

describe("a stand-in that is set up wrongly is found:", { concurrency: 3 }, () => {
  const cases: readonly (readonly [string, Partial<IisStandInOptions>, readonly string[], RegExp])[] = [
    [
      "another secret in the rule",
      { backend: { ...RIGHT.backend, proof: "another-secret-another-secret-another" } },
      ["the gateway answers"],
      /does not take what stands in front for IIS/,
    ],
    [
      "no anonymous path",
      { windowsAuthentication: true },
      ["the gateway answers"],
      /Windows authentication on a path/,
    ],
    [
      "the identity module missing",
      { identityModule: undefined },
      ["forged Countersign-Identity"],
      /The module .* does not run/,
    ],
    [
      "answers held back",
      { backend: { ...RIGHT.backend, minResponseBuffer: 262_144 } },
      ["server-sent events"],
      /holds answers back/,
    ],
    [
      "another header for addresses",
      { backend: { ...RIGHT.backend, forwardedForHeader: "X-Client" } },
      ["forged X-Forwarded-For"],
      /chooses the address/,
    ],
  ].map(([name, options, wrong, why]) => [name, options, wrong, why] as never);
  for (const [name, options, expected, why] of cases) {
    test(name, async () => {
      await withSite(options, async (other) => {
        const timesEvents = expected.includes("server-sent events");
        const { code, wrong, probes } = await doctor(other.url, { timesEvents });
        assert.deepEqual([code, wrong], [1, expected]);
        assert.match(probes.get(expected[0] ?? "")?.why ?? "", why);
      });
    });
  }
});

test("a gateway that believes App Service's header outside App Service is found", async () => {
  const open = await startTestStack({
    gateway: false,
    policy: POLICY,
    configure: (yaml) =>
      yaml.replace(
        /^issuers:$/m,
        "issuers:\n  azure: { easy-auth: aad, entra-tenant: 9f2c0000-0000-0000-0000-000000000000 }",
      ),
  });
  const env = { WEBSITE_AUTH_ENABLED: "True" };
  const believing = await startGateway({ configFile: open.configFile, publicUrl: open.gatewayUrl, env });
  try {
    const { code, out } = await runCommand(["iis", "doctor", "--through", open.gatewayUrl, "--json"], {});
    const { probes } = JSON.parse(out) as { readonly probes: readonly Probed[] };
    const wrong = probes.filter(({ outcome }) => outcome === "wrong");
    assert.deepEqual([code, wrong.map(({ probe }) => probe)], [1, ["forged X-MS-CLIENT-PRINCIPAL"]]);
  } finally {
    await believing.stop();
    await open.stop();
  }
});

/** What an edge does otherwise than it should. */
interface Breakage {
  /** Before the request is sent on. */
  readonly inbound?: (
    headers: Record<string, string | string[] | undefined>,
    request: IncomingMessage,
  ) => void;
  readonly path?: (request: IncomingMessage) => string;
  /** Answers by itself; undefined lets the request through. */
  readonly answers?: (request: IncomingMessage, response: ServerResponse) => boolean;
  readonly outbound?: (
    headers: Record<string, string | string[] | undefined>,
    request: IncomingMessage,
  ) => void;
  readonly upgrade?: (request: IncomingMessage, socket: Socket) => boolean;
}

/** An edge before a site, with one thing wrong. */
async function withEdge(
  port: number,
  breakage: Breakage,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const server: Server = createServer((incoming, response) => {
    if (breakage.answers?.(incoming, response)) return;
    const headers = { ...incoming.headers };
    breakage.inbound?.(headers, incoming);
    const path = breakage.path?.(incoming) ?? incoming.url;
    const sending = request({
      port,
      host: "127.0.0.1",
      method: incoming.method,
      path,
      headers,
      agent: false,
    });
    sending.once("response", (answer) => {
      const out = { ...answer.headers };
      breakage.outbound?.(out, incoming);
      response.writeHead(answer.statusCode ?? 502, out);
      response.flushHeaders();
      answer.pipe(response);
    });
    sending.on("error", () => response.destroy());
    response.once("close", () => sending.destroy());
    incoming.pipe(sending);
  });
  server.on("upgrade", (incoming, socket: Socket) => {
    if (breakage.upgrade?.(incoming, socket)) return;
    const behind = connect(port, "127.0.0.1");
    behind.write(`GET ${incoming.url} HTTP/1.1\r\n${linesOf(incoming.rawHeaders)}\r\n`);
    socket
      .on("error", () => behind.destroy())
      .pipe(behind)
      .on("error", () => socket.destroy())
      .pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function linesOf(raw: readonly string[]): string {
  return raw.map((each, index) => (index % 2 === 0 ? `${each}: ` : `${each}\r\n`)).join("");
}

describe("an edge with one thing wrong is found:", { concurrency: 3 }, () => {
  const believes = (header: string): Breakage => ({
    inbound: (headers) => {
      if (headers[header] !== undefined) headers.authorization = `Bearer ${stack.token("bob")}`;
    },
  });
  const page =
    (status: number) =>
    (_: IncomingMessage, response: ServerResponse): true => {
      response.writeHead(status, { "content-type": "text/html" }).end("<h1>IIS</h1>");
      return true;
    };
  const cases: readonly (readonly [string, Breakage, readonly string[]])[] = [
    [
      "it is the gateway's word that a visitor forges",
      believes("countersign-identity"),
      ["forged Countersign-Identity"],
    ],
    ["a proof", believes("countersign-proof"), ["forged Countersign-Proof"]],
    ["a pairing token", believes("ms-aspnetcore-token"), ["forged MS-ASPNETCORE-TOKEN"]],
    ["a certificate", believes("x-arr-clientcert"), ["forged X-ARR-ClientCert"]],
    ["a principal of App Service", believes("x-ms-client-principal"), ["forged X-MS-CLIENT-PRINCIPAL"]],
    [
      "a path in a header",
      { path: ({ url, headers }) => String(headers["x-original-url"] ?? url) },
      ["forged X-Original-URL"],
    ],
    [
      "another path in a header",
      { path: ({ url, headers }) => String(headers["x-rewrite-url"] ?? url) },
      ["forged X-Rewrite-URL"],
    ],
    [
      "a visitor's own request id",
      {
        outbound: (headers, { headers: sent }) =>
          Object.assign(headers, sent["x-request-id"] && { "x-request-id": sent["x-request-id"] }),
      },
      ["request ids"],
    ],
    [
      "request ids of visitors taken away",
      { inbound: (headers) => delete headers["x-request-id"] },
      ["forged X-Forwarded-For"],
    ],
    [
      "an answer that is remembered",
      {
        outbound: (headers) =>
          Object.assign(headers, { "x-request-id": "01a219e3-a04d-7375-92a5-3e5df011bc46" }),
      },
      ["request ids"],
    ],
    [
      "pages in the place of errors",
      {
        answers: (incoming, response) =>
          incoming.url === "/healthz/no-such-path" &&
          incoming.headers["x-request-id"] === undefined &&
          page(404)(incoming, response),
      },
      ["errors come through"],
    ],
    [
      "a short bound on queries",
      {
        answers: (incoming, response) => (incoming.url?.length ?? 0) > 1_000 && page(404)(incoming, response),
      },
      ["long queries"],
    ],
    [
      "compressed events",
      {
        outbound: (headers) =>
          headers["content-type"]?.includes("event-stream") &&
          Object.assign(headers, { "content-encoding": "gzip" }),
      },
      ["server-sent events"],
    ],
    [
      "streams without an id",
      {
        outbound: (headers) =>
          headers["content-type"]?.includes("event-stream") && delete headers["x-request-id"],
      },
      ["server-sent events"],
    ],
    [
      "WebSockets that open and die",
      {
        upgrade: (incoming, socket) =>
          open101(incoming, socket, "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
      },
      ["WebSocket"],
    ],
    [
      "WebSockets that say nothing",
      { upgrade: (incoming, socket) => open101(incoming, socket, "") },
      ["WebSocket"],
    ],
    [
      "no WebSockets",
      {
        upgrade: (_, socket) => {
          socket.end("HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
          return true;
        },
      },
      ["WebSocket"],
    ],
    ["nobody who answers", { answers: page(502) }, ["the gateway answers"]],
  ];
  for (const [name, breakage, expected] of cases) {
    test(name, async () => {
      await withEdge(site.port, breakage, async (url) => {
        const timesEvents = expected.includes("server-sent events");
        const { code, wrong, probes } = await doctor(url, { timesEvents });
        assert.deepEqual([code, wrong], [1, expected], JSON.stringify([...probes.values()], null, 1));
        const [probed] = expected.map((probe) => probes.get(probe));
        assert(probed?.why && probed.fix);
      });
    });
  }

  test("and the edge itself, with nothing wrong, is not", async () => {
    await withEdge(site.port, {}, async (url) => {
      const { code, wrong } = await doctor(url);
      assert.deepEqual([code, wrong], [0, []]);
    });
  });
});

/** Agrees to whatever, and ends. */
function open101({ headers }: IncomingMessage, socket: Socket, more: string): true {
  const { createHash } = process.getBuiltinModule("node:crypto");
  const accept = createHash("sha1")
    .update(`${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  socket.end(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: nats\r\n${more}\r\n`,
  );
  return true;
}

test("a token is never sent in the clear to another machine, nor taken from an argument", async () => {
  const env = { COUNTERSIGN_TOKEN: stack.token("alice") };
  const [far, argument, nobody, both] = await Promise.all([
    runCommand(["iis", "doctor", "--through", "http://bus.example.com"], { env }),
    runCommand(["iis", "doctor", "--through", "http://127.0.0.1:1", "--token", "abc"], {}),
    runCommand(["iis", "doctor", "--through", `http://127.0.0.1:${await findFreePort()}`], {}),
    runCommand(["iis", "doctor", "--through", "http://127.0.0.1:1", "web.config"], {}),
  ]);
  for (const ran of [far, argument, nobody, both]) assert.deepEqual([ran.code, ran.out], [2, ""]);
  assert.match(far.err, /a token is not sent over http to another machine/);
  assert.match(argument.err, /expected -/);
  assert.match(nobody.err, /Cannot probe http:\/\/127\.0\.0\.1:\d+: connect ECONNREFUSED/);
});

test("without a token what needs one is said not to be seen, aloud", async () => {
  const { code, out } = await runCommand(["iis", "doctor", "--through", site.url], {});
  assert.equal(code, 0, out);
  assert.match(
    out,
    /^NOT SEEN {2}server-sent events: needs a token \(COUNTERSIGN_TOKEN, or --token -\) and --subject/m,
  );
  assert.match(
    out,
    /^NOT SEEN {2}forged X-Forwarded-For: in the record of this request `remote` must be .* give --audit/m,
  );
  assert.match(out, /^nothing wrong; 2 NOT SEEN, as said above\n$/m);
});
