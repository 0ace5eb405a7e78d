import type { Clock } from "../time.ts";

/** What a command may touch of the process it runs in, so that tests run commands without one. */
export interface CommandIo {
  /** Answers: what a pipe receives. */
  readonly out: (text: string) => void;
  /** Progress, warnings and errors. */
  readonly err: (text: string) => void;
  /** All of standard input, at most `bytesMax`; rejects beyond. */
  readonly stdin: (bytesMax: number) => Promise<Buffer>;
  /** Asks whoever sits there, with one line for an answer. Absent where nobody does. */
  readonly ask?: (question: string) => Promise<string>;
  /** Whether `out` is a terminal that shows colours (honours NO_COLOR). */
  readonly colours: boolean;
  /** Whether `err` is a terminal, which shows progress. */
  readonly terminal: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly clock: Clock;
  /** Sets the exit code: one of `EXIT`. The command ends by returning. */
  readonly exit: (code: ExitCode) => void;
  /** Calls back on SIGHUP, where there is one. */
  readonly onHangup: (listener: () => void) => void;
  /** Aborts on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

/** Exit codes of the whole command. */
export const EXIT = {
  yes: 0,
  /** No, or failed. */
  no: 1,
  /** Usage, or input that cannot be read. */
  usage: 2,
  /** `policy diff`: the new policy is wider. */
  wider: 3,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
