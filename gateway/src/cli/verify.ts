import { readFile } from "node:fs/promises";
import {
  createVerifier,
  fileKeySet,
  type PlainMessage,
  SealError,
  type VerifiedMessage,
  type Verifier,
} from "@countersign/seal";
import { Command } from "commander";
import { z } from "zod";
import { parseCreds, type UserCreds } from "../credentials/creds.ts";
import { fileFaultOf, GatewayError, messageOf } from "../errors.ts";
import { observe } from "../nats/observe.ts";
import { isoTimeOf } from "../time.ts";
import { type CommandIo, EXIT } from "./io.ts";

/** A payload of 64 MiB in base64, with its headers. */
const MESSAGE_BYTES_MAX = 96 * 1024 * 1024;

interface VerifyOptions {
  readonly issuer: string;
  readonly audience: string;
  readonly keys?: string;
  readonly subject?: string;
  readonly server: string;
  readonly creds?: string;
  readonly ca?: string;
  readonly count?: string;
  readonly json?: boolean;
}

/** `countersign verify`: who sent a message, from standard input or from a live subject. */
export function verifyCommand(io: CommandIo): Command {
  return new Command("verify")
    .description("prove who sent a message: one from standard input, or those of a live subject")
    .requiredOption("--issuer <url>", "the gateway's public URL, exactly")
    .requiredOption("--audience <domain>", "the trust domain")
    .option("--keys <file>", "a JWK Set in a file, for the air-gapped; default: the issuer's own, over HTTPS")
    .option("--subject <subject>", "verify what is published there from now on, instead of standard input")
    .option("--server <url>", "nats-server, with --subject", "nats://127.0.0.1:4222")
    .option("--creds <file>", "credentials of a NATS user that may subscribe there; needed with --subject")
    .option("--ca <file>", "the authority to trust instead of the system's, PEM")
    .option("--count <n>", "end after so many messages")
    .option("--json", "one JSON object a message")
    .addHelpText("after", HELP)
    .action(async (options: VerifyOptions) => {
      const verify = createVerifierOf(options);
      io.exit(
        options.subject === undefined
          ? await verifyOne(io, verify, options)
          : await verifyLive(io, verify, options, options.subject),
      );
    });
}

const HELP = `
A message on standard input is JSON: { "subject", "headers": [[name, value], …], "payloadBase64" or "payload",
"brokerTime" (seconds; when the stream took it, default now) }.

Exits with 0 when every message was verified, 1 when one was not.

Examples:
  countersign verify --issuer https://apps.example.com/bus --audience example.com < message.json
  countersign verify --issuer http://127.0.0.1:8480 --audience demo.example --server nats://127.0.0.1:4480 \\
    --creds reader.creds --subject 'orders.>'`;

function createVerifierOf({ issuer, audience, keys }: VerifyOptions): Verifier {
  try {
    return createVerifier({ issuer, audience, ...(keys !== undefined && { keys: fileKeySet(keys) }) });
  } catch (error) {
    throw new GatewayError("CONFIG_INVALID", `Cannot verify: ${messageOf(error)}`);
  }
}

async function verifyOne(io: CommandIo, verify: Verifier, { json = false }: VerifyOptions): Promise<0 | 1> {
  const message = parseMessage((await io.stdin(MESSAGE_BYTES_MAX)).toString("utf8"));
  return (await judge(io, verify, message, json)) ? EXIT.yes : EXIT.no;
}

async function verifyLive(
  io: CommandIo,
  verify: Verifier,
  options: VerifyOptions,
  subject: string,
): Promise<0 | 1> {
  const countMax = options.count === undefined ? Number.POSITIVE_INFINITY : Number(options.count);
  if (!(countMax >= 1))
    throw new GatewayError("CONFIG_INVALID", `--count: expected at least 1, found ${options.count}`);
  if (options.creds === undefined)
    throw new GatewayError(
      "CONFIG_INVALID",
      "--subject: expected --creds too, the user who subscribes there",
    );
  const creds = await readCreds(options.creds);
  const enough = new AbortController();
  let count = 0;
  let allVerified = true;
  let order: Promise<void> = Promise.resolve();
  await observe({
    server: options.server,
    creds,
    ...(options.ca !== undefined && { ca: await read(options.ca) }),
    subject,
    signal: AbortSignal.any([io.signal, enough.signal]),
    onSubscribed: () => io.err(`Waiting for messages on ${subject}; Ctrl-C ends.\n`),
    onMessage: (message) => {
      if (++count > countMax) return;
      order = order.then(async () => {
        allVerified = (await judge(io, verify, message, options.json ?? false)) && allVerified;
        if (count >= countMax) enough.abort();
      });
    },
  });
  await order;
  return allVerified ? EXIT.yes : EXIT.no;
}

async function judge(
  io: CommandIo,
  verify: Verifier,
  message: PlainMessage,
  json: boolean,
): Promise<boolean> {
  try {
    const verified = await verify(message);
    io.out(json ? `${JSON.stringify(answerOf(verified))}\n` : `${sentence(verified)}\n`);
    return true;
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    const { subject } = message;
    if (json)
      io.out(`${JSON.stringify({ verified: false, subject, code: error.code, why: error.message })}\n`);
    else io.out(`refused   ${subject}  ${error.code}: ${error.message}\n`);
    return false;
  }
}

function answerOf({ sender, subject, id, txn, claims }: VerifiedMessage): object {
  const { verified, ...who } = sender;
  return {
    verified,
    subject,
    sender: who,
    id,
    txn,
    sealedAt: isoTimeOf(claims.iat),
    scope: claims.scope,
    requestId: claims.rctx.rid,
  };
}

function sentence({ sender, subject, txn, claims }: VerifiedMessage): string {
  const actor = sender.actor === undefined ? "" : `, ${sender.actor} acting`;
  return `verified  ${subject}  ${sender.user}${actor}  ${isoTimeOf(claims.iat)}  txn ${txn}`;
}

const MESSAGE = z.object(
  {
    subject: z.string("expected a text"),
    headers: z.array(
      z.tuple([z.string("expected a text"), z.string("expected a text")], "expected [name, value]"),
      "expected a list of [name, value]",
    ),
    payload: z.string("expected a text").optional(),
    payloadBase64: z.base64("expected base64, with its padding").optional(),
    brokerTime: z.number("expected seconds since 1970").optional(),
  },
  "expected an object",
);

function parseMessage(text: string): PlainMessage {
  const parsed = MESSAGE.safeParse(parseJson(text));
  if (!parsed.success) throw unreadable(parsed.error.issues.map(mistakeText));
  const { subject, headers, payload, payloadBase64, brokerTime } = parsed.data;
  const bytes =
    payloadBase64 === undefined ? Buffer.from(payload ?? "", "utf8") : Buffer.from(payloadBase64, "base64");
  return { subject, headers, payload: bytes, ...(brokerTime !== undefined && { brokerTime }) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw unreadable(["it is not JSON"]);
  }
}

/** More are another file. */
const MISTAKES_MAX = 10;

function unreadable(mistakes: readonly string[]): GatewayError {
  const lines = mistakes.slice(0, MISTAKES_MAX).map((mistake) => `Cannot read the message: ${mistake}`);
  return new GatewayError(
    "CONFIG_INVALID",
    [...lines, "See `countersign verify --help` for its form."].join("\n"),
  );
}

/** `headers[0][1]: expected a text` */
function mistakeText({
  path,
  message,
}: {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}): string {
  const [first, ...rest] = path;
  if (first === undefined) return message;
  return `${String(first)}${rest.map((key) => `[${String(key)}]`).join("")}: ${message}`;
}

async function readCreds(path: string): Promise<UserCreds> {
  const creds = parseCreds(await read(path));
  if (typeof creds === "string")
    throw new GatewayError("CONFIG_INVALID", `Cannot use ${path} as credentials: ${creds}`);
  return creds;
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new GatewayError("CONFIG_INVALID", `Cannot read "${path}": ${fileFaultOf(error)}`);
  }
}
