import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Browser, createBrowser, signIn } from "@countersign/devstack/browser.ts";
import type { DemoUserId } from "@countersign/devstack/demo-users.ts";
import {
  type GatewayProcess,
  type StartGatewayOptions,
  startGateway as startGatewayProcess,
} from "@countersign/devstack/gateway-process.ts";
import { type NatsServer, startNatsServer } from "@countersign/devstack/nats-server.ts";
import { type IdentityProvider, startIdentityProvider } from "@countersign/devstack/oidc.ts";
import { findFreePort } from "@countersign/devstack/ports.ts";
import type { Stack } from "@countersign/devstack/stack.ts";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { loadConfig } from "countersign/config/load.ts";
import { startGateway } from "countersign/gateway.ts";
import { createLog } from "countersign/log.ts";
import { type EventReader, type JsonObject, type StreamedEvent, send } from "./support.ts";

/** What is waited for takes a fraction of this, also on a loaded machine. */
const WAIT_MS = 30_000;
const LOOK_MS = 50;

/** The command as operators run it. */
export const COUNTERSIGN: string = fileURLToPath(new URL("../gateway/src/main.ts", import.meta.url));

/** Asks again and again for what announces itself to nobody: a readiness, a page, an output. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const giveUpAt = performance.now() + WAIT_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    assert(performance.now() < giveUpAt, `waited in vain for ${what}`);
    await delay(LOOK_MS);
  }
}

/** The last event of a stream that is to end. */
export async function endOf(stream: EventReader): Promise<StreamedEvent | undefined> {
  const giveUp = new AbortController();
  const late = delay(WAIT_MS, undefined, { signal: giveUp.signal }).then(
    () => assert.fail(`the stream does not end: ${JSON.stringify(stream.events)}`),
    () => undefined,
  );
  try {
    return await Promise.race([stream.ended, late]);
  } finally {
    giveUp.abort();
  }
}

/** A browser's session, as its requests carry it. */
export interface SignedIn {
  readonly browser: Browser;
  /** `name=value` */
  readonly cookie: string;
  /** As a script of our own page sends it. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Signs in through the provider's page, in the given browser or a new one. */
export async function signInAs(
  user: DemoUserId,
  gatewayUrl: string,
  browser: Browser = createBrowser(),
): Promise<SignedIn> {
  const page = await signIn(browser, { gatewayUrl, user, returnTo: "/demo" });
  assert.deepEqual([page.url, page.status], [`${gatewayUrl}/demo`, 200]);
  const cookie = browser.cookiesFor(gatewayUrl);
  assert.match(cookie, /^__Host-Http-countersign=[A-Za-z0-9_-]{43}$/);
  return { browser, cookie, headers: { cookie, "sec-fetch-site": "same-origin" } };
}

/** A sign-in that somebody began, led up to its callback, and did not finish. */
export interface HalfSignIn {
  /** Path and query of the callback, whose code is not used yet. */
  readonly callback: string;
  /** `name=value` */
  readonly loginCookie: string;
}

export async function beginSignIn(user: DemoUserId, gatewayUrl: string): Promise<HalfSignIn> {
  const begun = await send(`${gatewayUrl}/auth/login?return-to=/demo`, {});
  assert.equal(begun.status, 302);
  const [setCookie = ""] = begun.headers["set-cookie"] ?? [];
  const browser = createBrowser();
  const page = await browser.open(begun.headers.location ?? "");
  // This browser does not have the login cookie, so that the gateway refuses the callback and keeps the code unused.
  const landed = await browser.submit(page.url, { user });
  assert.equal(landed.status, 400);
  assert.match(landed.url, /\/auth\/callback\?/);
  return { callback: landed.url.slice(gatewayUrl.length), loginCookie: setCookie.split(";")[0] ?? "" };
}

/** A line more for the configuration: the administration listener. */
export function withAdmin(port: number): (yaml: string) => string {
  return (yaml) => `${yaml}admin: { address: '127.0.0.1:${port}' }\n`;
}

export interface Check {
  readonly check: string;
  readonly ok: boolean;
  readonly found: string;
  readonly remedy?: string;
}

/** What `GET /readyz` says; undefined while nobody listens there. */
export async function readinessAt(
  port: number,
): Promise<{ readonly status: number; readonly checks: readonly Check[] } | undefined> {
  const answer = await send(`http://127.0.0.1:${port}/readyz`, {}).catch(() => undefined);
  return answer && { status: answer.status, checks: answer.json().checks as readonly Check[] };
}

export async function ready(port: number): Promise<void> {
  await eventually(`readyz of port ${port}`, async () =>
    (await readinessAt(port))?.status === 200 ? true : undefined,
  );
}

/** A gateway in this process, so that its clock can be moved. */
export interface LocalGateway {
  readonly url: string;
  readonly close: () => Promise<void>;
}

/** Starts a gateway of this configuration in this process. */
export async function startLocalGateway(configFile: string): Promise<LocalGateway> {
  const clock = (): number => Date.now() / 1000;
  const gateway = await startGateway(await loadConfig(configFile), createLog("fatal"), clock);
  return { url: `http://${gateway.address}`, close: () => gateway.close() };
}

/**
 * Moves the clock of this process, for the gateways and the provider in it, so that hours pass without waiting.
 * Timers go on as ever, and so does nats-server.
 *
 * @param adminPorts  of the gateways in this process
 * @returns when they know again what was signed out: it was too old all at once
 */
export async function forward(seconds: number, adminPorts: readonly number[]): Promise<void> {
  const former = Date.now;
  Date.now = () => former() + seconds * 1000;
  for (const port of adminPorts) {
    await eventually(`sessions at ${port}`, async () => {
      const sessions = (await readinessAt(port))?.checks.find(({ check }) => check === "sessions");
      return sessions?.ok ? true : undefined;
    });
  }
}

/**
 * The configuration of another instance beside the stack's own: same public URL, same NATS, as behind a load
 * balancer, with a port, keys and a record of its own.
 */
export async function configureInstance(
  stack: Pick<Stack, "configFile"> & { readonly stateDir: string },
  instance: string,
): Promise<{ readonly configFile: string; readonly url: string; readonly auditFile: string }> {
  const port = await findFreePort();
  const auditFile = join(stack.stateDir, `audit-${instance}.jsonl`);
  const yaml = (await readFile(stack.configFile, "utf8"))
    .replace(/^listen: .*$/m, `listen: { address: '127.0.0.1:${port}' }`)
    .replace(/^state: .*$/m, `state: ${JSON.stringify(join(stack.stateDir, instance))}`)
    .replace(/^audit: .*$/m, `audit: [ { file: ${JSON.stringify(auditFile)} } ]\ninstance: ${instance}`);
  const configFile = join(stack.stateDir, `${instance}.yaml`);
  await writeFile(configFile, yaml);
  return { configFile, auditFile, url: `http://127.0.0.1:${port}` };
}

export async function startInstance(
  stack: Pick<Stack, "configFile"> & { readonly stateDir: string },
  instance: string,
  options: Pick<StartGatewayOptions, "program"> = {},
): Promise<GatewayProcess> {
  const { configFile, url } = await configureInstance(stack, instance);
  return await startGatewayProcess({ configFile, publicUrl: url, ...options });
}

/** Starts nats-server again on its port, with its streams, after the stack's own was stopped. */
export async function restartNats(
  stack: Pick<Stack, "nats"> & { readonly stateDir: string },
  change: (config: string) => string = (config) => config,
): Promise<NatsServer> {
  const folder = join(stack.stateDir, "nats-server");
  const config = change(await readFile(join(folder, "nats-server.conf"), "utf8"));
  return await startNatsServer({ config, folder, port: stack.nats.port });
}

/**
 * Starts the identity provider again on its port, after the stack's own was stopped: with its keys, and without its
 * memory, so that it knows no refresh token from before.
 */
export async function restartProvider(
  stack: Pick<Stack, "gatewayUrl" | "identityProvider"> & { readonly stateDir: string },
  accessTokenSeconds?: number,
): Promise<IdentityProvider> {
  return await startIdentityProvider({
    gatewayUrl: stack.gatewayUrl,
    folder: stack.stateDir,
    port: stack.identityProvider.port,
    ...(accessTokenSeconds !== undefined && { accessTokenSeconds }),
  });
}

/**
 * Builds what is released into a folder.
 *
 * @returns the command: one file, which starts in a third of the time that the source takes
 */
export async function buildInto(folder: string): Promise<string> {
  const tool = fileURLToPath(new URL("../tools/build.ts", import.meta.url));
  const { code, out, err } = await runCommand([folder], { program: tool });
  assert.equal(code, 0, out + err);
  return join(folder, "countersign", "countersign.js");
}

/** What came of a command. */
export interface Ran {
  /** null when a signal ended it. */
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface RunningCommand {
  readonly done: Promise<Ran>;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** What it has written so far. */
  readonly written: () => Pick<Ran, "out" | "err">;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly cwd?: string;
  /** Default: the source of this checkout. */
  readonly program?: string;
}

/** Runs `countersign …` as a process of its own; it ends with this one at the latest. */
export function startCommand(
  args: readonly string[],
  { env = {}, stdin = "", cwd, program = COUNTERSIGN }: CommandOptions = {},
): RunningCommand {
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...process.env, ...env },
    ...(cwd !== undefined && { cwd }),
  });
  const killWithUs = (): void => void child.kill("SIGKILL");
  process.once("exit", killWithUs);
  const written = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    written.out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    written.err += text;
  });
  child.stdin.on("error", () => {}).end(stdin);
  const done = new Promise<Ran>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, ...written }));
  }).finally(() => process.off("exit", killWithUs));
  return { done, kill: (signal) => void child.kill(signal), written: () => ({ ...written }) };
}

export async function runCommand(args: readonly string[], options?: CommandOptions): Promise<Ran> {
  return await startCommand(args, options).done;
}

/** A message as the stream ORDERS keeps it. */
export interface StoredMessage {
  readonly subject: string;
  /** Seconds. */
  readonly storedAt: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly payload: string;
  /** Of the seal's claims; undefined for what came past the gateway. */
  readonly txn: unknown;
}

/** Everything in the stream ORDERS. */
export async function storedOrders({ admin }: Pick<Stack, "admin">): Promise<readonly StoredMessage[]> {
  const { state } = await (await jetstreamManager(admin)).streams.info("ORDERS");
  if (state.messages === 0) return [];
  const consumer = await jetstream(admin).consumers.get("ORDERS");
  const stored: StoredMessage[] = [];
  for await (const message of await consumer.consume()) {
    const { subject, time, headers } = message;
    const all = (headers?.keys() ?? []).flatMap((name) =>
      (headers?.values(name) ?? []).map((value): readonly [string, string] => [name, value]),
    );
    const claims = Buffer.from(headers?.get("Seal-Claims") || "e30", "base64url").toString();
    const { txn } = JSON.parse(claims) as JsonObject;
    stored.push({ subject, storedAt: time.getTime() / 1000, headers: all, payload: message.string(), txn });
    if (stored.length >= state.messages) break;
  }
  return stored;
}
