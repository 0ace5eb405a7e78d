/** What one look at a running site showed. */
export interface Probed {
  readonly probe: string;
  /** `unseen`: it could not be looked at; `found` says what that would take. */
  readonly outcome: "right" | "wrong" | "unseen";
  readonly found: string;
  /** Of what is wrong: why it matters, and what would be right. */
  readonly why?: string;
  readonly fix?: string;
  /** Of the request that showed it, to be looked up in logs and records. */
  readonly requestId?: string;
}

/** What all probes need. */
export interface Site {
  /** With its base path, without a slash at its end. */
  readonly url: string;
  /** A bearer token, where there is one. */
  readonly token?: string;
  /** What the token may subscribe to. */
  readonly subject?: string;
  /** Looks for the records of one request in the gateway's audit log, where it was given. */
  readonly recordsOf?: (requestId: string) => Promise<readonly RecordSeen[]>;
  /** Seconds. */
  readonly clock: () => number;
  readonly signal: AbortSignal;
}

/** The part of a record that says where a request came from. */
export interface RecordSeen {
  readonly remote?: string;
  readonly clientRequestId?: string;
}
