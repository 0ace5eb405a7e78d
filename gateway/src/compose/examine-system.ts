import { once } from "node:events";
import type { NatsKeys } from "../credentials/nats-keys.ts";
import type { Dial } from "../nats/dial.ts";
import { openSystem, type System } from "../nats/system.ts";
import { accountsOf } from "./direct.ts";
import { attempt, type OnExamined } from "./examine-local.ts";

const CONNECTED_WITHIN_MS = 5_000;

/** Whether sign-outs and kicks reach connections that the gateway does not carry. */
export async function examineSystem(
  { dial, keys, instance }: { readonly dial: Dial; readonly keys: NatsKeys; readonly instance: string },
  onExamined: OnExamined,
): Promise<void> {
  const { system: user, proxyKey } = keys;
  if (!user) {
    // Where clients connect by themselves, a sign-out that leaves them connected is none.
    const ok = keys.direct === undefined;
    onExamined({ check: CHECK, ok, found: ABSENT, remedy: ok ? "" : REMEDY });
    return;
  }
  const system = openSystem({ dial, user, ...(proxyKey && { proxyKey }), instance });
  try {
    await attempt(CHECK, REMEDY, onExamined, () => tryOut(system, keys), String);
  } finally {
    await system.close();
  }
}

const CHECK = "system account";
const ABSENT = "no user of it: sign-outs and kicks end what the gateway carries, and no direct connection";
const REMEDY =
  "Give the gateway's user of the system account the permissions that `countersign init` names (system.creds), and see that every server answers.";

async function tryOut(system: System, keys: NatsKeys): Promise<string> {
  await connected(system);
  const { connections, servers, silent } = await system.connections(accountsOf(keys));
  if (silent.length > 0) throw new Error(`no answer from ${silent.join(", ")}`);
  // There is no connection of that number; a user that may not kick gets no answer at all.
  for (const server of servers)
    if ((await system.kick({ serverId: server.id, cid: 0 })) === "silent")
      throw new Error(`${server.name} does not let it cut connections`);
  const names = servers.map(({ name }) => name).join(", ");
  return `${names} list connections (${connections.length} now) and let it cut them`;
}

async function connected(system: System): Promise<void> {
  const late = AbortSignal.timeout(CONNECTED_WITHIN_MS);
  const first = Promise.withResolvers<void>();
  system.onConnect(first.resolve);
  await Promise.race([first.promise, once(late, "abort")]);
  const why = system.unready();
  if (why !== undefined) throw new Error(why);
}
