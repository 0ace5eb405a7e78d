import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findFreePort } from "@countersign/devstack/ports.ts";
import {
  type ConnectionOptions,
  connect,
  jwtAuthenticator,
  type NatsConnection,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/transport-node";
import type { Crossing } from "countersign/credentials/crossings.ts";
import { KEY_FILES, type KeysManifest, OFFLINE_FILES } from "countersign/credentials/keys-folder.ts";
import { type AccountClaims, encodeNatsJwt } from "countersign/credentials/nats-jwt.ts";
import { nkeyFromSeed } from "countersign/credentials/nkey.ts";
import { type JsonObject, startTestStack, type TestStack } from "./support.ts";

/** What clients that connect by themselves are measured by. */
export const DIRECT_POLICY = `version: 1
roles:
  clerk:
    given-to: [ { issuer: demo, groups: Orders.Clerks } ]
    may:
      - publish orders.{region}.>
      - subscribe orders.{region}.>
      - request inventory.check
      - connect direct
      - connect mqtt
  slow:
    given-to: [ { issuer: demo, groups: Orders.Clerks, region: us } ]
    may: [ publish slow.x ]
    limits: { rate: 5/s }
  auditor:
    given-to: [ { issuer: demo, groups: Audit } ]
    may: [ subscribe orders.>, read-audit ]
`;

export const INVENTORY: readonly Crossing[] = [{ type: "service", subject: "inventory.check" }];

/** A stack with listeners for WebSocket and MQTT, and a gateway that answers the auth callout. */
export interface CalloutStack extends TestStack {
  readonly websocketUrl: string;
  readonly mqttUrl: string;
  readonly leafPort: number;
  /** A JWT to come with, where the server has none by default. */
  readonly sentinelJwt: string | undefined;
  /** Where replies to the holder of this token arrive. */
  readonly inboxPrefixOf: (token: string) => Promise<string>;
  /** Connects with nats.js over TCP. */
  readonly direct: (how: DirectHow) => Promise<NatsConnection>;
  /** The latest record of a connection that the callout judged, once there are so many. */
  readonly callouts: (count: number) => Promise<readonly JsonObject[]>;
}

export interface DirectHow extends ConnectionOptions {
  readonly token?: string;
  /** Where the token stands. Default `auth_token`. */
  readonly as?: "auth_token" | "password";
}

/** What differs between the ways in which a nats-server asks an auth callout. */
export interface SetUp {
  readonly name: string;
  readonly defaultSentinel: boolean;
  readonly xkey: boolean;
  /** Answers are signed by a signing key of the account; else by the account's own. */
  readonly delegated: boolean;
  /** Accounts stand in the server's configuration; no sentinel is needed then. */
  readonly config?: true;
}

export const OPERATOR_SET_UPS: readonly SetUp[] = [
  { name: "operator", defaultSentinel: false, xkey: false, delegated: false },
  { name: "operator with xkey", defaultSentinel: false, xkey: true, delegated: false },
  { name: "operator with default_sentinel", defaultSentinel: true, xkey: false, delegated: false },
  { name: "operator with a delegated signing key", defaultSentinel: false, xkey: false, delegated: true },
  { name: "operator as init lays it out", defaultSentinel: true, xkey: true, delegated: true },
];
export const AS_INIT_LAYS_IT_OUT: SetUp = OPERATOR_SET_UPS.at(-1) as SetUp;
/** Accounts in the server's configuration, where everybody comes through the callout. */
export const CONFIG_SET_UPS: readonly SetUp[] = [
  { name: "config", defaultSentinel: true, xkey: false, delegated: false, config: true },
  { name: "config with xkey", defaultSentinel: true, xkey: true, delegated: false, config: true },
];

export interface CalloutStackOptions {
  readonly setUp?: SetUp;
  readonly policy?: string;
  readonly crossings?: readonly Crossing[];
  /** Of `nats: direct` besides its servers, YAML. */
  readonly direct?: string;
}

export async function startCalloutStack({
  setUp = AS_INIT_LAYS_IT_OUT,
  policy = DIRECT_POLICY,
  crossings = INVENTORY,
  direct = "",
}: CalloutStackOptions = {}): Promise<CalloutStack> {
  const [websocket, mqtt, leaf] = [await findFreePort(), await findFreePort(), await findFreePort()];
  const section = `{ servers: [ 'ws://127.0.0.1:${websocket}' ]${direct === "" ? "" : `, ${direct}`} }`;
  let sentinelJwt: string | undefined;
  const stack = await startTestStack({
    natsKind: setUp.config ? "callout" : "operator",
    policy,
    crossings,
    configure: (yaml) => yaml.replace("nats:\n", `nats:\n  direct: ${section}\n`),
    async configureNats(config, stateDir) {
      const changed = await (setUp.config ? applyConfig : changeSetUp)(setUp, config, stateDir);
      sentinelJwt = changed.sentinelJwt;
      return `${changed.config}
websocket { host: 127.0.0.1, port: ${websocket}, no_tls: true }
mqtt { host: 127.0.0.1, port: ${mqtt} }
leafnodes { host: 127.0.0.1, port: ${leaf} }
`;
    },
  });
  const inboxPrefixOf = async (token: string): Promise<string> =>
    String((await stack.call("/v1/whoami", { token })).json().inboxPrefix);
  return {
    ...stack,
    websocketUrl: `ws://127.0.0.1:${websocket}`,
    mqttUrl: `mqtt://127.0.0.1:${mqtt}`,
    leafPort: leaf,
    sentinelJwt,
    inboxPrefixOf,
    direct: ({ token = "", as = "auth_token", ...options }) =>
      connect({
        servers: stack.nats.url,
        reconnect: false,
        authenticator: [
          ...(sentinelJwt === undefined ? [] : [jwtAuthenticator(sentinelJwt)]),
          ...(token === "" ? [] : [authenticatorFor(token, as)]),
        ],
        ...options,
      }),
    async callouts(count) {
      const lines = () => stack.audit().filter(({ lane }) => lane === "callout");
      for (let wait = 0; lines().length < count; wait++) {
        assert.ok(wait < 400, `expected ${count} callouts, found ${lines().length}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return lines().slice(-count);
    },
  };
}

function authenticatorFor(token: string, as: NonNullable<DirectHow["as"]>) {
  return as === "password" ? usernamePasswordAuthenticator("anybody", token) : tokenAuthenticator(token);
}

/** Changes what `init` laid out to another set-up, with the keys that `init` put into the safe. */
export async function changeSetUp(
  setUp: SetUp,
  config: string,
  stateDir: string,
): Promise<{ readonly config: string; readonly sentinelJwt: string | undefined }> {
  const keys = join(stateDir, "nats");
  const manifestPath = join(keys, KEY_FILES.manifest);
  const manifest = JSON.parse(await readFile(manifestPath, "utf8")) as KeysManifest;
  const web = manifest.trust?.accounts.find(({ name }) => name === "WEB");
  const { direct, trust } = manifest;
  assert.ok(web && direct && trust);
  const readOffline = (name: string) => readFile(join(stateDir, "offline", name), "utf8");
  const operator = nkeyFromSeed((await readOffline(OFFLINE_FILES.operatorSigning)).trim());
  const accountSeed = await readOffline(OFFLINE_FILES.webAccount);
  assert.ok(operator);
  const { type: _, version: __, ...claims } = claimsOf(web.jwt);
  const { xkey, ...authorization } = claims.authorization ?? { auth_users: [] };
  const { signing_keys, ...rest } = claims;
  const jwt = encodeNatsJwt<"account">({
    name: "WEB",
    subject: web.publicKey,
    signer: operator,
    issuedAt: Date.now() / 1000,
    claims: {
      type: "account",
      ...rest,
      ...(setUp.delegated && signing_keys && { signing_keys }),
      authorization: { ...authorization, ...(setUp.xkey && xkey !== undefined && { xkey }) },
    },
  });
  if (!setUp.delegated) await writeFile(join(keys, KEY_FILES.direct), accountSeed, { mode: 0o600 });
  await rm(manifestPath);
  const changed = {
    ...manifest,
    direct: {
      account: direct.account,
      signingKey: setUp.delegated ? direct.signingKey : direct.account,
      ...(setUp.xkey && { xkey: direct.xkey }),
    },
  };
  await writeFile(manifestPath, JSON.stringify(changed), { mode: 0o600 });
  const withJwt = config.replace(web.jwt, jwt);
  return setUp.defaultSentinel
    ? { config: withJwt, sentinelJwt: undefined }
    : { config: withJwt.replace(/^default_sentinel:.*$/m, ""), sentinelJwt: direct.sentinelJwt };
}

async function applyConfig(
  { xkey }: SetUp,
  config: string,
  stateDir: string,
): Promise<{ readonly config: string; readonly sentinelJwt: undefined }> {
  if (xkey) return { config, sentinelJwt: undefined };
  const manifestPath = join(stateDir, "nats", KEY_FILES.manifest);
  const manifest = JSON.parse(await readFile(manifestPath, "utf8")) as { direct: { xkey?: string } };
  delete manifest.direct.xkey;
  await rm(manifestPath);
  await writeFile(manifestPath, JSON.stringify(manifest), { mode: 0o600 });
  return { config: config.replace(/^ +xkey:.*$/m, ""), sentinelJwt: undefined };
}

function claimsOf(jwt: string): AccountClaims & { readonly version: number } {
  const body = Buffer.from(jwt.split(".")[1] ?? "", "base64url").toString();
  return (JSON.parse(body) as { readonly nats: AccountClaims & { readonly version: number } }).nats;
}

/** A WebSocket client in a process of its own, since nats.js has one transport a process. @returns what it printed */
export async function runWebSocketClient(options: Readonly<Record<string, unknown>>): Promise<JsonObject> {
  const script = fileURLToPath(new URL("callout-websocket.ts", import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await new Promise((resolve) => child.once("close", resolve));
  return JSON.parse(text) as JsonObject;
}
