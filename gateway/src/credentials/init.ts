import assert from "node:assert/strict";
import { access, constants, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createSecretFile, invalid } from "../keys/secret-file.ts";
import { createClusterSecretText } from "../keys/secrets.ts";
import type { EpochSeconds } from "../time.ts";
import type { Crossing } from "./crossings.ts";
import { KEY_FILES, type KeysManifest, OFFLINE_FILES, type Plan, type PlannedFile } from "./keys-folder.ts";
import { readKeysManifest } from "./keys-manifest.ts";
import { planExistingCluster, planHosted, planNewCluster } from "./layout.ts";
import { planCallout } from "./layout-callout.ts";
import { renderServerConfig, type ServerOptions } from "./server-config.ts";

export interface InitOptions {
  /** Where accounts stand. Default `operator`. */
  readonly kind?: "operator" | "callout";
  /** Where the gateway's keys go: `nats.keys` of the configuration. */
  readonly keysDirectory: string;
  /** Where the keys go that no server needs. */
  readonly offlineDirectory: string;
  /** The servers of a new cluster, each with the path of its configuration file. */
  readonly servers: readonly (ServerOptions & { readonly configPath: string })[];
  /** What direct users may reach in the account of trusted services. Default: nothing. */
  readonly crossings?: readonly Crossing[];
  readonly now: EpochSeconds;
}

export interface InitResult {
  /** False when keys were there already: then nothing was written. */
  readonly created: boolean;
  readonly manifest: KeysManifest;
  /** Credentials (or key) of the administrator of CORE, for streams and trusted services; it passes no gateway. */
  readonly adminCredsPath: string;
  /** One per server, freshly rendered for these options, whether or not a file was there. */
  readonly servers: readonly { readonly configPath: string; readonly config: string }[];
  readonly written: readonly WrittenFile[];
}

export interface WrittenFile {
  readonly path: string;
  readonly what: string;
}

/**
 * Makes a cluster of one's own: operator, accounts, the gateway's keys, server configurations. Never replaces a
 * file; a second run reads what the first one wrote.
 *
 * @throws GatewayError KEYS_INVALID  some of the files are there and others not; keys of another kind are there
 * @throws GatewayError CONFIG_INVALID  a server would be unsafe (see renderServerConfig)
 */
export async function initKeys(options: InitOptions): Promise<InitResult> {
  const { kind = "operator", keysDirectory, offlineDirectory, servers, crossings = [], now } = options;
  const present = await readKeysManifest(keysDirectory);
  if (present !== undefined && (present.kind !== kind || !(present.trust ?? present.accounts))) {
    const path = join(keysDirectory, KEY_FILES.manifest);
    const found = present.kind === kind ? "they are for a cluster that was there before" : OTHER_KIND;
    throw invalid(path, "the keys", found, "Choose another directory.");
  }
  const plan = present ? undefined : planNew(kind, now, crossings);
  const manifest = present ?? plan?.manifest;
  assert(manifest);
  const configs = servers.map((server) => ({
    configPath: server.configPath,
    config: renderServerConfig(manifest, server),
  }));
  const admin = kind === "callout" ? OFFLINE_FILES.coreAdminKey : OFFLINE_FILES.coreAdmin;
  return {
    created: plan !== undefined,
    manifest,
    adminCredsPath: join(offlineDirectory, admin),
    servers: configs,
    written: plan ? await write(plan, keysDirectory, offlineDirectory, configs) : [],
  };
}

const OTHER_KIND = "they are for another kind of cluster";

function planNew(kind: "operator" | "callout", now: EpochSeconds, crossings: readonly Crossing[]): Plan {
  const secret = createClusterSecretText();
  return kind === "callout" ? planCallout(secret, crossings) : planNewCluster(now, secret, crossings);
}

export interface AddToClusterOptions {
  readonly kind: "operator" | "hosted";
  readonly keysDirectory: string;
  readonly offlineDirectory: string;
  /** The account whose users the gateway mints, A…. */
  readonly accountPublicKey: string;
  /** What direct users may reach in that account. Default: nothing. */
  readonly crossings?: readonly Crossing[];
  readonly now: EpochSeconds;
}

/**
 * Makes the gateway's keys for a cluster that is there already. What its operator must add is for the caller to
 * say, from the manifest.
 *
 * @throws GatewayError KEYS_INVALID  some of the files are there and others not; keys for another account are
 */
export async function addToCluster(
  options: AddToClusterOptions,
): Promise<Pick<InitResult, "created" | "manifest" | "written">> {
  const { kind, keysDirectory, offlineDirectory, accountPublicKey, crossings = [], now } = options;
  const present = await readKeysManifest(keysDirectory);
  if (present !== undefined) {
    if (present.kind === kind && present.account === accountPublicKey && present.trust === undefined) {
      return { created: false, manifest: present, written: [] };
    }
    const path = join(keysDirectory, KEY_FILES.manifest);
    throw invalid(path, "the keys", `they are for account ${present.account}`, "Choose another directory.");
  }
  const secret = createClusterSecretText();
  const plan =
    kind === "hosted"
      ? planHosted(accountPublicKey, secret)
      : planExistingCluster(accountPublicKey, now, secret, crossings);
  return {
    created: true,
    manifest: plan.manifest,
    written: await write(plan, keysDirectory, offlineDirectory, []),
  };
}

async function write(
  plan: Plan,
  keysDirectory: string,
  offlineDirectory: string,
  configs: InitResult["servers"],
): Promise<readonly WrittenFile[]> {
  const pathOf = ({ place, name }: PlannedFile): string =>
    join(place === "keys" ? keysDirectory : offlineDirectory, name);
  const manifestPath = join(keysDirectory, KEY_FILES.manifest);
  for (const path of [...plan.files.map(pathOf), ...configs.map(({ configPath }) => configPath)]) {
    if (await exists(path)) {
      throw invalid(
        path,
        "this directory",
        "the file is there, but no keys.json says what it belongs to",
        REMEDY,
      );
    }
  }
  await mkdir(keysDirectory, { recursive: true, mode: 0o700 });
  if (plan.files.some(({ place }) => place === "offline")) {
    await mkdir(offlineDirectory, { recursive: true, mode: 0o700 });
  }
  for (const file of plan.files) await createSecretFile(pathOf(file), file.what, file.text);
  for (const { configPath, config } of configs) {
    await mkdir(dirname(configPath), { recursive: true });
    await writeFile(configPath, config, { flag: "wx" });
  }
  await createSecretFile(manifestPath, "the list of the keys", `${JSON.stringify(plan.manifest, null, 2)}\n`);
  return [
    ...plan.files.map((file) => ({ path: pathOf(file), what: file.what })),
    ...configs.map(({ configPath }) => ({ path: configPath, what: "the configuration of nats-server" })),
    { path: manifestPath, what: "the list of the keys" },
  ];
}

const REMEDY = "Move it away, or choose another directory.";

async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
}
