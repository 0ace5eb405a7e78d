import type { IncomingMessage } from "node:http";
import type { Outcome } from "../refusal.ts";
import type { SignedIdentity } from "./signed-identity.ts";

/** What stands in front of the listener, proven for one request, and what it says of it. */
export interface Hop {
  /** Whether anything stands in front: then the other end of the connection is not the caller. */
  readonly forwards: boolean;
  /** The caller's address as it saw it: the last element of `X-Forwarded-For`. */
  readonly caller?: string;
  /** As it was reached: the last element of `X-Forwarded-Proto`. */
  readonly scheme?: "http" | "https";
  /** The request id it gave, only from one that overwrites what a visitor sends. */
  readonly requestId?: string;
  /** `shutdown`: IIS asks this process to end. */
  readonly event?: string;
  readonly vouched: Vouched;
}

/** Proofs that came from the hop itself and were taken out of the headers. They are judged by `identify`. */
export interface Vouched {
  /** What our module in IIS signed for this request: the signature, the time and the method hold. */
  readonly signed?: SignedIdentity;
  /** DER of the client certificate that IIS asked for; behind ARR the one that `signed` names. */
  readonly certificate?: Uint8Array;
  /** `X-MS-CLIENT-PRINCIPAL`, base64 of JSON. */
  readonly easyAuth?: string;
}

/** The part of a request that a hop is judged by; of an upgrade as of any other. */
export type Arrived = Pick<IncomingMessage, "rawHeaders" | "headers" | "socket" | "method">;

/**
 * Judges what a request came through, and takes every header by which it proves itself or names a user out of the
 * request, so that none is logged, recorded or passed on.
 *
 * @returns `hop_unproven` for a request that did not come through what it should; `hop_unfit` for one whose hop is
 *   set up so that it harms us; `proof_malformed` for a header that a client made up
 */
export type JudgeHop = (request: Arrived) => Outcome<Hop>;
