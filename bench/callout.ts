/**
 * Connections a second that the auth callout lets in, each with a token that was never seen before, beside plain JWT
 * connections to the same nats-server: eight at a time. Once by a stock client (nats.js, connect and close), once by as
 * little of one as gets a PONG, which leaves all of the machine to nats-server and the gateway; with sealed questions,
 * as `init` lays it out, and with open ones.
 */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startStack } from "@countersign/devstack/stack.ts";
import { connect } from "@nats-io/transport-node";
import { loadNatsKeys } from "countersign/credentials/nats-keys.ts";
import { createNkey } from "countersign/credentials/nkey.ts";
import { mintCredential } from "countersign/credentials/user.ts";
import { AS_INIT_LAYS_IT_OUT, changeSetUp } from "../test/support-callout.ts";

const AT_ONCE = 8;
/** More than can be used up. */
const TOKENS_PER_SECOND = 2_000;
const WARM_UP_SECONDS = 1;
const ALGORITHMS = ["ES256", "RS256"] as const;

const POLICY = `version: 1
roles:
  clerk:
    given-to: [ { issuer: es256, groups: Clerks }, { issuer: rs256, groups: Clerks } ]
    may: [ connect direct, 'publish orders.{user}.>', 'subscribe orders.{user}.>', request inventory.check ]
`;

export async function run({ seconds }: { readonly seconds: number }): Promise<Record<string, number>> {
  return { ...(await measure("open", seconds)), ...(await measure("sealed", seconds)) };
}

async function measure(questions: "open" | "sealed", seconds: number): Promise<Record<string, number>> {
  const stateDir = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  const policyFile = join(stateDir, "policy.yaml");
  await writeFile(policyFile, POLICY);
  const issuers = await Promise.all(ALGORITHMS.map(startIssuer));
  const configure = (yaml: string): string =>
    yaml
      .replace(/^ {2}keys: .*$/m, "$&\n  direct: { servers: [ 'nats://127.0.0.1:4222' ] }")
      .replace(
        /^issuers:$/m,
        ["$&", ...issuers.map(({ name, url }) => `  ${name}: ${issuerOf(url)}`)].join("\n"),
      );
  const configureNats = async (config: string): Promise<string> =>
    (await changeSetUp({ ...AS_INIT_LAYS_IT_OUT, xkey: questions === "sealed" }, config, stateDir)).config;
  const stack = await startStack({ stateDir, policyFile, configure, configureNats });
  try {
    const plain = await plainOptions(stateDir);
    const figures: Record<string, number> = {};
    for (const [client, connectOnce] of [
      ["nats.js", connectStock],
      ["by hand", connectByHand],
    ] as const) {
      const rate = (show: Show, within: number) => connects(within, () => connectOnce(stack.nats.port, show));
      await rate(plain, WARM_UP_SECONDS);
      for (const { name, token } of issuers) {
        const tokens = Array.from({ length: TOKENS_PER_SECOND * (seconds + WARM_UP_SECONDS) }, token);
        const withToken = () => ({ auth_token: tokens.pop() ?? "" });
        await rate(withToken, WARM_UP_SECONDS);
        // Before and after, since a machine is not the same all the time.
        const before = await rate(plain, seconds / 2);
        const judged = await rate(withToken, seconds);
        const after = await rate(plain, seconds / 2);
        const alone = (before + after) / 2;
        const of = `${questions}, ${name}, ${client}`;
        figures[`callouts a second, ${of}`] = judged;
        figures[`plain JWT connects a second, ${of}`] = alone;
        figures[`callouts of plain, ${of}`] = judged / alone;
      }
    }
    return figures;
  } finally {
    await stack.stop();
    for (const { stop } of issuers) stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

function issuerOf(url: string): string {
  return `{ url: '${url}', audience: countersign, attributes: { groups: groups } }`;
}

/** What CONNECT shows, for a nonce. */
type Show = (nonce: string) => Readonly<Record<string, string>>;

/** A credential as the gateway mints one, with the permissions that the callout gives, used again and again. */
async function plainOptions(stateDir: string): Promise<Show> {
  const keys = await loadNatsKeys(join(stateDir, "nats"));
  const userKey = createNkey("user");
  const now = Date.now() / 1000;
  const limits = { credentialSeconds: 600, payloadBytes: 1_000_000, connections: 5 };
  const minted = mintCredential({
    identity: {
      ...{ user: "es256-ann", issuer: "es256", id: "ann", kind: "user", attributes: {} },
      ...{ proof: { kind: "bearer", hash: "h" }, provedAt: now, expiresAt: now + 600 },
    },
    grant: { user: "es256-ann", policy: "p", hash: "h", roles: [], may: [], never: [], limits },
    permissions: {
      pub: { allow: ["orders.es256-ann.>", "inventory.check"] },
      sub: { allow: ["orders.es256-ann.>", "_INBOX.X.>"], deny: ["orders.es256-ann.> >"] },
    },
    userPublicKey: userKey.publicKey,
    signer: { signingKey: keys.signingKey, accountPublicKey: keys.account },
    ...{ now, inboxPrefix: "_INBOX.X", controlLineBytesMax: 100_000, dangerouslyWithoutTrustedProxy: true },
  });
  if (!minted.ok) throw new Error(JSON.stringify(minted.refusal));
  const { jwt } = minted.value;
  return (nonce) => ({ jwt, sig: userKey.sign(nonce).toString("base64url") });
}

/** @returns how many a second */
async function connects(seconds: number, connectOnce: () => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  const endsAt = startedAt + seconds * 1_000;
  let done = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (performance.now() < endsAt) {
        await connectOnce();
        done += 1;
      }
    }),
  );
  return (done * 1_000) / (performance.now() - startedAt);
}

async function connectStock(port: number, show: Show): Promise<void> {
  const authenticator = (nonce = "") => show(nonce) as { readonly auth_token: string };
  const connection = await connect({ servers: `127.0.0.1:${port}`, authenticator, reconnect: false });
  await connection.close();
}

function connectByHand(port: number, show: Show): Promise<void> {
  const socket = createConnection({ port, host: "127.0.0.1", noDelay: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let text = "";
  let shown = false;
  socket.setEncoding("latin1").on("error", reject);
  socket.on("data", (chunk: string) => {
    text += chunk;
    const info = shown ? undefined : /^INFO (.*)\r\n/.exec(text)?.[1];
    if (info !== undefined) {
      const { nonce } = JSON.parse(info) as { readonly nonce: string };
      const options = { verbose: false, pedantic: false, protocol: 1, lang: "bench", ...show(nonce) };
      socket.write(`CONNECT ${JSON.stringify(options)}\r\nPING\r\n`);
      shown = true;
    }
    if (text.includes("PONG\r\n")) resolve();
    else if (text.includes("-ERR")) reject(new Error(text.slice(-200)));
  });
  return promise.finally(() => socket.destroy());
}

interface BenchIssuer {
  readonly name: string;
  readonly url: string;
  /** Each another one. */
  readonly token: () => string;
  readonly stop: () => void;
}

/** As little of an identity provider as tells its keys. */
async function startIssuer(alg: (typeof ALGORITHMS)[number]): Promise<BenchIssuer> {
  const { publicKey, privateKey } =
    alg === "RS256"
      ? generateKeyPairSync("rsa", { modulusLength: 2_048 })
      : generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: "k", alg, use: "sig" };
  const server = createServer((request, response) => {
    const metadata = { issuer: url, jwks_uri: `${url}/keys`, authorization_endpoint: `${url}/authorize` };
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(request.url === "/keys" ? { keys: [jwk] } : metadata));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://localhost:${(server.address() as AddressInfo).port}`;
  let count = 0;
  return {
    name: alg.toLowerCase(),
    url,
    stop: () => server.close(),
    token() {
      const now = Math.floor(Date.now() / 1_000);
      count += 1;
      return jws(alg, privateKey, {
        ...{ iss: url, aud: "countersign", sub: "ann", groups: ["Clerks"], iat: now, exp: now + 600 },
        ...{ client_id: "bench", jti: String(count) },
      });
    },
  };
}

function jws(alg: (typeof ALGORITHMS)[number], key: KeyObject, claims: object): string {
  const body = [{ alg, kid: "k", typ: "at+jwt" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  const signature = sign(
    "sha256",
    Buffer.from(body),
    alg === "RS256" ? key : { key, dsaEncoding: "ieee-p1363" },
  );
  return `${body}.${signature.toString("base64url")}`;
}
