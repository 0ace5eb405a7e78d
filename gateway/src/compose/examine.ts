import type { Config } from "../config/config.ts";
import { localOf } from "../config/local.ts";
import type { NatsKeys } from "../credentials/nats-keys.ts";
import { createIssuers, type Issuer } from "../identity/issuer.ts";
import { type Control, openControl } from "../nats/control.ts";
import { AUDIT_STREAM } from "../nats/control-streams.ts";
import { createDial, type Dial } from "../nats/dial.ts";
import { checkFitness } from "../nats/fitness.ts";
import { dialGatewayUser } from "../nats/gateway-user.ts";
import type { Clock } from "../time.ts";
import { attempt, examineLocal, type OnExamined } from "./examine-local.ts";
import { examineSystem } from "./examine-system.ts";
import { controlStreamsOf, fitnessPartsOf, instanceNameOf, natsServersOf } from "./from-config.ts";
import { directKeysOf } from "./open-callout.ts";

/** `doctor` waits no longer for a server: somebody sits in front of it. */
const NATS_TIMEOUT_MS = 5_000;

/**
 * Looks at everything a gateway with this configuration needs, one after another. Never rejects: what cannot be
 * looked at is a finding.
 *
 * @param onExamined  told each as it is found, since some take seconds
 */
export async function examine(config: Config, clock: Clock, onExamined: OnExamined): Promise<void> {
  const { keys } = await examineLocal(localOf(config), clock, onExamined);
  for (const issuer of createIssuers(config.issuers).all) await examineIssuer(issuer, clock, onExamined);
  if (keys) await examineNats(config, { keys, clock }, onExamined);
}

async function examineIssuer(
  { options, metadata, keys }: Issuer,
  clock: Clock,
  onExamined: OnExamined,
): Promise<void> {
  const remedy = `See that this machine reaches ${new URL(options.url).host} (proxy, firewall, certificate authority), and that \`url\` is the issuer's own spelling.`;
  await attempt(
    `issuer ${options.name}`,
    remedy,
    onExamined,
    async () => {
      const { jwksUri } = await metadata(clock());
      // Any kid: that there is no such key is an answer too, and shows that the set can be read.
      const answer = await keys.keyFor("countersign-doctor", clock());
      if (!answer.found && answer.unavailable !== undefined) throw new Error(answer.unavailable);
      return `${options.url} answers, keys at ${new URL(jwksUri).host}`;
    },
    String,
  );
}

async function examineNats(
  config: Config,
  { keys, clock }: { readonly keys: NatsKeys; readonly clock: Clock },
  onExamined: OnExamined,
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
    () => "CONTROL and its JetStream answer",
  );
  if (!control) return;
  try {
    for (const finding of await checkFitness(fitnessPartsOf(config, { dial, control, keys, clock })))
      onExamined(finding);
    if (config.audit.some(({ to }) => to === "stream")) await examineAuditStream(control, onExamined);
    await examineSystem({ dial, keys, instance: instanceNameOf(config) }, onExamined);
    await examineCallout(config, { dial, keys }, onExamined);
  } finally {
    await control.close();
  }
}

/** Whether its answerer is let in; what is answered is seen when somebody connects. */
async function examineCallout(
  config: Config,
  { dial, keys }: { readonly dial: Dial; readonly keys: NatsKeys },
  onExamined: OnExamined,
): Promise<void> {
  if (!config.nats.direct && config.nats.mode !== "callout") return;
  const remedy = "See that nats-server has the account WEB (or AUTH) as `countersign init` wrote it.";
  await attempt(
    "auth callout",
    remedy,
    onExamined,
    async () => {
      const direct = directKeysOf(config, keys);
      if (!direct) return;
      const name = `countersign/${instanceNameOf(config)} doctor`;
      const { responder: user } = direct;
      await (
        await dialGatewayUser({ dial, user, ...(keys.proxyKey && { proxyKey: keys.proxyKey }), name })
      ).close();
    },
    () => "the gateway's user that answers it is let in",
  );
}

async function examineAuditStream({ manager }: Control, onExamined: OnExamined): Promise<void> {
  const remedy = `Restart the gateway, which makes the stream ${AUDIT_STREAM} in CONTROL.`;
  await attempt(
    "audit stream",
    remedy,
    onExamined,
    () => manager.streams.info(AUDIT_STREAM),
    ({ state }) => {
      return `${AUDIT_STREAM} holds ${state.messages} messages, ${state.bytes} bytes`;
    },
  );
}
