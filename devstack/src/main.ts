// npm start: everything on this machine, until Ctrl-C.
import { isAbsolute, resolve } from "node:path";
import { parseArgs } from "node:util";
import { createVerifier } from "@countersign/seal";
import { DevstackError, reportAndExit } from "./devstack-error.ts";
import { greetingOf } from "./greeting.ts";
import { findNatsServer } from "./nats-server.ts";
import { findPortHolder, isPortFree } from "./ports.ts";
import { removeRunning, STATE_DIR, writeRunning } from "./running.ts";
import { type Stack, startStack, TRUST_DOMAIN } from "./stack.ts";
import { runSubscriber } from "./subscriber.ts";

const HELP = `npm start -- [options]: Countersign with all it needs, on 127.0.0.1

  --gateway-port <port>   default 8480
  --idp-port <port>       identity provider, default 8481
  --admin-port <port>     the gateway's administration listener, default 8482
  --nats-port <port>      default 4480
  --state <folder>        keys, streams, logs; default .state`;

interface Ports {
  readonly gateway: number;
  readonly identityProvider: number;
  readonly admin: number;
  readonly nats: number;
}

// The first signal ends everything in order; the second is somebody's patience running out.
const stopping = new AbortController();
const asked = new Promise<void>((fulfil) => {
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      if (stopping.signal.aborted) process.exit(1);
      stopping.abort();
      fulfil();
    });
  }
});

try {
  await main();
} catch (error) {
  reportAndExit(error);
}

async function main(): Promise<void> {
  const { ports, stateDir } = readOptions();
  const progress = (text: string): void => console.error(text);
  await checkPorts(ports);
  const natsExecutable = await Promise.race([findNatsServer({ progress }), asked.then(() => undefined)]);
  // Nothing runs yet; what is half fetched is fetched anew the next time.
  if (natsExecutable === undefined) process.exit(0);

  const stack = await startStack({
    stateDir,
    ports,
    natsExecutable,
    progress,
    apart: true,
    gateway: "source",
    auditStream: true,
  });
  try {
    await serve(stack, stateDir);
  } finally {
    progress("\nStopping …");
    await removeRunning(stateDir).finally(stack.stop);
  }
}

async function serve(stack: Stack, stateDir: string): Promise<void> {
  const { gatewayUrl, identityProvider, nats, admin, adminCredsFile } = stack;
  await writeRunning(stateDir, {
    gatewayUrl,
    issuer: identityProvider.issuer,
    natsUrl: nats.url,
    adminCredsFile,
    serviceSecret: identityProvider.serviceClient.secret,
  });
  const verify = createVerifier({ issuer: gatewayUrl, audience: TRUST_DOMAIN });
  const subscriber = runSubscriber({ connection: admin, verify, print: (line) => console.log(line) });
  if (!stopping.signal.aborted) {
    console.log(greetingOf(stack, { windows: process.platform === "win32", cwd: process.cwd() }));
  }
  const gone = await Promise.race([
    asked,
    nats.exited.then(() => ({ what: "nats-server", log: nats.log() })),
    stack.gateway().exited.then(() => ({ what: "the gateway", log: stack.gateway().log() })),
    subscriber.then(() => ({ what: "the subscriber", log: "" })),
  ]);
  if (gone && !stopping.signal.aborted) {
    throw new DevstackError(`${gone.what} has ended:\n${gone.log.trim().split("\n").slice(-20).join("\n")}`);
  }
}

function readOptions(): { readonly ports: Ports; readonly stateDir: string } {
  const { values } = parse();
  if (values.help) {
    console.log(HELP);
    process.exit(0);
  }
  const { state } = values;
  return {
    ports: {
      gateway: portOf("gateway-port", values["gateway-port"]),
      identityProvider: portOf("idp-port", values["idp-port"]),
      admin: portOf("admin-port", values["admin-port"]),
      nats: portOf("nats-port", values["nats-port"]),
    },
    stateDir: state === undefined || isAbsolute(state) ? (state ?? STATE_DIR) : resolve(state),
  };
}

function parse() {
  try {
    return parseArgs({
      options: {
        "gateway-port": { type: "string", default: "8480" },
        "idp-port": { type: "string", default: "8481" },
        "admin-port": { type: "string", default: "8482" },
        "nats-port": { type: "string", default: "4480" },
        state: { type: "string" },
        help: { type: "boolean" },
      },
    });
  } catch (cause) {
    throw new DevstackError(`${(cause as Error).message}\n\n${HELP}`, { cause });
  }
}

function portOf(option: string, text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new DevstackError(`--${option}: expected a port, 1–65535; found ${text}`);
}

/** A busy port is named with who holds it and the option that takes another. */
async function checkPorts({ gateway, identityProvider, admin, nats }: Ports): Promise<void> {
  const wanted = [
    { what: "The gateway's", port: gateway, option: "--gateway-port" },
    { what: "The identity provider's", port: identityProvider, option: "--idp-port" },
    { what: "The administration listener's", port: admin, option: "--admin-port" },
    { what: "NATS's", port: nats, option: "--nats-port" },
  ];
  const busy: string[] = [];
  for (const { what, port, option } of wanted) {
    if (await isPortFree(port)) continue;
    const holder = (await findPortHolder(port)) ?? "another program";
    busy.push(
      `${what} port ${port} is taken by ${holder}. Stop that, or: npm start -- ${option} ${port + 1000}`,
    );
  }
  if (busy.length > 0) throw new DevstackError(busy.join("\n"));
}
