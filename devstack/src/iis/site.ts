import type { AncmProcessOptions } from "./ancm-process.ts";
import type { IdentityModuleOptions } from "./identity-module.ts";

/** What a site of the stand-in is to be. */
export interface IisSiteOptions {
  /** Of 127.0.0.1. Default: a free one. */
  readonly port?: number;
  /** The log goes into `W3SVC1` below it. */
  readonly logFolder: string;
  readonly backend: AncmBackend | ArrBackend;
  /** Our module in App_Code. Absent: it is not there. */
  readonly identityModule?: IdentityModuleOptions;
  /** Windows authentication is on, and anonymous is off but for `anonymousPaths`. Default false. */
  readonly windowsAuthentication?: boolean;
  /** `<location path="…">` with anonymous authentication: paths from the root of the site, with all below them. */
  readonly anonymousPaths?: readonly string[];
  /** Where a rule sends preflights, which bring no ticket. Absent: there is no such rule. */
  readonly preflightPath?: string;
}

export interface AncmBackend
  extends Pick<
    AncmProcessOptions,
    "configFile" | "program" | "shutdownTimeLimitMs" | "startupTimeLimitMs" | "env"
  > {
  readonly kind: "ancm";
  /** Default `/`. */
  readonly applicationPath?: string;
  /** Default false, as our generator writes it; the module's own default is true. */
  readonly forwardWindowsAuthToken?: boolean;
  /** `requestTimeout`: so long the process may send nothing. Default two minutes. */
  readonly requestTimeoutMs?: number;
}

export interface ArrBackend {
  readonly kind: "arr";
  /** Port of 127.0.0.1, where the gateway runs as a service of its own. */
  readonly port: number;
  /** What the rule sets as `HTTP_COUNTERSIGN_PROOF`. */
  readonly proof?: string;
  /** `minResponseBuffer`, bytes. Default 0, as our generator writes it; ARR's own default is 256 KB. */
  readonly minResponseBuffer?: number;
  /** Whether the rule empties `HTTP_SEC_WEBSOCKET_EXTENSIONS`. Default true. */
  readonly removesExtensions?: boolean;
  /** `xForwardedForHeaderName`. Default `X-Forwarded-For`. */
  readonly forwardedForHeader?: string;
  /** `timeout`. Default two minutes. */
  readonly requestTimeoutMs?: number;
}

/** A running site, whether a stand-in plays it or a real IIS. */
export interface IisSite {
  readonly url: string;
  readonly port: number;
  /** The W3C log of the site. */
  readonly logFile: string;
  /** Has what is collected of the log written. */
  readonly flushLog: () => void;
  /** The process behind ASP.NET Core Module V2; undefined before it is started, after it was shut down, and for ARR. */
  readonly process: () => { readonly port: number; readonly pid: number } | undefined;
  /** Switches Windows authentication, and anonymous the other way, as an administrator does. */
  readonly setWindowsAuthentication: (isOn: boolean) => void;
  /** Ends the process as a recycling pool does, so that the next request starts another. @returns whether it ended by itself */
  readonly recycle: () => Promise<boolean>;
  readonly stop: () => Promise<void>;
}
