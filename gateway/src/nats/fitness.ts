import type { NatsConnection } from "@nats-io/transport-node";
import type { GatewayUser } from "../credentials/nats-keys.ts";
import type { Nkey } from "../credentials/nkey.ts";
import { GatewayError, messageOf } from "../errors.ts";
import type { Clock } from "../time.ts";
import type { Control } from "./control.ts";
import { AUDIT_STREAM } from "./control-streams.ts";
import { type Dial, SERVER_VERSION_MIN, unfitVersion } from "./dial.ts";
import { answerAs } from "./gateway-user.ts";

/** What one check of the NATS cluster found. Anything not ok means that the gateway is not ready. */
export interface Finding {
  readonly check: "server-version" | "trusted-proxy" | "jetstream" | "control-line" | "clock";
  readonly ok: boolean;
  /** In words: `n1 2.15.1, n2 2.10.27`. */
  readonly found: string;
  /** What to do about it; empty when ok. */
  readonly remedy: string;
}

export interface FitnessParts {
  readonly dial: Dial;
  readonly control: Control;
  /** The gateway's user in CONTROL: its JWT says `proxy_required`. */
  readonly user: GatewayUser;
  /** Absent on a hosted cluster; then trust in the proxy is not checked. */
  readonly proxyKey?: Nkey;
  /** Absent: only the version of the servers we are connected to is known. */
  readonly system?: GatewayUser;
  /** What credentials are minted for; must be no more than the servers' `max_control_line`. */
  readonly controlLineBytesMax: number;
  readonly clock: Clock;
}

/** Seals are accepted 5 s before their `iat` (`nbf` and `exp` of credentials have whole seconds). */
const CLOCK_DIFFERENCE_SECONDS_MAX = 2;
/** What `CONNECT {…}` has besides the name in the probe, at most: the JWT is counted apart. */
const CONNECT_REST_BYTES = 600;
const PING_WAIT_MS = 1_000;

/** Looks at the cluster: at the start, hourly, and for `doctor`. Never rejects; a check that fails is a finding. */
export async function checkFitness(parts: FitnessParts): Promise<readonly Finding[]> {
  const checks: [Finding["check"], Promise<Finding>][] = [
    ["server-version", checkVersions(parts)],
    ["jetstream", checkJetStream(parts)],
    ["control-line", checkControlLine(parts)],
    ["clock", checkClock(parts)],
  ];
  if (parts.proxyKey) checks.push(["trusted-proxy", checkProxy(parts)]);
  return Promise.all(
    checks.map(([check, finding]) =>
      finding.catch((error: unknown) => ({
        check,
        ok: false,
        found: `could not be checked: ${messageOf(error)}`,
        remedy: "See that nats-server is reachable and that the gateway's keys are the cluster's.",
      })),
    ),
  );
}

/** One old server is enough: a stolen credential would be taken there. */
async function checkVersions({ control, dial, system, proxyKey }: FitnessParts): Promise<Finding> {
  const servers = system ? await versionsOfAll(dial, system, proxyKey) : versionsOf([control.connection]);
  const old = servers.filter(({ version }) => unfitVersion(version) !== undefined);
  return finding("server-version", servers.length > 0 && old.length === 0, {
    found: servers.map(({ name, version }) => `${name} ${version}`).join(", ") || "no server answered",
    remedy: `Upgrade ${old.map(({ name }) => name).join(", ") || "nats-server"} to ${SERVER_VERSION_MIN} or later.`,
  });
}

interface ServerVersion {
  readonly name: string;
  readonly version: string;
}

function versionsOf(connections: readonly NatsConnection[]): readonly ServerVersion[] {
  return connections.flatMap(({ info }) => (info ? [{ name: info.server_name, version: info.version }] : []));
}

async function versionsOfAll(
  dial: Dial,
  system: GatewayUser,
  proxyKey: Nkey | undefined,
): Promise<readonly ServerVersion[]> {
  const connection = await dial({
    name: "countersign fitness",
    inboxPrefix: system.inboxPrefix,
    answer: answerAs(system, proxyKey),
  });
  try {
    const servers: ServerVersion[] = [];
    const replies = await connection.requestMany("$SYS.REQ.SERVER.PING", "", {
      strategy: "stall",
      maxWait: PING_WAIT_MS,
    });
    for await (const reply of replies) servers.push(serverOf(reply.json<unknown>()));
    return servers;
  } finally {
    await connection.close();
  }
}

function serverOf(reply: unknown): ServerVersion {
  const server = typeof reply === "object" && reply !== null && "server" in reply ? reply.server : undefined;
  const { name, ver } = (typeof server === "object" && server !== null ? server : {}) as Record<
    string,
    unknown
  >;
  // A server that does not say what it is counts as one that may not be used.
  return { name: typeof name === "string" ? name : "?", version: typeof ver === "string" ? ver : "?" };
}

async function checkJetStream({ control }: FitnessParts): Promise<Finding> {
  const { streams } = await control.manager.getAccountInfo();
  return finding("jetstream", streams > 0, {
    found: `${streams} streams in CONTROL`,
    remedy: "Restart the gateway, which creates its streams.",
  });
}

/** Shows our own credential without the proxy's signature, as a thief would: it must be refused. */
async function checkProxy({ dial, user }: FitnessParts): Promise<Finding> {
  const refusal = await refusalOf(
    dial({ name: "countersign fitness", inboxPrefix: user.inboxPrefix, answer: answerAs(user, undefined) }),
  );
  const enforced = refusal !== undefined && /authorization violation/i.test(refusal);
  return finding("trusted-proxy", enforced, {
    found: enforced
      ? "a credential without the proxy's signature is refused"
      : (refusal ?? "a credential was taken without the proxy's signature: whoever steals one can use it"),
    remedy: "Add the `proxies` block that `countersign init` printed to every server, and reload it.",
  });
}

/** Sends a CONNECT of the greatest length that credentials are minted for. */
async function checkControlLine({
  dial,
  user,
  proxyKey,
  controlLineBytesMax,
}: FitnessParts): Promise<Finding> {
  const padding = controlLineBytesMax - user.jwt.length - CONNECT_REST_BYTES;
  const refusal = await refusalOf(
    dial({
      name: "x".repeat(Math.max(0, padding)),
      inboxPrefix: user.inboxPrefix,
      answer: answerAs(user, proxyKey),
    }),
  );
  return finding("control-line", refusal === undefined, {
    found: refusal ?? `a CONNECT of ${controlLineBytesMax} bytes is taken`,
    remedy: "Set `max_control_line: 1MB` on every server and reload it, or mint for less.",
  });
}

async function checkClock({ control, clock }: FitnessParts): Promise<Finding> {
  const before = clock();
  const { ts } = await control.manager.streams.info(AUDIT_STREAM);
  const after = clock();
  if (ts === undefined) throw new Error("nats-server does not say what time it is");
  const there = Date.parse(ts) / 1000;
  const difference = there < before ? there - before : Math.max(0, there - after);
  return finding("clock", Math.abs(difference) <= CLOCK_DIFFERENCE_SECONDS_MAX, {
    found: `nats-server's clock differs by ${difference.toFixed(3)} s`,
    remedy: "Synchronise the clocks of the gateway and of the NATS servers (NTP).",
  });
}

/** @returns why the connection was refused, or undefined when it was made (and closed) */
async function refusalOf(dialling: Promise<NatsConnection>): Promise<string | undefined> {
  try {
    await (await dialling).close();
    return undefined;
  } catch (error) {
    if (error instanceof GatewayError) return error.message;
    throw error;
  }
}

function finding(
  check: Finding["check"],
  ok: boolean,
  { found, remedy }: Pick<Finding, "found" | "remedy">,
): Finding {
  return { check, ok, found, remedy: ok ? "" : remedy };
}
