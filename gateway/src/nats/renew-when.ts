import { setTimeout as delay } from "node:timers/promises";

/** A credential is renewed after this part of its life, so that four attempts fit before it ends. */
const RENEW_AFTER = 0.6;
/** Spread over this part of its life, so that connections of one moment do not renew at one moment. */
const RENEW_SPREAD = 0.1;
const RENEW_RETRY_AFTER = 0.1;
const RENEW_WAIT_MIN_MS = 1_000;

/** On another server interest takes time to travel the routes: both are kept subscribed so long. */
export const OTHER_SERVER_SETTLE_MS = 500;

/** setTimeout fires at once beyond 2^31−1 ms. */
export const TIMER_MS_MAX = 2_147_483_647;

/** @param leftSeconds  of the credential's life. @param failures  attempts in a row that have failed */
export function renewInMs(leftSeconds: number, failures: number): number {
  const after = failures === 0 ? RENEW_AFTER + RENEW_SPREAD * Math.random() : RENEW_RETRY_AFTER;
  return Math.min(TIMER_MS_MAX, Math.max(RENEW_WAIT_MIN_MS, leftSeconds * 1000 * after));
}

/** Waits, at most until the signal. Never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
