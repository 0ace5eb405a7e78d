/** Something an operator must mend. Match on `code`; the message may improve. */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly code: GatewayErrorCode;

  constructor(code: GatewayErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export type GatewayErrorCode =
  /** The configuration file cannot be read or is wrong. */
  | "CONFIG_INVALID"
  /** The policy cannot be read or is wrong. */
  | "POLICY_INVALID"
  /** The keys that `countersign init` wrote are missing, unreadable or do not fit together. */
  | "KEYS_INVALID"
  /** The address to listen on is taken, or not ours to take. */
  | "LISTEN_FAILED"
  /** No NATS server could be reached, or it refused the gateway's own credentials. */
  | "NATS_UNREACHABLE"
  /** A NATS server is reachable but may not be used: too old, no trusted proxy, no JetStream. */
  | "NATS_UNFIT"
  /** No audit sink takes the record. */
  | "AUDIT_UNWRITABLE";

/** Why a file could not be read, for the operator: node's own "ENOENT: no such file or directory, stat" in words. */
export function fileFaultOf(error: unknown): string {
  switch ((error as NodeJS.ErrnoException | undefined)?.code) {
    case "ENOENT":
    case "ENOTDIR":
      return "there is no such file or folder";
    case "EACCES":
    case "EPERM":
      return "this user may not read it";
    case "EISDIR":
      return "it is a folder";
    default:
      return messageOf(error);
  }
}

/** What a caught value says of itself, for a record, a log or another error: never for a caller. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
