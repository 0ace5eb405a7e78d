import type { Config } from "./config/config.ts";
import { messageOf } from "./errors.ts";
import { controlStreamsOf, fitnessPartsOf, instanceNameOf, loadKeys, natsServersOf } from "./from-config.ts";
import { createIssuers, type Issuer } from "./identity/issuer.ts";
import { openControl } from "./nats/control.ts";
import { createDial } from "./nats/dial.ts";
import { checkFitness } from "./nats/fitness.ts";
import { loadCandidate } from "./policy/candidate.ts";
import type { Clock } from "./time.ts";

/** One thing looked at. */
export interface Examined {
  /** `policy`, `keys`, `issuer entra`, `nats`, `server-version`, … */
  readonly check: string;
  readonly ok: boolean;
  readonly found: string;
  /** What to do about it; empty when ok. */
  readonly remedy: string;
}

/** `doctor` waits no longer for a server: somebody sits in front of it. */
const NATS_TIMEOUT_MS = 5_000;

/**
 * Looks at everything a gateway with this configuration needs, one after another. Never rejects: what cannot be
 * looked at is a finding.
 *
 * @param onExamined  told each as it is found, since some take seconds
 */
export async function examine(
  config: Config,
  clock: Clock,
  onExamined: (examined: Examined) => void,
): Promise<void> {
  const names = config.issuers.map(({ name }) => name);
  await attempt(
    "policy",
    "Mend what it names; `countersign policy check` shows the same.",
    onExamined,
    async () => {
      const { policy, warnings } = loadCandidate(config.policy, names, clock());
      const roles = policy.roles.length === 1 ? "1 role" : `${policy.roles.length} roles`;
      return [`${roles}, version ${policy.version.slice(0, 12)}`, ...warnings].join("; ");
    },
  );
  for (const issuer of createIssuers(config.issuers).all) await examineIssuer(issuer, clock, onExamined);
  const keys = await attempt(
    "keys",
    "Run `countersign init`, or restore the folder.",
    onExamined,
    () => loadKeys(config),
    "the folder is complete",
  );
  if (keys) await examineNats(config, { keys, clock }, onExamined);
}

async function examineIssuer(
  { options, metadata, keys }: Issuer,
  clock: Clock,
  onExamined: (examined: Examined) => void,
): Promise<void> {
  const remedy = `See that this machine reaches ${new URL(options.url).host} (proxy, firewall, certificate authority), and that \`url\` is the issuer's own spelling.`;
  await attempt(`issuer ${options.name}`, remedy, onExamined, async () => {
    const { jwksUri } = await metadata(clock());
    // Any kid: that there is no such key is an answer too, and shows that the set can be read.
    const answer = await keys.keyFor("countersign-doctor", clock());
    if (!answer.found && answer.unavailable !== undefined) throw new Error(answer.unavailable);
    return `${options.url} answers, keys at ${new URL(jwksUri).host}`;
  });
}

async function examineNats(
  config: Config,
  { keys, clock }: { readonly keys: Awaited<ReturnType<typeof loadKeys>>; readonly clock: Clock },
  onExamined: (examined: Examined) => void,
): Promise<void> {
  const dial = createDial(natsServersOf(config));
  const proxy = keys.proxyKey && { proxyKey: keys.proxyKey };
  const control = await attempt(
    "nats",
    `See that nats-server runs at ${config.nats.servers.join(", ")} with the configuration that \`countersign init\` wrote: it must know these keys and trust this proxy (\`proxies\`).`,
    onExamined,
    () =>
      openControl({
        dial,
        user: keys.control,
        ...proxy,
        instance: instanceNameOf(config),
        startTimeoutMs: NATS_TIMEOUT_MS,
        ...controlStreamsOf(config),
      }),
    "CONTROL and its JetStream answer",
  );
  if (!control) return;
  try {
    for (const finding of await checkFitness(fitnessPartsOf(config, { dial, control, keys, clock })))
      onExamined(finding);
  } finally {
    await control.close();
  }
}

/** @returns what it came to, or undefined after it was reported why not */
async function attempt<T>(
  check: string,
  remedy: string,
  onExamined: (examined: Examined) => void,
  look: () => Promise<T>,
  found?: string,
): Promise<T | undefined> {
  try {
    const value = await look();
    onExamined({ check, ok: true, found: found ?? String(value), remedy: "" });
    return value;
  } catch (error) {
    onExamined({ check, ok: false, found: messageOf(error), remedy });
    return undefined;
  }
}
