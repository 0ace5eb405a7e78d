import { gunzipSync, gzipSync } from "node:zlib";
import type { Policy, PolicyFile } from "../policy/policy.ts";
import type { PolicyStore, PushedPolicy } from "../policy/store.ts";
import type { Control } from "./control.ts";
import { type KvFound, readKey, writeKey } from "./kv-write.ts";

/** What is in force; its former values are the history. */
const CURRENT = "current";
const VERSION = /^[0-9a-f]{64}$/;
/** Unpacked: a hundred files of a megabyte, as the language allows. */
const FILES_BYTES_MAX = 100 * 1024 * 1024;

/** Policies in the bucket `policy`: each version's files under its hash, and which of them is in force. */
export function createPolicyKv(control: Control): PolicyStore {
  /** The revision each answer of `current` was read at, so that a push replaces what was seen and nothing else. */
  const revisions = new WeakMap<PushedPolicy, number>();

  return {
    async current() {
      const found = await readKey(control, "policy", CURRENT);
      const pushed = found.value === undefined ? undefined : parsePushed(found.value);
      if (pushed) revisions.set(pushed, found.revision);
      return pushed;
    },
    async filesOf(version) {
      const { value } = VERSION.test(version) ? await readKey(control, "policy", keyOf(version)) : absent;
      return value === undefined ? undefined : unpack(value);
    },
    async push(policy, files, replaces) {
      await writeKey(control, { bucket: "policy", key: keyOf(policy.version), value: pack(files) });
      const revision = replaces ? revisions.get(replaces) : 0;
      if (revision === undefined) return false;
      const value = JSON.stringify(policy);
      return (
        (await writeKey(control, { bucket: "policy", key: CURRENT, value, replaces: revision })) !== undefined
      );
    },
    async history() {
      const found: PushedPolicy[] = [];
      for await (const entry of await control.bucket("policy").history({ key: CURRENT })) {
        const pushed = entry.operation === "PUT" ? parsePushed(entry.string()) : undefined;
        if (pushed) found.push(pushed);
      }
      return found.reverse();
    },
  };
}

const absent: KvFound = { revision: 0 };

function keyOf(version: Policy["version"]): string {
  return `files.${version}`;
}

/** Text compresses twenty times: the largest policies fit into one message. */
function pack(files: readonly PolicyFile[]): string {
  return gzipSync(JSON.stringify(files.map(({ path, text }) => ({ path, text })))).toString("base64");
}

function unpack(value: string): readonly PolicyFile[] {
  const text = gunzipSync(Buffer.from(value, "base64"), { maxOutputLength: FILES_BYTES_MAX }).toString(
    "utf8",
  );
  const files: unknown = JSON.parse(text);
  if (!Array.isArray(files)) throw new Error("the files of a pushed policy are damaged");
  return files.map((file: unknown) => {
    if (!isRecord(file) || typeof file.path !== "string" || typeof file.text !== "string")
      throw new Error("a file of a pushed policy is damaged");
    return { path: file.path, text: file.text };
  });
}

function parsePushed(text: string): PushedPolicy {
  const value: unknown = JSON.parse(text);
  if (isRecord(value)) {
    const { version, by, at, former } = value;
    if (
      typeof version === "string" &&
      typeof by === "string" &&
      typeof at === "number" &&
      typeof former === "string"
    )
      return { version, by, at, former };
  }
  throw new Error("what the bucket policy says is in force is damaged");
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
