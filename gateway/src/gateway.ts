import { setImmediate as nextTurn } from "node:timers/promises";
import { createRecordRefused } from "./admit.ts";
import type { Base } from "./compose/base.ts";
import { type CredentialFor, createCredentialFor } from "./compose/credentials.ts";
import { type Direct, openDirect } from "./compose/direct.ts";
import { addEntrances } from "./compose/entrances.ts";
import { instanceNameOf, loadKeys, natsServersOf } from "./compose/from-config.ts";
import { startedByIis } from "./compose/hop.ts";
import { type AdminParts, startAdmin, startPublic } from "./compose/listeners.ts";
import { openAudit } from "./compose/open-audit.ts";
import { openCallout } from "./compose/open-callout.ts";
import { type NatsAccess, openState } from "./compose/open-state.ts";
import { ReadinessList, Running } from "./compose/running.ts";
import type { Config } from "./config/config.ts";
import { createFlow, type GrantOf, grantUnder } from "./create-flow.ts";
import type { NatsKeys } from "./credentials/nats-keys.ts";
import type { EndpointParts } from "./endpoints/parts.ts";
import { type FollowParts, PolicyFollower } from "./follow-policy.ts";
import { cookieNameOf } from "./identity/cookie.ts";
import { holderOf } from "./identity/identity.ts";
import { createIssuers, type Issuers } from "./identity/issuer.ts";
import { parsePresented } from "./identity/present.ts";
import type { NotBeforeKey } from "./identity/session.ts";
import { createSignIn, type SignIn } from "./identity/sign-in.ts";
import { createIdempotentId } from "./keys/idempotent-id.ts";
import type { Logger } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import type { Native } from "./native/native.ts";
import type { Pool } from "./nats/connection.ts";
import { createDial } from "./nats/dial.ts";
import { createIdentityDial } from "./nats/identity-dial.ts";
import { createPolicyKv } from "./nats/policy-kv.ts";
import { watchPolicy } from "./nats/policy-watch.ts";
import { createPool } from "./nats/pool.ts";
import type { SessionKv } from "./nats/session-kv.ts";
import { judgeCandidate, loadCandidate } from "./policy/candidate.ts";
import { createLivePolicy, type LivePolicy } from "./policy/live.ts";
import type { Subscribe } from "./subscribe.ts";
import type { Clock, EpochSeconds } from "./time.ts";

/** A running gateway. */
export interface Gateway {
  /** Where the public listener is: `host:port`, or a path. */
  readonly address: string;
  readonly adminAddress?: string;
  /** Fulfils when IIS, which started this process, asks it to end. */
  readonly shutdownAsked: Promise<void>;
  /** Looks at the policy anew, also at one that was refused before. */
  reload(): Promise<void>;
  /** Lets requests in flight finish, ends streams with `shutdown`, flushes the record. */
  close(): Promise<void>;
}

/**
 * Composes a gateway and starts it. The only place that constructs.
 *
 * @param giveUp  ends the wait for a NATS that does not come
 * @throws GatewayError with what to mend; then nothing is left running
 */
export async function startGateway(
  config: Config,
  log: Logger,
  clock: Clock,
  giveUp?: AbortSignal,
): Promise<Gateway> {
  const running = new Running();
  try {
    return await compose({
      config,
      log,
      clock,
      running,
      readiness: new ReadinessList(),
      metrics: createMetrics(),
      ...(giveUp && { giveUp }),
    });
  } catch (error) {
    await running.close();
    throw error;
  }
}

async function compose(base: Base): Promise<Gateway> {
  const { config, log, clock, running } = base;
  if (config.listen.behind?.kind === "iis-ancm") startedByIis(config.listen);
  const instance = instanceNameOf(config);
  const issuerNames = [...config.issuers, ...config.edgeIssuers].map(({ name }) => name);
  const fromFile = loadCandidate(config.policy, issuerNames, clock());
  for (const warning of fromFile.warnings) log.warn({ policy: warning }, "policy");
  const policy = createLivePolicy(fromFile.policy);
  const keys = await loadKeys(config);
  const issuers = createIssuers(config.issuers);
  // Up before anything is waited for, so that whoever waits can ask what for.
  let adminParts: AdminParts | undefined;
  const adminAddress = config.admin && (await startAdmin(base, config.admin, () => adminParts));

  const dial = createDial(natsServersOf(config));
  const state = await openState(base, { dial, keys, instance });
  const store = createPolicyKv(state.control);
  const follower = await followPolicy(base, {
    path: config.policy,
    issuerNames,
    store,
    live: policy,
    clock,
    log,
  });
  running.add(watchPolicy(state.control, () => void follower.look()));
  const audit = openAudit(base, { control: state.control, instance });
  // Between closing the pool and the log: what the last confirmations complete is handed over at a turn's end.
  running.add(() => nextTurn());
  const pool = openPool(base, {
    dial,
    keys,
    instance,
    credentialFor: createCredentialFor(base, keys, "gateway"),
  });
  const credentialFor = createCredentialFor(base, keys, "client");
  const signIn = signInOf(base, { issuers, sessions: state.sessions, keys });
  const { native, ...flow } = createFlow(base, {
    ...{ ...state, policy, issuers, signIn, audit, pool, instance, keys, credentialFor },
  });
  const { admit, streams } = flow;
  addGauges(base, { streams, pool });
  const grantOf = grantUnder(policy, base);
  const direct = openDirect(base, {
    ...{ dial, keys, instance, sessions: state.sessions, signIn, policy, grantOf },
  });
  const ending = { streams, pool, direct, native };
  endWithProofs(state.sessions, ending);
  await endWithIdleSessions(signIn, ending, base);
  narrowWithPolicy(policy, ending, grantOf);
  const issue = await openCallout(base, {
    ...{ dial, keys, instance, admit, audit, directs: direct.connections },
  });

  const presentedOf = presentedBy(config);
  const admin = { admit, audit, presentedOf, clock, instance };
  adminParts = {
    policy: {
      ...{ ...admin, store, publicUrl: config.publicUrl },
      current: () => policy.current,
      state: () => follower,
      judge: (files) => judgeCandidate(files, issuerNames, clock()),
      follow: () => follower.look(),
    },
    kick: { ...admin, endUser: direct.endUser },
  };
  const idempotentId = createIdempotentId(keys.clusterSecret.subkey("idempotent-id"));
  const ackKey = (): Buffer => keys.clusterSecret.subkey("ack-handle");
  const parts: EndpointParts = {
    ...{ ...flow, clock, presentedOf },
    ackKey,
    messageIdOf: (identity, ...of) => idempotentId(holderOf(identity), ...of),
  };
  const { promise: shutdownAsked, resolve: onShutdown } = Promise.withResolvers<void>();
  const address = await startPublic(base, {
    addEndpoints: (app) =>
      addEntrances(app, base, { ...parts, ...state, policy, signIn, audit, keys, issue, instance, native }),
    recordRefused: createRecordRefused({ audit, clock, instance }),
    onShutdown,
  });
  // Ended first, so that readers are told before the listener waits for them.
  running.add(() => streams.close());
  running.add(() => native.close());
  log.info({ address, adminAddress, instance, policy: policy.current.version }, "ready");
  return {
    address,
    ...(adminAddress !== undefined && { adminAddress }),
    shutdownAsked,
    reload: () => follower.reload(),
    close: () => running.close(),
  };
}

/** Looks now, since a pushed policy counts before the file's, and every second from then on. */
async function followPolicy({ running, readiness }: Base, parts: FollowParts): Promise<PolicyFollower> {
  const follower = new PolicyFollower(parts);
  await follower.begin();
  // Not red: what works goes on working, and a mistyped policy must not take every instance out of the balancer.
  readiness.addNote("policy", () => follower.problem);
  await running.repeat(async () => {
    await follower.look();
    return POLICY_LOOK_MS;
  });
  return follower;
}

interface Carried {
  readonly streams: Subscribe;
  readonly pool: Pool;
}

/** What a proof has open. */
interface Ending extends Carried {
  readonly direct: Direct;
  readonly native: Native;
}

/** A sign-out ends what the proof had open, on every instance: what goes past the gateway too. */
function endWithProofs(sessions: SessionKv, ending: Ending): void {
  sessions.onNotBefore((key, at) => {
    endAll(key, at, ending);
    ending.direct.sweepSoon();
  });
}

/** So does a session that nobody uses any more. Nothing is written for it: each instance sees that it is over. */
async function endWithIdleSessions(signIn: SignIn | undefined, ending: Ending, { clock, running }: Base) {
  if (!signIn) return;
  await running.repeat(async () => {
    for (const session of ending.native.takeUsed()) await signIn.useSession(session, clock());
    for (const session of await signIn.takeIdle(clock())) endAll({ session }, clock(), ending);
    return IDLE_LOOK_MS;
  });
}

const IDLE_LOOK_MS = 5_000;

function endAll(key: NotBeforeKey, at: EpochSeconds, { streams, pool, direct, native }: Ending): void {
  streams.revoke(key, at);
  native.revoke(key, at);
  pool.endLeases(key.user === undefined ? { proofHash: key.session } : { user: key.user });
  direct.connections.end(key, at);
}

/** Another policy ends the streams of whoever lost the right, then the connections of all take up their new grants. */
function narrowWithPolicy(
  policy: LivePolicy,
  { streams, pool, direct, native }: Ending,
  grantOf: GrantOf,
): void {
  policy.onReplace(() => {
    streams.regrant(grantOf);
    native.regrant(grantOf);
    pool.regrant(grantOf);
    direct.connections.regrant(grantOf);
    direct.sweepSoon();
  });
}

/** Every instance hears of a push at once; should that fail, it follows within two seconds. */
const POLICY_LOOK_MS = 1_000;

/** @returns undefined when no issuer has a client: then nobody signs in here, and bearer tokens are all there is */
function signInOf(
  { config }: Base,
  {
    issuers,
    sessions,
    keys,
  }: { readonly issuers: Issuers; readonly sessions: SessionKv; readonly keys: NatsKeys },
): SignIn | undefined {
  if (config.issuers.every(({ client }) => client === undefined)) return undefined;
  return createSignIn({
    issuers,
    sessions,
    publicUrl: config.publicUrl,
    origins: config.origins,
    loginKey: () => keys.clusterSecret.subkey("login-state"),
    refreshKey: () => keys.clusterSecret.subkey("refresh-token"),
    idleSeconds: config.session.idleSeconds,
    absoluteSeconds: config.session.absoluteSeconds,
  });
}

function addGauges({ metrics }: Base, { streams, pool }: Carried): void {
  metrics.gauge(
    { name: "countersign_streams", help: "Server-Sent Event streams open now." },
    () => streams.size,
  );
  metrics.gauge(
    { name: "countersign_nats_connections", help: "NATS connections of users open now." },
    () => pool.size,
  );
}

function openPool(
  { config, log, clock, running }: Base,
  { dial, keys, instance, credentialFor }: NatsAccess & { readonly credentialFor: CredentialFor },
): Pool {
  const identityDial = createIdentityDial({
    ...{ dial, instance, credentialFor },
    ...(keys.proxyKey && { proxyKey: keys.proxyKey }),
  });
  const onFault = (error: unknown) =>
    log.error({ error: String(error) }, "a reader of a subscription failed");
  const limits = {
    connectionsMax: config.limits.natsConnectionsMax,
    idleSeconds: config.limits.natsIdleSeconds,
  };
  const pool = createPool({ ...identityDial, clock, onFault }, limits);
  running.add(() => pool.close());
  return pool;
}

function presentedBy(config: Config): EndpointParts["presentedOf"] {
  const cookieName = cookieNameOf(config.publicUrl);
  const { tokenBytesMax } = config.limits;
  return ({ raw: { method = "", rawHeaders }, hop: { vouched } }) =>
    parsePresented({ method, rawHeaders, cookieName, tokenBytesMax, vouched });
}
