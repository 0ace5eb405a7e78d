import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../errors.ts";
import type { SessionStore } from "../identity/session.ts";
import type { Clock, EpochSeconds } from "../time.ts";
import { parseDirectName } from "./direct-name.ts";
import { directOf } from "./direct-sweep.ts";
import type { System } from "./system.ts";
import type { ListedConnection } from "./system-json.ts";

/** What became of a user's connections, by nats-server's own word. */
export interface Ended {
  readonly ended: readonly EndedConnections[];
  /** What may go on, in words: servers that did not answer, connections that did not close; empty when nothing. */
  readonly notReached: readonly string[];
}

export interface EndedConnections {
  /** `gateway`: carried by an instance; else how a client came past it: `nats`, `websocket`, `mqtt`. */
  readonly way: string;
  /** The nats-server's name. */
  readonly server: string;
  readonly connections: number;
}

export interface EndUserParts {
  readonly raiseNotBefore: SessionStore["raiseNotBefore"];
  /** Absent: what is carried ends, and nothing else can. */
  readonly system?: System;
  /** The accounts in which users of the gateway are. */
  readonly accounts: readonly string[];
  readonly clock: Clock;
}

/** Ends everything a user has open, on every instance and server. Rejects when the not-before cannot be written. */
export type EndUser = (user: string, at: EpochSeconds) => Promise<Ended>;

/** Instances end what they carry when they hear of it, within milliseconds; one that does not is not waited for longer. */
const INSTANCES_END_WITHIN_SECONDS = 1;
const GIVE_UP_AFTER_SECONDS = 3;
/** Between two looks at nats-server's list: nothing announces that a connection has closed. */
const LOOK_MS = 20;

export function createEndUser({ raiseNotBefore, system, accounts, clock }: EndUserParts): EndUser {
  return async function endUser(user, at) {
    const before = await look(system, accounts, user, at);
    // Acknowledged by a majority before anything is cut: whoever comes back is refused, on every instance.
    await raiseNotBefore({ user }, at);
    if (!system) return { ended: [], notReached: [NO_SYSTEM] };
    const seen = new Map(before.found);
    const began = clock();
    for (let round = 0; ; round += 1) {
      // The second look is at what the first one cut; from then on it is waited for.
      if (round > 1) await delay(LOOK_MS);
      const all = await look(system, accounts, user, at);
      // One that is carried and was not there before is of a sign-in that came after.
      const left = [...all.found].filter(([key, { way }]) => way !== CARRIED || before.found.has(key));
      const after = { ...all, found: new Map(left) };
      for (const [key, connection] of after.found) seen.set(key, connection);
      const waited = clock() - began;
      if (after.found.size === 0 || after.why !== undefined || waited > GIVE_UP_AFTER_SECONDS)
        return outcomeOf(seen, after);
      const instancesHadTime = waited > INSTANCES_END_WITHIN_SECONDS;
      const cut = [...after.found.values()].filter(({ way }) => way !== CARRIED || instancesHadTime);
      await Promise.all(cut.map((connection) => system.kick(connection)));
    }
  };
}

export const NO_SYSTEM =
  "connections past the gateway: it has no user of the system account, and cuts only what it carries";
const CARRIED = "gateway";

type Found = ListedConnection & { readonly way: string };

interface Look {
  readonly found: ReadonlyMap<string, Found>;
  readonly silent: readonly string[];
  readonly why?: string;
}

async function look(
  system: System | undefined,
  accounts: readonly string[],
  user: string,
  at: EpochSeconds,
): Promise<Look> {
  if (!system) return { found: new Map(), silent: [] };
  try {
    const { connections, silent } = await system.connections(accounts);
    const found = [...directOfUser(connections, user, at), ...carriedFor(connections, user)];
    return { found: new Map(found.map((each) => [`${each.serverId} ${each.cid}`, each])), silent };
  } catch (error) {
    return { found: new Map(), silent: [], why: messageOf(error) };
  }
}

function directOfUser(connections: readonly ListedConnection[], user: string, at: EpochSeconds): Found[] {
  return directOf(connections)
    .filter(({ of }) => (of.user === user || of.actor?.user === user) && of.provedAt <= at)
    .map((connection) => ({ ...connection, way: connection.type }));
}

/** The user JWTs of connections of our own say in a tag whose they are; so does a direct client's, which has a name too. */
function carriedFor(connections: readonly ListedConnection[], user: string): Found[] {
  const tags = [`user:${user}`, `actor:${user}`];
  return connections
    .filter((each) => !parseDirectName(each.authorizedUser) && each.tags.some((tag) => tags.includes(tag)))
    .map((connection) => ({ ...connection, way: CARRIED }));
}

function outcomeOf(seen: ReadonlyMap<string, Found>, { found, silent, why }: Look): Ended {
  const counts = new Map<string, EndedConnections>();
  for (const [key, { way, server }] of seen) {
    if (found.has(key)) continue;
    const group = `${way} ${server}`;
    const connections = (counts.get(group)?.connections ?? 0) + 1;
    counts.set(group, { way, server, connections });
  }
  return {
    ended: why === undefined ? [...counts.values()] : [],
    notReached: [
      ...(why === undefined ? [] : [why]),
      ...silent.map((server) => `the nats-server ${server} did not answer`),
      ...[...found.values()].map(({ cid, server }) => `connection ${cid} on ${server} did not close`),
    ],
  };
}
