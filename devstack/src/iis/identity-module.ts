import { createHmac, hash, randomBytes } from "node:crypto";
import type { WindowsAccount } from "./accounts.ts";
import type { Headers } from "./headers.ts";

/** What CountersignIdentity.cs does to a request, line by line; its vectors hold this to the same bytes. */
export interface IdentityModuleOptions {
  /** `CountersignKey`: base64 of 32 bytes or more. */
  readonly key: string;
  /** `CountersignGroups`. Default `names`. */
  readonly groups?: "none" | "sids" | "names";
  /** `CountersignCertificate`. Default false. */
  readonly certificate?: boolean;
}

/** BeginRequest: whatever a client sent under our names is taken away; `_` is `-` to IIS. */
export function stripIdentity(headers: Headers): void {
  for (const name of headers.names()) {
    const plain = name.toLowerCase().replaceAll("_", "-");
    const isOurs = ["countersign-identity", "x-arr-clientcert", "x-iis-windowsauthtoken"].includes(plain);
    const begins = ["ms-aspnetcore", "x-ms-client-principal", "x-ms-token-"].some((each) =>
      plain.startsWith(each),
    );
    if (isOurs || begins) headers.delete(name);
  }
}

/** What the module sees of a request. */
export interface SeenRequest {
  readonly method: string;
  readonly account: WindowsAccount | undefined;
  /** The client certificate, base64 of DER. */
  readonly shown: string | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** PostAuthenticateRequest: the header is set on every request, also on one that nobody signed in. */
export function setIdentity(
  headers: Headers,
  { key, groups = "names", certificate = false }: IdentityModuleOptions,
  { method, account, shown, now }: SeenRequest,
): void {
  const lines =
    account && groups !== "none"
      ? account.groups.map(({ sid, name }) => (groups === "names" ? `${sid}\t${name}` : sid))
      : [];
  const certificateHash =
    certificate && shown !== undefined ? hash("sha256", Buffer.from(shown, "base64"), "hex") : "";
  const payload = payloadOf({
    milliseconds: String(Math.floor(now)),
    nonce: randomBytes(16).toString("hex"),
    method,
    authenticationType: account ? "Negotiate" : "",
    sid: account?.sid ?? "",
    account: account?.name ?? "",
    certificateHash,
    how: account && groups !== "none" ? "all" : "none",
    groups: lines,
  });
  headers.set("Countersign-Identity", sealIdentity(key, payload));
}

/** The lines of the payload, by the names of the vectors. */
export interface IdentityLines {
  readonly milliseconds: string;
  readonly nonce: string;
  readonly method: string;
  readonly authenticationType: string;
  readonly sid: string;
  readonly account: string;
  readonly certificateHash: string;
  readonly how: string;
  readonly groups: readonly string[];
}

export function payloadOf(lines: IdentityLines): string {
  const { milliseconds, nonce, method, authenticationType, sid, account, certificateHash, how, groups } =
    lines;
  return [
    milliseconds,
    nonce,
    method,
    authenticationType,
    sid,
    account,
    certificateHash,
    how,
    ...groups,
  ].join("\n");
}

export function sealIdentity(key: string, payload: string): string {
  const text = `v1.${Buffer.from(payload, "utf8").toString("base64url")}`;
  return `${text}.${createHmac("sha256", Buffer.from(key, "base64")).update(text).digest("base64url")}`;
}
