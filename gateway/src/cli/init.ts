import { access, constants, mkdir, writeFile } from "node:fs/promises";
import { basename, isAbsolute, join, relative, resolve } from "node:path";
import { Command, Option } from "commander";
import { type Crossing, crossingsOf } from "../credentials/crossings.ts";
import { addToCluster, type InitResult, initKeys, type WrittenFile } from "../credentials/init.ts";
import { type ClusterKind, KEY_FILES } from "../credentials/keys-folder.ts";
import { parsePublicNkey } from "../credentials/nkey.ts";
import { GatewayError } from "../errors.ts";
import { certificatesOf, planServers } from "./init-servers.ts";
import { starterConfig, starterPolicy } from "./init-starters.ts";
import { nextSteps, type ShownPaths } from "./init-steps.ts";
import type { CommandIo } from "./io.ts";

interface Flags {
  readonly kind: ClusterKind;
  readonly existing?: boolean;
  readonly account?: string;
  readonly directRequest?: string;
  readonly directSubscribe?: string;
  readonly directReadStream?: string;
  readonly directReadKv?: string;
  readonly out: string;
  readonly publicUrl?: string;
  readonly servers?: string;
  readonly loopbackWithoutTls?: boolean;
  readonly json?: boolean;
}

/** `countersign init`: makes the keys, and whatever else is needed to begin. Never replaces a file. */
export function initCommand(io: CommandIo): Command {
  return new Command("init")
    .description("make keys, the configuration of nats-server, and a configuration and policy to begin with")
    .addOption(
      new Option(
        "--kind <kind>",
        "where accounts stand: JWTs of your operator, your servers' configuration, or with others who host it",
      )
        .choices(["operator", "callout", "hosted"])
        .default("operator"),
    )
    .option("--existing", "the cluster is there already: make only what is to be added to it")
    .option("--account <key>", "with --existing or hosted: the account whose users the gateway makes, A…")
    .option("--out <folder>", "where everything is written", ".")
    .option("--public-url <url>", "where callers will find the gateway: https://apps.example.com/bus")
    .option("--servers <urls>", "the nats-servers, with commas between: tls://nats1.example.com:4222")
    .option("--loopback-without-tls", "everything on 127.0.0.1 and in clear text: for a laptop")
    .option("--direct-request <subjects>", "what clients that connect by themselves may send to services")
    .option("--direct-subscribe <subjects>", "what they may read as it is published")
    .option("--direct-read-stream <streams>", "JetStream streams whose consumers they may read")
    .option("--direct-read-kv <buckets>", "buckets whose keys they may read")
    .option("--json", "print the result as JSON")
    .addHelpText("after", EXAMPLES)
    .action(async (flags: Flags) => {
      const wish = checked(flags);
      const result = await run(wish, resolve(io.cwd, flags.out), io);
      io.out(flags.json ? `${JSON.stringify(result.json)}\n` : result.text);
    });
}

const EXAMPLES = `
A second run changes nothing and says what is there. Private keys never appear in the output.

Examples:
  A cluster of one's own, three servers:
    countersign init --public-url https://apps.example.com/bus \\
      --servers tls://nats1.example.com:4222,tls://nats2.example.com:4222,tls://nats3.example.com:4222
  The same, whose accounts stand in the servers' configuration, with a service for clients that connect by themselves:
    countersign init --kind callout --direct-request inventory.check --public-url https://… --servers tls://…
  One laptop:
    countersign init --loopback-without-tls --out try
  A cluster that is there already, its accounts made with nsc:
    countersign init --existing --account A… --public-url https://apps.example.com/bus --servers tls://…
  A cluster hosted by others:
    countersign init --kind hosted --account A… --public-url https://… --servers tls://…`;

interface Wish {
  readonly kind: ClusterKind;
  readonly crossings: readonly Crossing[];
  /** Absent: a new cluster. */
  readonly account?: string;
  readonly publicUrl: string;
  readonly servers: readonly URL[];
  readonly loopbackWithoutTls: boolean;
}

/** @throws GatewayError CONFIG_INVALID  naming the option and what would be right */
function checked(flags: Flags): Wish {
  const { kind, existing, account, publicUrl, servers, loopbackWithoutTls = false } = flags;
  const isNew = kind !== "hosted" && existing !== true;
  if (kind === "callout" && existing === true) throw wrong("--existing", CALLOUT_EXISTING);
  if (isNew && account !== undefined) {
    throw wrong("--account", "a new cluster gets accounts of its own; add --existing for one that is there");
  }
  if (!isNew && (account === undefined || parsePublicNkey(account)?.kind !== "account")) {
    throw wrong("--account", "expected the public key of the account, 56 characters that begin with A");
  }
  const url = publicUrl ?? (loopbackWithoutTls ? "http://127.0.0.1:8480" : undefined);
  if (url === undefined || !URL.canParse(url) || !/^https?:/.test(url)) {
    throw wrong("--public-url", "expected where callers find the gateway, like https://apps.example.com/bus");
  }
  return {
    kind,
    crossings: checkedCrossings(flags),
    ...(isNew || account === undefined ? {} : { account }),
    publicUrl: url.replace(/\/+$/, ""),
    servers: parseServers(servers ?? (loopbackWithoutTls ? "nats://127.0.0.1:4222" : ""), loopbackWithoutTls),
    loopbackWithoutTls,
  };
}

const CALLOUT_EXISTING =
  "copy what init writes for new servers, accounts and authorization, into the configuration of yours";

function checkedCrossings(flags: Flags): readonly Crossing[] {
  const { directRequest, directSubscribe, directReadStream, directReadKv } = flags;
  const crossings = crossingsOf({
    requests: listOf(directRequest),
    subscriptions: listOf(directSubscribe),
    streams: listOf(directReadStream),
    buckets: listOf(directReadKv),
  });
  if (typeof crossings === "string") throw wrong("--direct-…", crossings);
  if (flags.kind === "hosted" && crossings.length > 0) {
    throw wrong(
      "--direct-…",
      "on a hosted cluster nobody connects by themselves, since no callout can be set up",
    );
  }
  return crossings;
}

function listOf(text: string | undefined): readonly string[] {
  return text === undefined ? [] : text.split(",").map((each) => each.trim());
}

function parseServers(text: string, loopbackWithoutTls: boolean): readonly URL[] {
  const scheme = loopbackWithoutTls ? "nats:" : "tls:";
  return text.split(",").map((each) => {
    const url = URL.parse(each.trim());
    if (url?.protocol === scheme && url.hostname !== "" && url.port !== "" && url.username === "") return url;
    const right = loopbackWithoutTls ? "nats://127.0.0.1:4222" : "tls://nats1.example.com:4222";
    throw wrong("--servers", `expected servers like ${right}, with commas between, found "${each.trim()}"`);
  });
}

async function run(
  wish: Wish,
  out: string,
  io: CommandIo,
): Promise<{ readonly text: string; readonly json: object }> {
  const places = { keysDirectory: join(out, "secrets", "nats"), offlineDirectory: join(out, "offline") };
  const { kind, account, crossings } = wish;
  const servers = account === undefined ? planServers(wish, out) : [];
  const now = io.clock();
  const made: Pick<InitResult, "created" | "manifest" | "written"> =
    account === undefined
      ? await initKeys({ ...places, kind: kind === "hosted" ? "operator" : kind, servers, crossings, now })
      : await addToCluster({
          ...places,
          kind: kind === "callout" ? "operator" : kind,
          accountPublicKey: account,
          crossings,
          now,
        });
  const configPath = join(out, "countersign.yaml");
  const policyPath = join(out, "policy.yaml");
  const config = starterConfig({ ...wish, servers: wish.servers.map(String) });
  const starters = [
    { path: configPath, what: "the configuration of the gateway", text: config },
    { path: policyPath, what: "the policy", text: starterPolicy() },
  ];
  const written = [...made.written, ...(await writeStarters(starters))];
  const isWritten = (path: string): boolean => written.some((file) => file.path === path);
  const kept = [
    ...(made.created ? [] : [{ path: join(places.keysDirectory, KEY_FILES.manifest), what: "the keys" }]),
    ...starters.filter(({ path }) => !isWritten(path)),
  ].map(({ path, what }) => ({ path, what }));
  const shown = (path: string): string => shownFrom(io.cwd, path);
  const paths: ShownPaths = {
    keys: shown(places.keysDirectory),
    offline: shown(places.offlineDirectory),
    config: shown(configPath),
    policy: shown(policyPath),
    out: shown(out),
    serverConfigs: servers.map((server) => basename(server.configPath)),
    certificates: certificatesOf(servers),
  };
  const steps = nextSteps(made.manifest, paths);
  const { trust, accounts, version, ...keys } = made.manifest;
  return {
    text: [fileList("Written", written, shown), fileList("There already", kept, shown), stepList(steps)].join(
      "",
    ),
    json: { created: made.created, keys, written, kept, nextSteps: steps },
  };
}

async function writeStarters(
  starters: readonly (WrittenFile & { readonly text: string })[],
): Promise<readonly WrittenFile[]> {
  const written: WrittenFile[] = [];
  for (const { path, what, text } of starters) {
    if (await exists(path)) continue;
    await mkdir(join(path, ".."), { recursive: true });
    await writeFile(path, text, { flag: "wx" });
    written.push({ path, what });
  }
  return written;
}

function fileList(title: string, files: readonly WrittenFile[], shown: (path: string) => string): string {
  if (files.length === 0) return "";
  const width = Math.max(...files.map(({ path }) => shown(path).length));
  const lines = files.map(({ path, what }) => `  ${shown(path).padEnd(width)}  ${what}\n`);
  return `${title}:\n${lines.join("")}\n`;
}

function stepList(steps: readonly string[]): string {
  return `What is left to do:\n\n${steps.map((step, index) => `${index + 1}. ${step}\n`).join("\n")}`;
}

/** Relative to the working directory where that is shorter to read, with forward slashes, which every system takes. */
function shownFrom(cwd: string, path: string): string {
  const near = relative(cwd, path);
  return (near.startsWith("..") || isAbsolute(near) ? path : near).replaceAll("\\", "/");
}

async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
}

function wrong(option: string, why: string): GatewayError {
  return new GatewayError("CONFIG_INVALID", `Cannot use ${option}: ${why}.`);
}
