/** A connection as nats-server lists it. */
export interface ListedConnection {
  readonly serverId: string;
  /** The server's name. */
  readonly server: string;
  readonly cid: number;
  readonly account: string;
  /** `nats`, `websocket` or `mqtt`. */
  readonly type: string;
  /** The name the client gave itself. */
  readonly name: string;
  /** Of a callout's user JWT its name; of others the public key. */
  readonly authorizedUser: string;
  readonly tags: readonly string[];
}

/** What `$SYS.REQ.SERVER.PING` brings from each server: who it is, and how many it knows of, itself included. */
export function readServer(
  reply: unknown,
): { readonly id: string; readonly name: string; readonly there: number } | undefined {
  const { server, statsz } = objectOf(reply);
  const { id, name } = objectOf(server);
  if (typeof id !== "string" || typeof name !== "string") return undefined;
  const { active_servers: active, routes } = objectOf(statsz);
  // A server that was just started has not heard of all the others yet; its routes lead to them.
  const routed = new Set(listOf(routes).map((route) => textOf(objectOf(route).name)));
  return { id, name, there: Math.max(typeof active === "number" ? active : 1, routed.size + 1) };
}

/** What `$SYS.REQ.ACCOUNT.<A…>.CONNZ` brings from each server: a page of its connections, and how many there are. */
export function readConnections(reply: unknown):
  | {
      readonly serverId: string;
      readonly total: number;
      readonly connections: readonly ListedConnection[];
    }
  | undefined {
  const { server, data } = objectOf(reply);
  const { id, name } = objectOf(server);
  const { total, connections } = objectOf(data);
  if (typeof id !== "string" || typeof name !== "string") return undefined;
  return {
    serverId: id,
    total: typeof total === "number" ? total : 0,
    connections: listOf(connections).flatMap((each) => connectionOf(each, { serverId: id, server: name })),
  };
}

function connectionOf(
  found: unknown,
  where: Pick<ListedConnection, "serverId" | "server">,
): ListedConnection[] {
  const { cid, account, type, name, authorized_user: authorizedUser, tags } = objectOf(found);
  if (typeof cid !== "number") return [];
  return [
    {
      ...where,
      cid,
      account: textOf(account),
      type: textOf(type),
      name: textOf(name),
      authorizedUser: textOf(authorizedUser),
      tags: listOf(tags).filter((tag) => typeof tag === "string"),
    },
  ];
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
