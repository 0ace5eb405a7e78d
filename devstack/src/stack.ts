import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DiscardPolicy, jetstreamManager } from "@nats-io/jetstream";
import {
  type Authenticator,
  connect,
  credsAuthenticator,
  type NatsConnection,
  nkeyAuthenticator,
} from "@nats-io/transport-node";
import type { Crossing } from "countersign/credentials/crossings.ts";
import { initKeys } from "countersign/credentials/init.ts";
import { type GatewayProcess, type StartGatewayOptions, startGateway } from "./gateway-process.ts";
import { startInventory } from "./inventory.ts";
import { type NatsServer, startNatsServer } from "./nats-server.ts";
import { type IdentityProvider, startIdentityProvider } from "./oidc.ts";
import { findFreePort } from "./ports.ts";

/** The `aud` of all seals of the demo. */
export const TRUST_DOMAIN = "demo.example";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const POLICY_FILE = here("../policy.yaml");
const DEMO_PAGE = here("../../examples/browser/index.html");

export interface StackOptions {
  /** Where keys, streams, configuration and logs are kept; made when missing. A second start takes what is there. */
  readonly stateDir: string;
  /** Ports of 127.0.0.1. Default: free ones. */
  readonly ports?: {
    readonly gateway?: number;
    /** Absent: the gateway has no administration listener. */
    readonly admin?: number;
    readonly identityProvider?: number;
    readonly nats?: number;
  };
  /** `source`: the gateway of this checkout; a path: a built `countersign.js`; false: no gateway. */
  readonly gateway?: "source" | false | { readonly bundle: string };
  /** Default: `devstack/policy.yaml`. */
  readonly policyFile?: string;
  /** Writes the audit log to the stream AUDIT too, not only to a file. Default false. */
  readonly auditStream?: boolean;
  /** Below `stateDir`, where the configuration has the gateway's records go. Default `audit.jsonl`. */
  readonly auditFile?: string;
  /** Changes the text of the gateway's configuration before it is written. */
  readonly configure?: (yaml: string) => string;
  /** Where accounts stand: JWTs of an operator, or the server's configuration. Default `operator`. */
  readonly natsKind?: "operator" | "callout";
  /** What clients that connect to nats-server by themselves may reach. Default: nothing. */
  readonly crossings?: readonly Crossing[];
  /** Changes the text of nats-server's configuration, once the keys are there, and them with it. */
  readonly configureNats?: (config: string, stateDir: string) => Promise<string> | string;
  /** Life of an access token of the identity provider, seconds. Default 600. */
  readonly accessTokenSeconds?: number;
  /** Told what happens. Default: silence. */
  readonly progress?: (text: string) => void;
  /** In process groups of their own, so that Ctrl-C reaches only us and we end things in order. */
  readonly apart?: boolean;
  /** nats-server. Default: `findNatsServer()`. */
  readonly natsExecutable?: string;
}

/** Everything the demo consists of, running. */
export interface Stack {
  readonly gatewayUrl: string;
  /** Its administration listener, when it has one. */
  readonly adminUrl?: string;
  readonly nats: NatsServer;
  readonly identityProvider: IdentityProvider;
  /** The administrator's connection to the account CORE: trusted, passes no gateway. */
  readonly admin: NatsConnection;
  readonly adminCredsFile: string;
  readonly configFile: string;
  readonly policyFile: string;
  readonly auditFile: string;
  /** The gateway that runs now. @throws Error when the stack was started without */
  readonly gateway: () => GatewayProcess;
  /** Starts a gateway in place of the one that ran, or of none. */
  readonly restartGateway: () => Promise<GatewayProcess>;
  /** Ends everything, the gateway first. May be called again. */
  readonly stop: () => Promise<void>;
}

/**
 * Starts nats-server with the keys that `countersign init` makes, the identity provider, the stream ORDERS, a
 * service that answers `inventory.check`, and the gateway. What fails to start ends what had started.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const ends: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    // One that cannot be ended must not keep the others running.
    const failures: unknown[] = [];
    for (const end of ends.splice(0).reverse()) await end().catch((error) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  };
  try {
    return await start(options, ends, stop);
  } catch (error) {
    await stop().catch(() => {});
    throw error;
  }
}

async function start(
  options: StackOptions,
  ends: (() => Promise<unknown>)[],
  stop: () => Promise<void>,
): Promise<Stack> {
  const { stateDir, ports = {}, progress = () => {}, apart = false } = options;
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const gatewayPort = ports.gateway ?? (await findFreePort());
  const gatewayUrl = `http://127.0.0.1:${gatewayPort}`;

  progress("Starting nats-server …");
  const { nats, adminCredsFile } = await startNats(options);
  ends.push(nats.stop);
  const admin = await connectAdmin(nats.url, adminCredsFile);
  ends.push(() => admin.close());
  await ensureStreams(admin);
  startInventory(admin);

  progress("Starting the identity provider …");
  const identityProvider = await startIdentityProvider({
    gatewayUrl,
    folder: stateDir,
    ...(ports.identityProvider !== undefined && { port: ports.identityProvider }),
    ...(options.accessTokenSeconds !== undefined && { accessTokenSeconds: options.accessTokenSeconds }),
  });
  ends.push(identityProvider.stop);

  const auditFile = join(stateDir, options.auditFile ?? "audit.jsonl");
  const configFile = await writeConfig(options, {
    gatewayUrl,
    gatewayPort,
    nats,
    identityProvider,
    auditFile,
  });
  let gateway: GatewayProcess | undefined;
  ends.push(async () => await gateway?.stop());
  const restartGateway = async (): Promise<GatewayProcess> => {
    await gateway?.stop();
    gateway = await startGateway(gatewayOptions(options, { configFile, gatewayUrl, apart }));
    return gateway;
  };
  if (options.gateway !== false) {
    progress("Starting the gateway …");
    await restartGateway();
  }

  return {
    gatewayUrl,
    ...(ports.admin !== undefined && { adminUrl: `http://127.0.0.1:${ports.admin}` }),
    nats,
    identityProvider,
    admin,
    adminCredsFile,
    configFile,
    policyFile: options.policyFile ?? POLICY_FILE,
    auditFile,
    gateway: () => {
      if (gateway === undefined) throw new Error("the stack was started without a gateway");
      return gateway;
    },
    restartGateway,
    stop,
  };
}

async function startNats({
  stateDir,
  ports,
  natsExecutable,
  apart,
  natsKind = "operator",
  crossings,
  configureNats = (config) => config,
}: StackOptions): Promise<{ readonly nats: NatsServer; readonly adminCredsFile: string }> {
  const folder = join(stateDir, "nats-server");
  await mkdir(folder, { recursive: true });
  const { adminCredsPath, servers } = await initKeys({
    kind: natsKind,
    keysDirectory: join(stateDir, "nats"),
    offlineDirectory: join(stateDir, "offline"),
    servers: [
      {
        name: "devstack",
        host: "127.0.0.1",
        port: ports?.nats ?? 4480,
        storeDir: join(folder, "jetstream"),
        loopbackWithoutTls: true,
        configPath: join(folder, "init.conf"),
      },
    ],
    ...(crossings && { crossings }),
    now: Date.now() / 1000,
  });
  const nats = await startNatsServer({
    config: await configureNats(servers.map(({ config }) => config).join(""), stateDir),
    folder,
    ...(ports?.nats !== undefined && { port: ports.nats }),
    ...(natsExecutable !== undefined && { executable: natsExecutable }),
    ...(apart !== undefined && { apart }),
  });
  return { nats, adminCredsFile: adminCredsPath };
}

async function connectAdmin(url: string, credsFile: string): Promise<NatsConnection> {
  return await connect({
    servers: url,
    authenticator: authenticatorOf(await readFile(credsFile, "utf8")),
    name: "devstack",
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
  });
}

/** Of a user's seed alone, or with its JWT. */
function authenticatorOf(text: string): Authenticator {
  return text.startsWith("SU")
    ? nkeyAuthenticator(Buffer.from(text.trim()))
    : credsAuthenticator(Buffer.from(text));
}

/** What the demo's policy reads and writes. */
async function ensureStreams(admin: NatsConnection): Promise<void> {
  const manager = await jetstreamManager(admin);
  await manager.streams.add({ name: "ORDERS", subjects: ["orders.>"] });
  // A bucket as NATS lays one out: one value a key, read directly, so that a reader needs no right to the whole of it.
  await manager.streams.add({
    ...{ name: "KV_carts", subjects: ["$KV.carts.>"], max_msgs_per_subject: 10, discard: DiscardPolicy.New },
    ...{ allow_direct: true, allow_rollup_hdrs: true, deny_delete: true },
  });
}

function gatewayOptions(
  { stateDir, gateway }: StackOptions,
  { configFile, gatewayUrl, apart }: { configFile: string; gatewayUrl: string; apart: boolean },
): StartGatewayOptions {
  const common = { configFile, publicUrl: gatewayUrl, logFile: join(stateDir, "gateway.log"), apart };
  return typeof gateway === "object" ? { ...common, program: gateway.bundle } : common;
}

async function writeConfig(
  {
    stateDir,
    policyFile = POLICY_FILE,
    ports,
    auditStream = false,
    natsKind = "operator",
    configure = (yaml) => yaml,
  }: StackOptions,
  parts: {
    readonly gatewayUrl: string;
    readonly gatewayPort: number;
    readonly nats: NatsServer;
    readonly identityProvider: IdentityProvider;
    readonly auditFile: string;
  },
): Promise<string> {
  const secretFile = join(stateDir, "gateway-client.secret");
  await writeFile(secretFile, parts.identityProvider.gatewayClient.secret, { mode: 0o600 });
  const configFile = join(stateDir, "countersign.yaml");
  const text = configText(parts, {
    secretFile,
    stateDir,
    policyFile,
    auditStream,
    natsKind,
    adminPort: ports?.admin,
  });
  await writeFile(configFile, configure(text));
  return configFile;
}

function configText(
  {
    gatewayUrl,
    gatewayPort,
    nats,
    identityProvider,
    auditFile,
  }: {
    readonly gatewayUrl: string;
    readonly gatewayPort: number;
    readonly nats: NatsServer;
    readonly identityProvider: IdentityProvider;
    readonly auditFile: string;
  },
  more: {
    readonly secretFile: string;
    readonly stateDir: string;
    readonly policyFile: string;
    readonly auditStream: boolean;
    readonly natsKind: string;
    readonly adminPort: number | undefined;
  },
): string {
  // JSON strings are YAML strings, whatever a path contains.
  const quote = JSON.stringify;
  return `# Written anew by the devstack at every start.
public-url: ${gatewayUrl}
listen: { address: '127.0.0.1:${gatewayPort}' }
trust-domain: ${TRUST_DOMAIN}
issuers:
  demo:
    url: ${identityProvider.issuer}
    audience: countersign
    attributes: { groups: groups, region: region }
    client: { id: ${identityProvider.gatewayClient.id}, secret: { file: ${quote(more.secretFile)} } }
nats:
  servers: [ '${nats.url}' ]
  mode: ${more.natsKind}
  keys: ${quote(join(more.stateDir, "nats"))}
policy: ${quote(more.policyFile)}
audit: [ { file: ${quote(auditFile)} }${more.auditStream ? ", { stream: AUDIT }" : ""} ]
state: ${quote(join(more.stateDir, "gateway"))}
demo: ${quote(DEMO_PAGE)}
${more.adminPort === undefined ? "" : `admin: { address: '127.0.0.1:${more.adminPort}' }\n`}`;
}
