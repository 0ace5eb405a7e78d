import type { NatsKeys } from "../credentials/nats-keys.ts";
import { GatewayError, messageOf } from "../errors.ts";
import type { PublicKeyDirectory } from "../keys/directory.ts";
import { openSealKeys, type SealKeys } from "../keys/seal-keys.ts";
import { type Control, openControl, START_TIMEOUT_MS } from "../nats/control.ts";
import type { Dial } from "../nats/dial.ts";
import { checkFitness, type Finding, type FitnessParts } from "../nats/fitness.ts";
import { createKeyKv } from "../nats/key-kv.ts";
import { openSessionKv, type SessionKv } from "../nats/session-kv.ts";
import type { Base } from "./base.ts";
import { controlStreamsOf, fitnessPartsOf } from "./from-config.ts";

export interface State {
  readonly control: Control;
  readonly sessions: SessionKv;
  readonly directory: PublicKeyDirectory;
  readonly sealKeys: SealKeys;
}

/** How this instance comes into NATS. */
export interface NatsAccess {
  readonly dial: Dial;
  readonly keys: NatsKeys;
  readonly instance: string;
}

/** What the gateway keeps in its own account. */
export async function openState(base: Base, { dial, keys, instance }: NatsAccess): Promise<State> {
  const { config, log, clock, running, readiness, giveUp } = base;
  let control: Control | undefined;
  let sessions: SessionKv | undefined;
  readiness.add("nats", () => (control ? control.unready() : "not connected yet"), REMEDY_NATS);
  readiness.add(
    "sessions",
    () => (sessions?.current ? undefined : "sign-outs are not known as of now"),
    REMEDY_NATS,
  );

  // A wait of half a minute without a word would look like a gateway that hangs.
  log.info({ servers: config.nats.servers }, "connecting to NATS");
  control = await openControl({
    dial,
    user: keys.control,
    ...(keys.proxyKey && { proxyKey: keys.proxyKey }),
    instance,
    ...controlStreamsOf(config),
    ...(giveUp && { giveUp }),
  }).catch(sayHowLong);
  running.add(() => control?.close());
  sessions = await openSessionKv({ control, clock, instance });
  running.add(() => sessions?.stop());
  const directory = createKeyKv(control);
  const sealKeys = await openSealKeys({ stateDirectory: config.state, directory, instance, clock });
  await keepSealKeys(base, sealKeys);
  await keepLooking(base, fitnessPartsOf(config, { dial, control, keys, clock }));
  return { control, sessions, directory, sealKeys };
}

/** It ends rather than wait for ever: whatever runs services starts it again, and shows that it keeps ending. */
function sayHowLong(error: unknown): never {
  if (!(error instanceof GatewayError) || error.code !== "NATS_UNREACHABLE") throw error;
  const waited = `Waited ${START_TIMEOUT_MS / 1000} seconds for NATS, in vain`;
  const remedy = "`countersign doctor` says what to mend";
  throw new GatewayError(error.code, `${waited}: ${error.message}. ${remedy}.`, { cause: error });
}

const REMEDY_NATS =
  "See that nats-server runs and is reached (`countersign doctor`); it is tried again by itself.";

/** Takes the first turn now, and each further one when it is due; a failure is tried again, and seen in readyz. */
async function keepSealKeys({ log, running, readiness }: Base, sealKeys: SealKeys): Promise<void> {
  let failure: string | undefined;
  const unready = () => failure ?? (sealKeys.current() ? undefined : "no key is published");
  readiness.add("seal key", unready, "See that the state directory is writable and NATS is ready.");
  await running.repeat(async () => {
    try {
      await sealKeys.turn();
      failure = undefined;
      return KEY_TURN_MS;
    } catch (error) {
      failure = messageOf(error);
      log.error({ why: failure }, "seal keys");
      return KEY_RETRY_MS;
    }
  });
}

/** One server that is too old, or trusts no proxy, takes stolen credentials: not ready until it is mended. */
async function keepLooking({ log, running, readiness }: Base, parts: FitnessParts): Promise<void> {
  let wrong: readonly Finding[] = [];
  const unready = () => wrong.map(({ check, found }) => `${check}: ${found}`).join("; ") || undefined;
  readiness.add("nats fitness", unready, "`countersign doctor` says what to do about each.");
  await running.repeat(async () => {
    wrong = (await checkFitness(parts)).filter(({ ok }) => !ok);
    for (const { check, found, remedy } of wrong) log.error({ check, found, remedy }, "NATS is not fit");
    return wrong.length === 0 ? FITNESS_MS : FITNESS_RETRY_MS;
  });
}

/** How often rotation of seal keys is looked at; its steps are days apart. */
const KEY_TURN_MS = 3_600_000;
/** While the directory does not take a key. */
const KEY_RETRY_MS = 5_000;
/** A server may be replaced by an older one at any time; its version is seen at each (re)connect too. */
const FITNESS_MS = 3_600_000;
const FITNESS_RETRY_MS = 30_000;
