/** What a deployment behind IIS is to be. All values have been checked: see `parseWish`. */
export interface DeployWish {
  readonly behind: Behind;
  readonly signIn: SignIn;
  /** Where callers find the gateway, without a slash at its end: its path is the application's. */
  readonly publicUrl: string;
  readonly site: string;
  readonly pool: string;
  /** Where everything will lie on the server: `C:\Countersign`. */
  readonly folder: string;
  /** The whole path of node.exe. */
  readonly node: string;
  /** Of 127.0.0.1, where the gateway listens behind ARR. */
  readonly port: number;
  /** Of pages elsewhere that call the gateway. */
  readonly origins: readonly string[];
  /** With Windows authentication: the groups that the policy is about; empty: all of them are sent. */
  readonly groups: readonly string[];
}

export type Behind = "iis-ancm" | "iis-arr";
/** By whom users are signed in: Windows, the gateway itself over OpenID Connect, or by client certificates. */
export type SignIn = "windows" | "oidc" | "certificates";

export const BEHIND: readonly Behind[] = ["iis-ancm", "iis-arr"];
export const SIGN_IN: readonly SignIn[] = ["windows", "oidc", "certificates"];

/** Neither is ever shown. */
export interface DeploySecrets {
  /** Of the identity module: base64 of 32 bytes. */
  readonly key: string;
  /** Of the rewrite rule: 32–256 printable characters. */
  readonly proof: string;
}

/** The path of the application: `/` or `/bus`. */
export function applicationPathOf({ publicUrl }: Pick<DeployWish, "publicUrl">): string {
  return new URL(publicUrl).pathname;
}

/** The application in IIS's hierarchy: `Bus` or `Default Web Site/bus`. */
export function placeOf(wish: Pick<DeployWish, "publicUrl" | "site">): string {
  return `${wish.site}${applicationPathOf(wish)}`.replace(/\/$/, "");
}

/**
 * Whether our module runs in IIS: it tells who Windows signed in, and behind ARR it confirms the client certificate,
 * which a visitor could otherwise send as a header of their own.
 */
export function needsModule({ behind, signIn }: Pick<DeployWish, "behind" | "signIn">): boolean {
  return signIn === "windows" || (signIn === "certificates" && behind === "iis-arr");
}

/** Below the application; nobody is asked who they are there, and none of these looks at it. */
export const ANONYMOUS_PATHS: readonly string[] = [
  ".well-known/jwks.json",
  "healthz",
  "auth/backchannel-logout",
];

/** Names of files, below the folder. */
export const FILES = {
  checklist: "CHECKLIST.md",
  powershell: "server.ps1",
  appcmd: "server.cmd",
  gatewayConfig: "countersign.iis.yaml",
  webConfig: "site/web.config",
  module: "site/App_Code/CountersignIdentity.cs",
  moduleKey: "site/App_Data/countersign-key.config",
  service: "service/countersign-service.xml",
  key: "secrets/iis.key",
  proof: "secrets/iis-proof",
} as const;

/** The rewrite map in applicationHost.config that holds the secret of the rule. */
export const PROOF_MAP = { name: "countersign", key: "proof" } as const;
