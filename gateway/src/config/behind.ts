import type { z } from "zod";
import type { AuditConfig } from "./audit.ts";
import type { IssuersConfig } from "./issuer.ts";
import type { LimitsConfig, LimitsInForce } from "./limits.ts";
import type { ListenConfig } from "./listen.ts";
import { isLoopback } from "./values.ts";

/** What of the whole file depends on what stands in front. */
interface Whole {
  readonly "public-url": string;
  readonly listen: ListenConfig;
  readonly issuers: IssuersConfig;
  readonly audit: readonly AuditConfig[];
  readonly limits: LimitsConfig;
}

const KEEP_ALIVE_MS = 75_000;
/** IIS keeps a connection to what is behind it for two minutes. */
const IIS_KEEP_ALIVE_MS = 120_000;
const BEHIND_IIS_KEEP_ALIVE_MS = 240_000;

/** Idle connections stay longer than what stands in front keeps them: the random 502 of a request that meets a closing one. */
export function limitsOf({ listen, limits }: Pick<Whole, "listen" | "limits">): LimitsInForce {
  const byDefault = isIis(listen) ? BEHIND_IIS_KEEP_ALIVE_MS : KEEP_ALIVE_MS;
  return { ...limits, keepAliveTimeoutMs: limits.keepAliveTimeoutMs ?? byDefault };
}

/** What only the file as a whole can be wrong in. */
export function checkBehind(whole: Whole, issues: z.core.$RefinementCtx): void {
  const wrong = (path: readonly PropertyKey[], message: string): void =>
    issues.addIssue({ code: "custom", path: [...path], message });
  checkProven(whole, wrong);
  checkApplicationPath(whole, wrong);
  checkEdgeIssuers(whole, wrong);
  const { listen, audit, limits } = whole;
  if (listen.behind?.kind === "iis-ancm" && audit.every(({ to }) => to === "stdout")) {
    wrong(
      ["audit"],
      "IIS discards what this process writes to standard output; add { file: PATH } or { stream: AUDIT }",
    );
  }
  if (isIis(listen) && (limits.keepAliveTimeoutMs ?? BEHIND_IIS_KEEP_ALIVE_MS) <= IIS_KEEP_ALIVE_MS) {
    wrong(
      ["limits", "keep-alive"],
      "expected more than 2m behind IIS, which keeps its own connections for that long",
    );
  }
}

type Wrong = (path: readonly PropertyKey[], message: string) => void;

/** Any process of this machine can connect to loopback, and beyond it any machine. */
function checkProven({ listen, issuers }: Whole, wrong: Wrong): void {
  const { behind, clientCa } = listen;
  const isBeyond = listen.host !== undefined && !isLoopback(listen.host);
  const isSigned = issuers.edgeIssuers.some(({ kind }) => kind === "windows");
  if (behind?.kind === "iis-arr" && !clientCa && !isSigned) {
    if (!behind.proof) {
      wrong(
        ["listen", "behind"],
        "IIS must prove itself: add proof: { file: PATH }, client-ca, or an issuer with windows-auth",
      );
    } else if (isBeyond) {
      wrong(
        ["listen", "proof"],
        "a secret that is the same in every request proves IIS on this machine only; beyond it add client-ca, or an issuer with windows-auth, whose module signs each request",
      );
    }
  }
  if (behind?.kind === "proxy" && isBeyond && !clientCa) {
    wrong(["listen", "behind"], "the proxy must prove itself beyond this machine: add client-ca: PATH");
  }
}

/** IIS compares paths without regard to case; ours in cookies and issuer names does not, but is not compared with IIS's. */
function checkApplicationPath(whole: Whole, wrong: Wrong): void {
  const { behind } = whole.listen;
  const given = behind?.kind === "iis-ancm" ? behind.process?.applicationPath : undefined;
  if (given === undefined) return;
  const expected = new URL(whole["public-url"]).pathname;
  if (plain(given) === plain(expected)) return;
  wrong(
    ["public-url"],
    `its path is ${expected}, and IIS runs this process as the application ${given}; let the two agree`,
  );
}

function plain(path: string): string {
  return path.replace(/\/+$/, "").toLowerCase();
}

function checkEdgeIssuers({ listen, issuers }: Whole, wrong: Wrong): void {
  const kinds = new Set<string>();
  for (const { name, kind } of issuers.edgeIssuers) {
    if (kinds.has(kind))
      wrong(["issuers", name], "a second issuer of its kind: whose a proof is would not be known");
    kinds.add(kind);
    if (kind === "easy-auth" && listen.behind) {
      wrong(
        ["issuers", name],
        "App Service stands in front of it and of nothing else; remove behind from listen",
      );
    }
    if (kind !== "easy-auth" && !isIis(listen)) {
      wrong(
        ["issuers", name],
        "its word comes from IIS, and nothing of it stands in front; set listen: behind to iis-ancm or iis-arr",
      );
    }
    if (kind === "certificates" && listen.behind?.kind === "iis-arr") {
      const signs = issuers.edgeIssuers.some((issuer) => issuer.kind === "windows");
      if (!signs) {
        wrong(
          ["issuers", name],
          "behind iis-arr it needs an issuer with windows-auth besides: only the module's signature tells ARR's header from one that a visitor sent",
        );
      }
    }
  }
}

function isIis({ behind }: ListenConfig): boolean {
  return behind?.kind === "iis-ancm" || behind?.kind === "iis-arr";
}
