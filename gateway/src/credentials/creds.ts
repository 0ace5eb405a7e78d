import { type NatsJwt, readNatsJwt } from "./nats-jwt.ts";
import { type Nkey, nkeyFromSeed } from "./nkey.ts";

/** A user's JWT with its key, as a `.creds` file holds them. */
export interface UserCreds {
  readonly jwt: string;
  readonly claims: NatsJwt;
  readonly userKey: Nkey;
}

/** Writes the format that `nsc`, `nats` and every NATS client read. Holds the seed: for a file with mode 0600. */
export function formatCreds(jwt: string, userKey: Nkey): string {
  return [
    "-----BEGIN NATS USER JWT-----",
    jwt,
    "------END NATS USER JWT------",
    "",
    "-----BEGIN USER NKEY SEED-----",
    userKey.exportSeed(),
    "------END USER NKEY SEED------",
    "",
  ].join("\n");
}

/** @returns why not, when it is not a `.creds` file of one user with its own key */
export function parseCreds(text: string): UserCreds | string {
  const jwt = blockOf(text, "NATS USER JWT");
  const seed = blockOf(text, "USER NKEY SEED");
  if (jwt === undefined) return "it has no block NATS USER JWT";
  if (seed === undefined) return "it has no block USER NKEY SEED";
  const claims = readNatsJwt(jwt);
  if (claims?.type !== "user") return "its JWT is not a user's, or its signature is wrong";
  const userKey = nkeyFromSeed(seed);
  if (userKey?.kind !== "user") return "its seed is not a user's (it begins with SU)";
  if (userKey.publicKey !== claims.subject)
    return `its seed belongs to ${userKey.publicKey}, its JWT to another`;
  return { jwt, claims, userKey };
}

/** The one line between `-----BEGIN name-----` and `------END name------`. */
function blockOf(text: string, name: string): string | undefined {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const begin = lines.findIndex((line) => /^-+BEGIN /.test(line) && line.includes(`BEGIN ${name}-`));
  const end = lines.findIndex((line, index) => index > begin && line.includes(`END ${name}-`));
  const between = lines.slice(begin + 1, end).filter((line) => line !== "");
  return begin >= 0 && end > begin && between.length === 1 ? between[0] : undefined;
}
