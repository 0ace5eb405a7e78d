import { basename } from "node:path";
import type { CommandIo } from "./io.ts";

/** How far reading has come, on a terminal: a line that is written over. */
export interface Progress {
  /** What a reader of one of the files is given. */
  of(path: string): { readonly onBytes: (bytes: number) => void; readonly signal: AbortSignal };
  /** Takes the line away. */
  done(): void;
}

const EVERY_MS = 100;
const BAR_CHARACTERS = 30;

/** @param bytesTotal  of all files together */
export function createProgress({ err, terminal, clock, signal }: CommandIo, bytesTotal: number): Progress {
  let read = 0;
  let shownAtMs = 0;
  return {
    of: (path) => ({
      signal,
      onBytes(bytes) {
        read += bytes;
        const nowMs = clock() * 1000;
        if (!terminal || nowMs - shownAtMs < EVERY_MS) return;
        shownAtMs = nowMs;
        err(`\r\u001b[K${barOf(bytesTotal === 0 ? 1 : read / bytesTotal)} ${basename(path)}`);
      },
    }),
    done() {
      if (shownAtMs > 0) err("\r\u001b[K");
    },
  };
}

function barOf(part: number): string {
  const whole = Math.min(1, part);
  const filled = Math.round(whole * BAR_CHARACTERS);
  const percent = String(Math.floor(whole * 100)).padStart(3);
  return `[${"#".repeat(filled)}${".".repeat(BAR_CHARACTERS - filled)}] ${percent} %`;
}
