import { join, resolve } from "node:path";
import { Command } from "commander";
import { natsServersOf } from "../compose/from-config.ts";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { OFFLINE_FILES } from "../credentials/keys-folder.ts";
import { readKeysManifest } from "../credentials/keys-manifest.ts";
import { encodeNatsJwt } from "../credentials/nats-jwt.ts";
import { createNkey, type Nkey, nkeyFromSeed, parsePublicNkey } from "../credentials/nkey.ts";
import { FOR_GOOD, REVOCATION_KEPT_SECONDS, type Revoked, revokeIn } from "../credentials/revocations.ts";
import { GatewayError } from "../errors.ts";
import { invalid, readSecretFile } from "../keys/secret-file.ts";
import { accountClaimsSubjects, createAccountClaims } from "../nats/account-claims.ts";
import { createDial } from "../nats/dial.ts";
import { currentAccountJwt, replaceAccountJwt } from "../nats/replace-account.ts";
import { type EpochSeconds, isoTimeOf } from "../time.ts";
import { type CommandIo, EXIT } from "./io.ts";
import { configPath, DEFAULT_CONFIG_FILE } from "./serve.ts";

interface RevokeFlags {
  readonly account: string;
  readonly offline: string;
  readonly config: string;
  readonly before?: string;
  readonly forGood?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `countersign revoke`: the break-glass. NATS itself refuses credentials, whatever any gateway says. */
export function revokeCommand(io: CommandIo): Command {
  return new Command("revoke")
    .description("break-glass: make NATS itself refuse credentials, with the operator's key from the safe")
    .argument("<keys...>", "public keys of users, U…, or '*' for every credential of the account")
    .requiredOption("--account <account>", "CORE, WEB or another name in keys.json, or its public key, A…")
    .requiredOption("--offline <folder>", "the folder that `countersign init` wrote and you put into a safe")
    .option(
      "--config <file>",
      "the configuration file, for the nats-servers",
      io.env.COUNTERSIGN_CONFIG ?? DEFAULT_CONFIG_FILE,
    )
    .option("--before <time>", "refuse what was issued at or before, as 2026-11-23T08:30:00Z; default: now")
    .option("--for-good", "refuse these keys whenever their JWT was issued: for one that does not expire")
    .option("--dry-run", "show what would be written, and write nothing")
    .option("--json", "print the result as JSON, the account's new JWT with it")
    .addHelpText("after", HELP)
    .action(async (keys: readonly string[], flags: RevokeFlags) => {
      const result = await revoke(io, keys, flags);
      io.out(flags.json ? `${JSON.stringify(result)}\n` : textOf(result, flags));
      io.exit(result.refusedBy.length === 0 ? EXIT.yes : EXIT.no);
    });
}

const HELP = `
For when a gateway, its keys or its folder is in wrong hands, or none runs: \`countersign kick\` is what ends a user's
sessions. Connections of a revoked key end at once on every server, and none is opened again with a JWT issued before.

It reads ${OFFLINE_FILES.operatorSigning} and ${OFFLINE_FILES.systemAccount} in the folder, asks every server for the account's JWT, adds the
revocations, drops those older than ${REVOCATION_KEPT_SECONDS / 3600} hours (no credential of a gateway lives longer), and hands the JWT to every
server. Where servers hold different JWTs, do not all answer, or the JWT changed meanwhile, it changes nothing.

'*' also refuses the JWTs that do not expire: ${OFFLINE_FILES.coreAdmin} and your services' in CORE have to be made anew.
Accounts made with nsc: nsc revocations add-user.

Exits with 0 when every server has taken it, 1 when not, 2 when the input is wrong.

Examples:
  countersign revoke UDXU… --account WEB --offline /media/safe/offline --dry-run
  countersign revoke '*' --account WEB --offline /media/safe/offline`;

interface Result extends Omit<Revoked, "jwt"> {
  readonly account: string;
  readonly name: string;
  readonly before: string;
  readonly dryRun: boolean;
  readonly bytes: number;
  readonly takenBy: readonly string[];
  readonly refusedBy: readonly { readonly server: string; readonly why: string }[];
  readonly jwt: string;
}

async function revoke(io: CommandIo, keys: readonly string[], flags: RevokeFlags): Promise<Result> {
  const config = await loadConfig(configPath(io, flags.config));
  const offline = resolve(io.cwd, flags.offline);
  const signer = await loadOffline(offline, OFFLINE_FILES.operatorSigning, "operator");
  const system = await loadOffline(offline, OFFLINE_FILES.systemAccount, "account");
  const account = await accountOf(flags.account, config.nats.keys);
  const now = io.clock();
  const at = flags.forGood ? FOR_GOOD : timeOf(flags.before, now);
  const { claims, close } = await connectAsSystem(config, system, account, now);
  const progress = setTimeout(() => io.err("Waiting for every nats-server to answer …\n"), PROGRESS_AFTER_MS);
  try {
    const current = await currentAccountJwt(claims, account, signer.publicKey);
    const { jwt, ...revoked } = revokeIn(current, { keys, at, now }, signer);
    const taken = flags.dryRun ? new Map<string, undefined>() : await replaceAccountJwt(claims, current, jwt);
    return {
      ...{ account, name: current.name, before: isoTimeOf(at), dryRun: flags.dryRun === true },
      ...revoked,
      bytes: jwt.length,
      takenBy: [...taken].flatMap(([server, why]) => (why === undefined ? [server] : [])),
      refusedBy: [...taken].flatMap(([server, why]) => (why === undefined ? [] : [{ server, why }])),
      jwt,
    };
  } finally {
    clearTimeout(progress);
    await close();
  }
}

/** After so long people wonder whether it hangs. */
const PROGRESS_AFTER_MS = 1_000;
const SEED_BYTES_MAX = 1_024;

async function loadOffline(folder: string, name: string, kind: Nkey["kind"]): Promise<Nkey> {
  const path = join(folder, name);
  const what = kind === "operator" ? "the operator's signing key" : "the key of the system account";
  const remedy = "Name the folder that `countersign init` wrote: --offline FOLDER.";
  const seed = await readSecretFile(path, what, SEED_BYTES_MAX);
  if (seed === undefined) throw invalid(path, what, "there is no such file", remedy);
  const key = nkeyFromSeed(seed);
  if (key?.kind !== kind) throw invalid(path, what, `it is no ${kind}'s seed`, remedy);
  return key;
}

/** @throws GatewayError CONFIG_INVALID */
async function accountOf(named: string, keysFolder: string): Promise<string> {
  if (parsePublicNkey(named)?.kind === "account") return named;
  const accounts = (await readKeysManifest(keysFolder))?.trust?.accounts ?? [];
  const found = accounts.find(({ name }) => name === named);
  if (found) return found.publicKey;
  const names = accounts.map(({ name }) => name).join(", ");
  const right = names === "" ? "its public key, A…" : `${names}, or a public key, A…`;
  throw wrong(`--account "${named}" is unknown; expected ${right}`);
}

/** @throws GatewayError CONFIG_INVALID */
function timeOf(text: string | undefined, now: EpochSeconds): EpochSeconds {
  if (text === undefined) return now;
  const ms = RFC_3339.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw wrong(`--before "${text}" is no time such as 2026-11-23T08:30:00Z`);
  return ms / 1_000;
}

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;
/** Life of the user this command is while it runs. */
const USER_SECONDS = 120;

/** As a user made for this run, which may read and replace this one account's JWT. */
async function connectAsSystem(config: Config, system: Nkey, account: string, now: EpochSeconds) {
  const user = createNkey("user");
  const inboxPrefix = "_INBOX.countersign-revoke";
  const jwt = encodeNatsJwt<"user">({
    name: "countersign revoke",
    subject: user.publicKey,
    signer: system,
    issuedAt: now,
    expiresAt: now + USER_SECONDS,
    claims: {
      type: "user",
      pub: { allow: accountClaimsSubjects(account) },
      sub: { allow: [`${inboxPrefix}.>`] },
      ...{ subs: -1, data: -1, payload: -1 },
    },
  });
  const connection = await createDial(natsServersOf(config))({
    name: "countersign revoke",
    inboxPrefix,
    answer: (nonce) => ({ jwt, sig: user.sign(nonce).toString("base64url") }),
  });
  return { claims: createAccountClaims(connection), close: () => connection.close() };
}

function textOf(
  { name, account, added, pruned, entries, bytes, takenBy, refusedBy, before, dryRun }: Result,
  { forGood }: RevokeFlags,
): string {
  const until = forGood ? "for good" : `if issued at or before ${before}`;
  return [
    `account  ${name} ${account}`,
    ...added.map((key) => `revoked  ${key} ${until}`),
    ...pruned.map((key) => `dropped  ${key}, no longer needed`),
    `entries  ${entries}, the JWT has ${bytes} bytes`,
    ...(dryRun ? ["dry run: nothing was written"] : []),
    ...takenBy.map((server) => `taken    by ${server}`),
    ...refusedBy.map(({ server, why }) => `NOT TAKEN by ${server}: ${why}`),
    "",
  ].join("\n");
}

function wrong(why: string): GatewayError {
  return new GatewayError("CONFIG_INVALID", `Cannot revoke: ${why}.`);
}
