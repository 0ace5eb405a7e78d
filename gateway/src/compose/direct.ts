import type { NatsKeys } from "../credentials/nats-keys.ts";
import { revocationOf } from "../identity/identify.ts";
import type { Identity } from "../identity/identity.ts";
import type { SignIn } from "../identity/sign-in.ts";
import { createDirectConnections, type DirectConnections } from "../nats/direct-connections.ts";
import { isOfPolicy } from "../nats/direct-name.ts";
import { createDirectSweep, type ListedDirect } from "../nats/direct-sweep.ts";
import { createEndUser, type EndUser } from "../nats/end-user.ts";
import type { SessionKv } from "../nats/session-kv.ts";
import { openSystem } from "../nats/system.ts";
import type { Grant } from "../policy/grant.ts";
import type { LivePolicy } from "../policy/live.ts";
import type { Base } from "./base.ts";
import type { NatsAccess } from "./open-state.ts";

/** What ends connections that the gateway does not carry. */
export interface Direct {
  readonly connections: DirectConnections;
  readonly endUser: EndUser;
  /** Has the whole cluster looked through, for what no memory holds. */
  readonly sweepSoon: () => void;
}

export interface DirectAccess extends NatsAccess {
  readonly sessions: SessionKv;
  readonly signIn: SignIn | undefined;
  readonly policy: LivePolicy;
  /** undefined for an identity that can have none. */
  readonly grantOf: (identity: Identity) => Grant | undefined;
}

/** The accounts whose users the gateway makes. */
export function accountsOf(keys: NatsKeys): readonly string[] {
  return [keys.account, ...directAccountsOf(keys)];
}

function directAccountsOf({ direct }: NatsKeys): readonly string[] {
  return direct ? [direct.account] : [];
}

export function openDirect(base: Base, access: DirectAccess): Direct {
  const { log, clock, running, readiness, metrics } = base;
  const { dial, keys, instance, sessions, grantOf } = access;
  const system =
    keys.system &&
    openSystem({ dial, user: keys.system, ...(keys.proxyKey && { proxyKey: keys.proxyKey }), instance });
  // Not red: everything the gateway carries is cut without it.
  readiness.addNote("system account", () => (system ? system.unready() : NO_SYSTEM));
  const connections = createDirectConnections({
    kick: async (place) => system?.kick(place),
    notBefore: (key) => sessions.notBefore(key),
    grantOf,
    clock,
  });
  metrics.gauge(
    {
      name: "countersign_direct_connections",
      help: "Direct connections that this instance let in and whose time is not over.",
    },
    () => connections.size,
  );
  const endUser = createEndUser({
    raiseNotBefore: (key, at) => sessions.raiseNotBefore(key, at),
    ...(system && { system }),
    accounts: accountsOf(keys),
    clock,
  });
  if (!system) return { connections, endUser, sweepSoon: () => {} };
  running.add(() => system.close());
  const sweeps = metrics
    .counter({
      name: "countersign_direct_sweeps_total",
      help: "Times that the direct connections of the whole cluster were looked through.",
    })
    .of();
  const sweep = createDirectSweep({
    system,
    accounts: directAccountsOf(keys),
    isOver: (connection) => isOver(base, access, connections, connection),
    clock,
    onSwept: () => sweeps.add(),
    onTrouble: (why) => log.warn({ why }, "direct connections could not all be looked through"),
  });
  running.add(() => sweep.stop());
  system.onConnect(() => sweep.soon());
  void running.repeat(async () => {
    if (system.unready() === undefined) await sweep.run();
    return SWEEP_MS;
  });
  return { connections, endUser, sweepSoon: () => sweep.soon() };
}

const NO_SYSTEM =
  "there is no user of the system account: sign-outs end what the gateway carries, and no other connection";

/** For what nothing announces: a session that became idle on an instance that has ended since. */
const SWEEP_MS = 60_000;

async function isOver(
  { clock }: Base,
  { sessions, signIn, policy, instance }: DirectAccess,
  remembered: DirectConnections,
  connection: ListedDirect,
): Promise<boolean> {
  const { of } = connection;
  if (revocationOf(of, (key) => sessions.notBefore(key))) return true;
  if (of.proof.kind === "session" && signIn && !(await signIn.sessionStands(of.proof.hash, clock())))
    return true;
  // Judged under another policy, and nobody is there who knows whether that came to the same: it is judged anew.
  if (isOfPolicy(of, policy.current.version) || remembered.has(connection)) return false;
  return of.instance === instance || !sessions.isAlive(of.instance);
}
