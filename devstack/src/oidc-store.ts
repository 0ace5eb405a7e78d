interface Entry {
  readonly payload: Payload;
  readonly expiresAtMs: number;
}

interface Payload {
  readonly uid?: string;
  readonly grantId?: string;
  consumed?: number;
}

/** Entries kept at most; the oldest go first. */
const ENTRIES_MAX = 10_000;

/**
 * Storage for oidc-provider, in memory: what is signed in is forgotten at the end, which a demo can afford.
 *
 * @returns the constructor that oidc-provider calls `adapter`, once per kind of thing it stores
 */
export function createOidcStore(): new (kind: string) => object {
  const entries = new Map<string, Entry>();

  const live = (key: string): Payload | undefined => {
    const entry = entries.get(key);
    if (entry !== undefined && entry.expiresAtMs > Date.now()) return entry.payload;
    entries.delete(key);
    return undefined;
  };

  return class OidcStore {
    readonly #kind: string;

    constructor(kind: string) {
      this.#kind = kind;
    }

    async upsert(id: string, payload: Payload, expiresInSeconds: number | undefined): Promise<void> {
      const expiresAtMs = Date.now() + (expiresInSeconds ?? Number.POSITIVE_INFINITY) * 1000;
      entries.set(`${this.#kind}:${id}`, { payload, expiresAtMs });
      for (const oldest of entries.keys()) {
        if (entries.size <= ENTRIES_MAX) break;
        entries.delete(oldest);
      }
    }

    async find(id: string): Promise<Payload | undefined> {
      return live(`${this.#kind}:${id}`);
    }

    async findByUid(uid: string): Promise<Payload | undefined> {
      const found = [...entries].find(
        ([key, { payload }]) => key.startsWith(`${this.#kind}:`) && payload.uid === uid,
      );
      return found && live(found[0]);
    }

    async consume(id: string): Promise<void> {
      const payload = live(`${this.#kind}:${id}`);
      if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1000);
    }

    async destroy(id: string): Promise<void> {
      entries.delete(`${this.#kind}:${id}`);
    }

    async revokeByGrantId(grantId: string): Promise<void> {
      for (const [key, { payload }] of entries) {
        if (key.startsWith(`${this.#kind}:`) && payload.grantId === grantId) entries.delete(key);
      }
    }
  };
}
