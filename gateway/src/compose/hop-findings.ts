import type { JudgeHop } from "../hop/hop.ts";
import type { EpochSeconds } from "../time.ts";
import type { Base } from "./base.ts";

/** One line for each kind of finding, however many requests show it. */
const REPEAT_SECONDS = 60;

/**
 * Tells the operator what requests show of how the hop is set up, in the log and in readyz: each is recorded, and
 * nobody reads the records of a gateway that refuses everything to learn why.
 */
export function withFindings(judge: JudgeHop, { config, log, clock, readiness }: Base): JudgeHop {
  let unfit: string | undefined;
  const saidAt = new Map<string, EpochSeconds>();
  readiness.add("hop", () => unfit, "Mend it in the configuration of IIS, and restart the site.");

  function isDue(what: string): boolean {
    const now = clock();
    const last = saidAt.get(what);
    if (last !== undefined && now < last + REPEAT_SECONDS) return false;
    saidAt.set(what, now);
    return true;
  }

  const expectsSigned = config.edgeIssuers.some(({ kind }) => kind === "windows");
  const isHttps = config.publicUrl.startsWith("https:");
  return function judgeWithFindings(request) {
    const outcome = judge(request);
    if (!outcome.ok && outcome.refusal.reason === "hop_unfit") {
      unfit = outcome.refusal.why;
      if (isDue("unfit")) log.error({ why: unfit }, "requests are refused for how IIS is set up");
    }
    if (outcome.ok && isHttps && outcome.value.scheme === "http" && isDue("http")) {
      log.warn(
        "what stands in front was reached over http, where anybody on the way reads cookies and tokens",
      );
    }
    if (outcome.ok && expectsSigned && !outcome.value.vouched.signed && isDue("unsigned")) {
      log.warn(
        "a request came through IIS without the signature of CountersignIdentity.cs: is it in App_Code, in <modules>, with CountersignKey, and the pool on .NET CLR v4.0, Integrated?",
      );
    }
    return outcome;
  };
}
