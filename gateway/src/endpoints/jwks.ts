import type { FastifyInstance } from "fastify";
import { messageOf } from "../errors.ts";
import type { Clock, EpochSeconds } from "../time.ts";
import { addOperation, operation } from "./operation.ts";
import { matching, optional } from "./parameter.ts";
import { orRefuse, RefusalError } from "./server.ts";

/** A public key as it is served; the members that matter here of a JSON Web Key (RFC 7517). */
export interface PublicJwk {
  readonly kid: string;
  /** Nothing was sealed with it after. */
  readonly exp: EpochSeconds;
}

/** Short, since a verifier that misses a new instance's first key asks again only after a minute. */
const REMEMBERED_SECONDS = 1;

const KID = matching("One key by its id, past ones included.", {
  grammar: /^[A-Za-z0-9_-]{1,64}$/,
  expected: "1 to 64 of A-Z a-z 0-9 _ -",
  example: "Qm9vdGggaXMgbm90IGEga2V5",
});

const JWKS = operation({
  id: "jwks",
  method: "GET",
  path: "/.well-known/jwks.json",
  tag: "keys",
  needs: "nothing",
  summary: "Public keys that verify seals",
  description: "The keys that seal now or soon, of all instances.",
  parameters: { kid: optional(KID) },
  answers: {
    200: {
      description: "A JSON Web Key Set (RFC 7517).",
      content: {
        "application/jwk-set+json": {
          schema: {
            type: "object",
            required: ["keys"],
            properties: { keys: { type: "array", items: { type: "object", required: ["kty", "kid"] } } },
          },
        },
      },
    },
  },
  problems: ["not_found", "unavailable"],
});

/**
 * `GET /.well-known/jwks.json`: the keys that seal now or soon, of all instances. `?kid=` asks for one key,
 * past ones included, since a stream may be read years after it was written. Needs no sign-in: keys are public.
 */
export function addJwks(
  app: FastifyInstance,
  keys: {
    /** Rejects when the directory cannot be read. */
    current(): Promise<readonly PublicJwk[]>;
    get(kid: string): Promise<PublicJwk | undefined>;
  },
  clock: Clock,
): void {
  const current = remembered(() => keys.current(), clock);
  addOperation(app, JWKS, async (_request, query, reply) => {
    const { kid } = orRefuse(query);
    const found = kid === undefined ? await read(current()) : await read(keys.get(kid));
    if (found === undefined) throw new RefusalError({ reason: "not_found", path: "/.well-known/jwks.json" });
    return reply
      .header("content-type", "application/jwk-set+json")
      .header("cache-control", kid === undefined ? "public, max-age=300" : "public, max-age=86400")
      .send(JSON.stringify({ keys: Array.isArray(found) ? found : [found] }));
  });
}

/** Strangers ask here: the directory is asked once for all of them. A failure is not remembered. */
function remembered<T>(ask: () => Promise<T>, clock: Clock): () => Promise<T> {
  let last: { readonly at: EpochSeconds; readonly answer: Promise<T> } | undefined;
  return function latest() {
    const now = clock();
    if (last && now >= last.at && now < last.at + REMEMBERED_SECONDS) return last.answer;
    const asked = { at: now, answer: ask() };
    last = asked;
    asked.answer.catch(() => {
      if (last === asked) last = undefined;
    });
    return asked.answer;
  };
}

async function read<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const why = messageOf(error);
    throw new RefusalError({ reason: "check_unavailable", check: "public keys", why });
  }
}
