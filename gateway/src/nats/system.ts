import { setTimeout as delay } from "node:timers/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import { setBounded } from "../bounded-map.ts";
import type { GatewayUser } from "../credentials/nats-keys.ts";
import type { Nkey } from "../credentials/nkey.ts";
import { messageOf } from "../errors.ts";
import type { Dial } from "./dial.ts";
import { dialGatewayUser } from "./gateway-user.ts";
import { type ListedConnection, readConnections, readServer } from "./system-json.ts";

/**
 * The gateway's connection to the system account, as the least user that can do this: list the connections of the
 * accounts it serves, and close one of them. It reconnects by itself.
 */
export interface System {
  /** Every connection of these accounts, on every server of the cluster. @throws Error when it cannot ask */
  connections(accounts: readonly string[]): Promise<Listing>;
  /**
   * Closes a connection. Never rejects.
   *
   * @returns `gone`: there is none of that number any more; `silent`: its server did not answer, so nobody knows
   */
  kick(connection: { readonly serverId: string; readonly cid: number }): Promise<"cut" | "gone" | "silent">;
  /** In words why nothing can be cut now, or undefined. */
  unready(): string | undefined;
  /** Called whenever it is connected, the first time too: what happened before may have been missed. */
  onConnect(listener: () => void): void;
  close(): Promise<void>;
}

export interface Listing {
  readonly connections: readonly ListedConnection[];
  /** Servers of the cluster that are there. */
  readonly servers: readonly { readonly id: string; readonly name: string }[];
  /** Servers of the cluster, by name, that did not answer in time: what is connected there is not known. */
  readonly silent: readonly string[];
}

export interface SystemParts {
  readonly dial: Dial;
  readonly user: GatewayUser;
  readonly proxyKey?: Nkey;
  readonly instance: string;
  /** How long servers have for an answer, 50–10,000 ms. Default 1,000: they take 2. */
  readonly answerWithinMs?: number;
}

const ANSWER_WITHIN_MS = 1_000;
const RETRY_WAIT_MS = 1_000;
/** A page of a list; a connection takes 600 bytes, and its JWT. They overlap: each one that closes moves the rest up. */
const PAGE = 1_024;
const PAGE_OVERLAP = 128;
/** Beyond this a list is not to be believed. */
const PAGES_MAX = 256;
const NAMES_MAX = 1_000;
/** Kicks on their way at once: nats-server closes one in a millisecond. */
const KICKS_AT_ONCE = 256;

/** Connects in the background: a gateway without it works, and says in readyz what it cannot do. */
export function openSystem(parts: SystemParts): System {
  return new SystemConnection(parts);
}

class SystemConnection implements System {
  readonly #parts: SystemParts;
  readonly #answerWithinMs: number;
  readonly #closing = new AbortController();
  readonly #listeners = new Set<() => void>();
  /** By id, the name of each server that has ever answered: a silent one is to be named. */
  readonly #names = new Map<string, string>();
  readonly #kicking = new Set<Promise<unknown>>();
  #connection: NatsConnection | undefined;
  #unready: string | undefined = "not connected yet";

  constructor(parts: SystemParts) {
    this.#parts = parts;
    this.#answerWithinMs = parts.answerWithinMs ?? ANSWER_WITHIN_MS;
    void this.#stayConnected();
  }

  unready(): string | undefined {
    return this.#unready;
  }

  onConnect(listener: () => void): void {
    this.#listeners.add(listener);
    if (this.#unready === undefined) listener();
  }

  async connections(accounts: readonly string[]): Promise<Listing> {
    const connection = this.#connected();
    const { ids, silent } = await this.#servers(connection);
    const found = new Map<string, ListedConnection>();
    const mute = new Set<string>();
    for (const account of accounts)
      for (let page = 0, more = true; more; page += 1) {
        if (page === PAGES_MAX) throw new Error("the list of connections does not end");
        const offset = page * (PAGE - PAGE_OVERLAP);
        const { answers, left } = await this.#ask(connection, account, offset, ids);
        for (const each of answers.flatMap(({ connections }) => connections))
          found.set(`${each.serverId} ${each.cid}`, each);
        for (const id of left) mute.add(this.#nameOf(id));
        more = answers.some(({ total }) => total > offset + PAGE);
      }
    const servers = [...ids].map((id) => ({ id, name: this.#nameOf(id) }));
    return { connections: [...found.values()], servers, silent: [...silent, ...mute] };
  }

  async kick({ serverId, cid }: { readonly serverId: string; readonly cid: number }) {
    while (this.#kicking.size >= KICKS_AT_ONCE) await Promise.race(this.#kicking);
    const kicking = this.#kick(serverId, cid).finally(() => this.#kicking.delete(kicking));
    this.#kicking.add(kicking);
    return kicking;
  }

  async #kick(serverId: string, cid: number): Promise<"cut" | "gone" | "silent"> {
    try {
      const subject = `$SYS.REQ.SERVER.${serverId}.KICK`;
      const options = { timeout: this.#answerWithinMs };
      const answer = await this.#connected().request(subject, JSON.stringify({ cid }), options);
      return "error" in answer.json<object>() ? "gone" : "cut";
    } catch {
      // Also when nobody has that id: a server that is gone and one that cannot be reached look alike.
      return "silent";
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#connection?.close();
  }

  #connected(): NatsConnection {
    if (this.#connection && this.#unready === undefined) return this.#connection;
    throw new Error(`the system account cannot be asked: ${this.#unready ?? "not connected"}`);
  }

  #nameOf(id: string): string {
    return this.#names.get(id) ?? id;
  }

  /** Each server says how many there are, so that the last answer is known to be the last. */
  async #servers(connection: NatsConnection): Promise<{ ids: Set<string>; silent: readonly string[] }> {
    const ids = new Set<string>();
    let there = 1;
    const options = { strategy: "timer", maxWait: this.#answerWithinMs } as const;
    for await (const reply of await connection.requestMany("$SYS.REQ.SERVER.PING", "", options)) {
      const server = readServer(reply.json());
      if (!server) continue;
      ids.add(server.id);
      setBounded(this.#names, server.id, server.name, NAMES_MAX);
      there = Math.max(there, server.there);
      if (ids.size >= there) break;
    }
    const silent = this.#silent(ids, there - ids.size);
    return { ids, silent };
  }

  /** Those heard of last are the likeliest; one that was started again has another id and the same name. */
  #silent(ids: ReadonlySet<string>, missing: number): readonly string[] {
    if (missing <= 0) return [];
    const there = new Set([...ids].map((id) => this.#names.get(id)));
    const known = [...this.#names].filter(([id, name]) => !ids.has(id) && !there.has(name));
    const named = known.slice(-missing).map(([, name]) => name);
    return [...named, ...Array.from({ length: missing - named.length }, () => UNKNOWN_SERVER)];
  }

  async #ask(connection: NatsConnection, account: string, offset: number, ids: ReadonlySet<string>) {
    const body = JSON.stringify({ auth: true, offset, limit: PAGE });
    const options = { strategy: "timer", maxWait: this.#answerWithinMs } as const;
    const answers: NonNullable<ReturnType<typeof readConnections>>[] = [];
    const left = new Set(ids);
    for await (const reply of await connection.requestMany(
      `$SYS.REQ.ACCOUNT.${account}.CONNZ`,
      body,
      options,
    )) {
      const answer = readConnections(reply.json());
      if (!answer) continue;
      answers.push(answer);
      left.delete(answer.serverId);
      if (left.size === 0) break;
    }
    return { answers, left };
  }

  async #stayConnected(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        this.#connection = await this.#dial();
        if (signal.aborted) return await this.#connection.close();
        this.#become(undefined);
        for await (const { type } of this.#connection.status()) {
          if (type === "disconnect") this.#become("the connection to the system account is lost");
          else if (type === "reconnect") this.#become(undefined);
        }
        this.#become("the connection to the system account is closed");
      } catch (error) {
        this.#become(messageOf(error));
      }
      await delay(RETRY_WAIT_MS, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  #dial(): Promise<NatsConnection> {
    return dialGatewayUser({ ...this.#parts, name: `countersign/${this.#parts.instance} system` });
  }

  #become(unready: string | undefined): void {
    this.#unready = unready;
    if (unready === undefined) for (const listener of this.#listeners) listener();
  }
}

const UNKNOWN_SERVER = "a server that has never answered";
