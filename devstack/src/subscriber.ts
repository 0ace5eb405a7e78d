import { SealError, type Verifier } from "@countersign/seal";
import type { Msg, NatsConnection } from "@nats-io/transport-node";

const SHOWN_CHARS_MAX = 100;

/**
 * A subscriber as any service would write it: verifies every message before it looks inside, and prints who sent
 * it. Connects to NATS by itself and trusts neither the connection nor the account, only the seal.
 *
 * @param print  receives one line per message
 */
export async function runSubscriber({
  connection,
  verify,
  print,
}: {
  readonly connection: NatsConnection;
  readonly verify: Verifier;
  readonly print: (line: string) => void;
}): Promise<void> {
  for await (const message of connection.subscribe("orders.>")) print(await lineOf(verify, message));
}

async function lineOf(verify: Verifier, message: Msg): Promise<string> {
  try {
    const { subject, sender, payload } = await verify(message);
    return `✓ ${subject}  ${shown(sender.id)} (${sender.user})  ${shown(new TextDecoder().decode(payload))}`;
  } catch (error) {
    if (error instanceof SealError) return `✗ ${shown(message.subject)}  refused: ${error.code}`;
    throw error;
  }
}

/** Whatever others send must not steer the terminal it is shown on. */
function shown(text: string): string {
  const harmless = text.replaceAll(/\p{C}/gu, "�");
  return harmless.length > SHOWN_CHARS_MAX ? `${harmless.slice(0, SHOWN_CHARS_MAX)}…` : harmless;
}
