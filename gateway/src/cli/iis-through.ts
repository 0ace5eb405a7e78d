import { resolve } from "node:path";
import { styleText } from "node:util";
import { GatewayError } from "../errors.ts";
import { AuditCollector } from "../iis/audit-collector.ts";
import type { Probed, RecordSeen, Site } from "../iis/through/probe.ts";
import { Unreachable } from "../iis/through/send.ts";
import { probeThrough } from "../iis/through/through.ts";
import { type CommandIo, EXIT } from "./io.ts";
import { createProgress } from "./progress.ts";
import { auditFilesAt, readAudit } from "./trace-logs.ts";

export interface ThroughFlags {
  readonly through: string;
  readonly token?: string;
  readonly subject?: string;
  readonly audit?: string;
  readonly json?: boolean;
}

const TOKEN_BYTES_MAX = 16_384;

/** `countersign iis doctor --through URL` */
export async function doctorThrough(io: CommandIo, flags: ThroughFlags): Promise<void> {
  const site = await siteOf(io, flags);
  const all: Probed[] = [];
  try {
    await probeThrough(site, (probed) => {
      all.push(probed);
      if (!flags.json) io.out(lineOf(probed, io.colours));
    });
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    throw new GatewayError("CONFIG_INVALID", `Cannot probe ${site.url}: ${error.message}`);
  }
  const wrong = all.filter(({ outcome }) => outcome === "wrong").length;
  const unseen = all.filter(({ outcome }) => outcome === "unseen").length;
  if (flags.json) io.out(`${JSON.stringify({ ok: wrong === 0, url: site.url, probes: all })}\n`);
  else
    io.out(
      `${wrong === 0 ? "nothing wrong" : `${wrong} wrong`}${unseen > 0 ? `; ${unseen} NOT SEEN, as said above` : ""}\n`,
    );
  io.exit(wrong === 0 ? EXIT.yes : EXIT.no);
}

async function siteOf(
  io: CommandIo,
  { through, token: tokenFlag, subject, audit }: ThroughFlags,
): Promise<Site> {
  const url = URL.parse(through);
  if (!url || !/^https?:$/.test(url.protocol) || url.search !== "" || url.username !== "") {
    throw wrong("--through", "expected where callers find the gateway, like https://bus.example.com/bus");
  }
  const token = await tokenOf(io, tokenFlag);
  if (
    token !== undefined &&
    url.protocol === "http:" &&
    !/^(?:127\.0\.0\.1|localhost|\[::1\])$/.test(url.hostname)
  ) {
    throw wrong("--through", "a token is not sent over http to another machine; use https");
  }
  return {
    url: `${url.origin}${url.pathname}`.replace(/\/+$/, ""),
    ...(token !== undefined && { token }),
    ...(subject !== undefined && { subject }),
    ...(audit !== undefined && { recordsOf: (id: string) => recordsIn(resolve(io.cwd, audit), id, io) }),
    clock: io.clock,
    signal: io.signal,
  };
}

/** Never from an argument, which every process of the machine could read. */
async function tokenOf(io: CommandIo, flag: string | undefined): Promise<string | undefined> {
  if (flag !== undefined && flag !== "-")
    throw wrong("--token", "expected -, which reads it from standard input");
  const text =
    flag === "-" ? (await io.stdin(TOKEN_BYTES_MAX)).toString("utf8").trim() : io.env.COUNTERSIGN_TOKEN;
  if (text === undefined || /^[\x21-\x7e]+$/.test(text)) return text;
  throw wrong("--token", "there is no access token on standard input, or in COUNTERSIGN_TOKEN");
}

async function recordsIn(file: string, requestId: string, io: CommandIo): Promise<readonly RecordSeen[]> {
  const files = await auditFilesAt(file);
  const collector = new AuditCollector({ kind: "id", text: requestId }, {});
  const progress = createProgress(
    io,
    files.reduce((sum, { bytes }) => sum + bytes, 0),
  );
  await readAudit(files, collector, progress);
  progress.done();
  return collector.decisions.map(({ record: { remote, clientRequestId } }) => ({
    ...(remote !== undefined && { remote }),
    ...(clientRequestId !== undefined && { clientRequestId }),
  }));
}

const MARKS = {
  right: ["ok      ", "green"],
  wrong: ["WRONG   ", "red"],
  unseen: ["NOT SEEN", "yellow"],
} as const;

function lineOf({ probe, outcome, found, why, fix, requestId }: Probed, colours: boolean): string {
  const [mark, colour] = MARKS[outcome];
  const painted = colours ? styleText(colour, mark) : mark;
  const id = requestId === undefined || outcome === "right" ? "" : `  (request ${requestId})`;
  return [
    `${painted}  ${probe}: ${found}${id}`,
    ...(why === undefined ? [] : [`          ${why}`]),
    ...(fix === undefined ? [] : [`          → ${fix}`]),
    "",
  ].join("\n");
}

function wrong(option: string, why: string): GatewayError {
  return new GatewayError("CONFIG_INVALID", `Cannot use ${option}: ${why}.`);
}
