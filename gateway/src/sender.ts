import { createVerifier, type KeySet, SealError, staticKeySet } from "@countersign/seal";
import type { PublicKeyDirectory } from "./keys/directory.ts";
import type { InboundMessage } from "./nats/connection.ts";
import type { Sender } from "./subscribe.ts";
import type { Clock, EpochSeconds } from "./time.ts";

/** A kid that no instance has published is not asked for again so soon: whoever can send a message can make one up. */
const UNKNOWN_SECONDS = 5;
/** Key ids remembered, known and unknown: about 1 kB each. */
const KIDS_MAX = 4_096;

/** Says of a message who sent it, by its seal; what cannot be verified has no sender. Never rejects. */
export function createSenderOf({
  issuer,
  audience,
  directory,
  clock,
}: {
  readonly issuer: string;
  readonly audience: string;
  readonly directory: PublicKeyDirectory;
  readonly clock: Clock;
}): (message: InboundMessage) => Promise<Sender> {
  const verify = createVerifier({ issuer, audience, keys: directoryKeySet(directory), clock });

  return async function senderOf(message) {
    try {
      const { sender, id, txn } = await verify(message);
      const { user, issuer: of, name, actor } = sender;
      return {
        verified: true,
        user,
        issuer: of,
        ...(name !== undefined && { name }),
        ...(actor !== undefined && { actor }),
        id,
        txn,
      };
    } catch (error) {
      return { verified: false, code: error instanceof SealError ? error.code : "verification_failed" };
    }
  };
}

/** The keys of all instances, from where they are published: another instance's new key is known at its first seal. */
function directoryKeySet(directory: PublicKeyDirectory): KeySet {
  const asked = new Map<string, { readonly at: EpochSeconds; readonly keys: Promise<KeySet | undefined> }>();

  async function ask(kid: string): Promise<KeySet | undefined> {
    try {
      const jwk = await directory.get(kid);
      return jwk && staticKeySet({ keys: [jwk] });
    } catch (error) {
      asked.delete(kid);
      throw error;
    }
  }

  return {
    async get(kid, at) {
      const before = asked.get(kid);
      const keys = await before?.keys;
      if (keys) return keys.get(kid, at);
      if (before && at < before.at + UNKNOWN_SECONDS) return undefined;
      // What was asked first is forgotten first; a key in use is asked for again.
      const [oldest] = asked.keys();
      if (asked.size >= KIDS_MAX && oldest !== undefined) asked.delete(oldest);
      const answer = ask(kid);
      asked.set(kid, { at, keys: answer });
      return (await answer)?.get(kid, at);
    },
  };
}
