import {
  createVerifier,
  type KeySet,
  SealError,
  staticKeySet,
  type VerifiedMessage,
} from "@countersign/seal";
import { setBounded } from "./bounded-map.ts";
import type { PublicKeyDirectory } from "./keys/directory.ts";
import type { InboundMessage } from "./nats/connection.ts";
import { fingerprintOf } from "./nats/fingerprint.ts";
import type { Sender } from "./subscribe.ts";
import type { Clock, EpochSeconds } from "./time.ts";

/** A kid that no instance has published is not asked for again so soon: whoever can send a message can make one up. */
const UNKNOWN_SECONDS = 5;
/** Key ids remembered, known and unknown: about 1 kB each. */
const KIDS_MAX = 4_096;

/** Keys asked for at once: beyond, whoever makes up key ids would turn each of their messages into one of ours to NATS. */
const ASKING_MAX = 64;

/** One message comes once for each reader of its subject, within a moment. */
const JUDGED_SECONDS = 1;
const JUDGED_MAX = 1_024;

/** Who sent a message, by its seal. Never rejects. */
export interface SenderOf {
  (message: InboundMessage): Promise<Sender>;
  /** Of a reply, which is sealed for the id of its request. */
  reply(message: InboundMessage, to: { readonly to: string }): Promise<Sender>;
}

/**
 * Says of a message who sent it, by its seal; what cannot be verified has no sender. Never rejects.
 *
 * A message that is the same to the last byte is judged once a second: under a thousand readers the signature and
 * the digests would otherwise be most of the work.
 */
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
}): SenderOf {
  const verify = createVerifier({ issuer, audience, keys: directoryKeySet(directory), clock });

  const judged = new Map<string, { readonly at: EpochSeconds; readonly sender: Promise<Sender> }>();

  async function judge(verifying: Promise<VerifiedMessage>): Promise<Sender> {
    try {
      const { sender, id, txn } = await verifying;
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
  }

  function judgeOnce(message: InboundMessage): Promise<Sender> {
    const at = clock();
    const fingerprint = fingerprintOf(message);
    const known = judged.get(fingerprint);
    if (known && at < known.at + JUDGED_SECONDS) return known.sender;
    const sender = judge(verify(message));
    setBounded(judged, fingerprint, { at, sender }, JUDGED_MAX);
    // What could not be verified may be a moment later, when its key is there.
    void sender.then(({ verified }) => verified || judged.delete(fingerprint));
    return sender;
  }

  async function senderOf(message: InboundMessage): Promise<Sender> {
    try {
      return await judgeOnce(message);
    } catch {
      return { verified: false, code: "verification_failed" };
    }
  }
  // Comes once, to one who asked: nothing of it is remembered.
  return Object.assign(senderOf, {
    reply: (message: InboundMessage, to: { readonly to: string }) => judge(verify.reply(message, to)),
  });
}

/** The keys of all instances, from where they are published: another instance's new key is known at its first seal. */
function directoryKeySet(directory: PublicKeyDirectory): KeySet {
  const asked = new Map<string, Asked>();
  let asking = 0;

  async function read(kid: string): Promise<KeySet | undefined> {
    if (asking >= ASKING_MAX) throw new Error("too many unknown keys are asked for at once");
    asking += 1;
    try {
      const jwk = await directory.get(kid);
      return jwk && staticKeySet({ keys: [jwk] });
    } finally {
      asking -= 1;
    }
  }

  function ask(kid: string, at: EpochSeconds): Asked {
    const entry: Asked = { at, keys: read(kid) };
    setBounded(asked, kid, entry, KIDS_MAX);
    // A failure is an answer to those who wait for it, and to nobody after.
    entry.keys.catch(() => asked.get(kid) === entry && asked.delete(kid));
    return entry;
  }

  return {
    async get(kid, at) {
      const before = asked.get(kid) ?? ask(kid, at);
      const keys = await before.keys;
      if (keys) {
        // A key in use is remembered longest, so that made-up ones cannot drive it out.
        asked.delete(kid);
        asked.set(kid, before);
        return keys.get(kid, at);
      }
      if (at < before.at + UNKNOWN_SECONDS) return undefined;
      const now = asked.get(kid);
      return (await (now && now !== before ? now : ask(kid, at)).keys)?.get(kid, at);
    },
  };
}

interface Asked {
  readonly at: EpochSeconds;
  /** Undefined for a key that nobody has published. */
  readonly keys: Promise<KeySet | undefined>;
}
