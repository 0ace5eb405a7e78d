import type { NatsConnection } from "@nats-io/transport-node";
import { readServer } from "./system-json.ts";

/**
 * Account JWTs as a cluster with the full resolver keeps them, asked and replaced as a user of the system account
 * that may. Only for commands that an operator runs: a gateway has no such user.
 */
export interface AccountClaims {
  /**
   * @returns what the servers hold, each JWT once: one, when they agree
   * @throws Error when one did not answer, since it may hold another
   */
  lookup(account: string): Promise<readonly string[]>;
  /** @returns by server, why it did not take it; undefined where it did */
  update(jwt: string): Promise<ReadonlyMap<string, string | undefined>>;
}

/** Subjects that its user has to be allowed to publish to. */
export function accountClaimsSubjects(account: string): readonly string[] {
  return [PING, lookupOf(account), UPDATE];
}

const PING = "$SYS.REQ.SERVER.PING";
const UPDATE = "$SYS.REQ.CLAIMS.UPDATE";
const lookupOf = (account: string): string => `$SYS.REQ.ACCOUNT.${account}.CLAIMS.LOOKUP`;
/** A megabyte is taken and written to disk in 63 ms. */
const ANSWER_WITHIN_MS = 5_000;

export function createAccountClaims(connection: NatsConnection): AccountClaims {
  /** Ends with the last answer there can be, or when nothing more comes in time. */
  async function* ask(subject: string, body: string, enough: (answers: number) => boolean) {
    const options = { strategy: "timer", maxWait: ANSWER_WITHIN_MS } as const;
    let answers = 0;
    for await (const reply of await connection.requestMany(subject, body, options)) {
      yield reply;
      answers += 1;
      if (enough(answers)) return;
    }
  }

  async function serverNames(): Promise<readonly string[]> {
    const names: string[] = [];
    let there = 1;
    for await (const reply of ask(PING, "", (answers) => answers >= there)) {
      const server = readServer(reply.json());
      if (!server) continue;
      names.push(server.name);
      there = Math.max(there, server.there);
    }
    if (names.length < there)
      throw new Error(`of ${there} servers only ${names.join(", ") || "none"} answer`);
    return names;
  }

  return {
    async lookup(account) {
      const names = await serverNames();
      const found: string[] = [];
      for await (const reply of ask(lookupOf(account), "", (answers) => answers >= names.length))
        found.push(reply.string());
      if (found.length < names.length)
        throw new Error(`${found.length} of ${names.length} servers say what they hold of ${account}`);
      return [...new Set(found)];
    },

    async update(jwt) {
      const names = await serverNames();
      const taken = new Map<string, string | undefined>(names.map((name) => [name, "it did not answer"]));
      for await (const reply of ask(UPDATE, jwt, (answers) => answers >= names.length)) {
        const { server, data, error } = reply.json<Answer>();
        taken.set(server?.name ?? "?", data?.code === 200 ? undefined : (error?.description ?? "it says no"));
      }
      return taken;
    },
  };
}

interface Answer {
  readonly server?: { readonly name?: string };
  readonly data?: { readonly code?: number };
  readonly error?: { readonly description?: string };
}
