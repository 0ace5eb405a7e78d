import { GatewayError } from "../../errors.ts";
import { type PlacedGroup, placeFiles, type SourceFile } from "../config/placement.ts";
import { locationsOf, type View, viewAt } from "../config/view.ts";
import { isAtOrBelow, type VirtualPath } from "../config/virtual-path.ts";
import { checkFiltering } from "./check-filtering.ts";
import { checkIdentityModule } from "./check-identity-module.ts";
import { checkLocks } from "./check-locks.ts";
import { checkProcess } from "./check-process.ts";
import { checkComments, checkSchema } from "./check-schema.ts";
import { checkServer } from "./check-server.ts";
import { checkStreaming } from "./check-streaming.ts";
import { checkTrust } from "./check-trust.ts";
import type { Examination } from "./examination.ts";
import type { Finding } from "./finding.ts";
import { type Hosts, recogniseHosts } from "./hosts.ts";
import { checkInstalled } from "./installed.ts";
import { collectFindings, type Findings } from "./report.ts";

export interface ExamineOptions {
  /** Which site, or application of one, the outermost web.config is of: `Site`, `Site/bus`. */
  readonly site?: string;
  /** Takes every Node process and proxying rule for the gateway. */
  readonly assumeGateway: boolean;
}

/** What was looked at, and what was found. */
export interface Examined {
  readonly findings: readonly Finding[];
  /** Whether the server's own file was there. */
  readonly knowsHost: boolean;
  /** Whether anything was recognised that runs behind IIS. */
  readonly hasHosts: boolean;
  /** There is more than is kept. */
  readonly truncated: boolean;
}

const CHECKS: readonly ((examination: Examination) => void)[] = [
  ({ view, report }) => checkSchema(view, report),
  checkLocks,
  checkInstalled,
  checkTrust,
  checkIdentityModule,
  checkProcess,
  checkStreaming,
  checkFiltering,
  checkServer,
];

/**
 * Examines copies of IIS's configuration: what IIS would refuse, what would not work, and what would let somebody pass
 * for somebody else.
 *
 * @throws GatewayError CONFIG_INVALID when it is not known which site a web.config is of, or it is more than is examined
 */
export function examineConfigs(files: readonly SourceFile[], options: ExamineOptions): Examined {
  const groups = placeFiles(files, options.site);
  const examined = groups.map((group) => examineGroup(group, options.assumeGateway));
  return {
    findings: examined.flatMap(({ findings }) => findings),
    knowsHost: files.some(({ config }) => config.kind === "host"),
    hasHosts: examined.some(({ hasHosts }) => hasHosts),
    truncated: examined.some(({ truncated }) => truncated),
  };
}

function examineGroup(group: PlacedGroup, assumeGateway: boolean): Omit<Examined, "knowsHost"> {
  const findings = collectFindings();
  for (const config of group.files)
    checkComments({ config, element: config.root, path: config.base }, findings.report);
  const recognised = placesOf(group).map((path) => {
    const view = viewAt(group.files, path, group.boundaries);
    const hosts = recogniseHosts(view, assumeGateway);
    const isGateway = hosts.process?.isGateway === true || hosts.proxies.some((proxy) => proxy.isGateway);
    const application = group.applications.findLast((each) => isAtOrBelow(path, each.path));
    const { report } = findings;
    const isAssumed = isGateway || assumeGateway;
    for (const check of CHECKS) {
      check({ view, application, applications: group.applications, hosts, isGateway: isAssumed, report });
    }
    return { view, hosts, isGateway };
  });
  if (!recognised.some(({ isGateway }) => isGateway)) noteUnrecognised(recognised, findings);
  return {
    findings: findings.all(),
    hasHosts: recognised.some(({ hosts }) => hosts.process !== undefined || hosts.proxies.length > 0),
    truncated: findings.truncated(),
  };
}

/** The places to look at: where each file belongs, and every `<location>` below. */
function placesOf({ files, targets }: PlacedGroup): readonly VirtualPath[] {
  const located = files.flatMap((config) => locationsOf(config).map(({ path }) => path));
  const all = [...targets, ...located.filter((path) => targets.some((target) => isAtOrBelow(path, target)))];
  const places = [...new Map(all.map((path) => [path.toLowerCase(), path])).values()];
  if (places.length <= PLACES_MAX) return places;
  throw new GatewayError(
    "CONFIG_INVALID",
    `Cannot examine ${places.length} places at once, at most ${PLACES_MAX}; say --site to examine one application`,
  );
}

/** Each is looked at on its own: this many take some seconds. */
const PLACES_MAX = 2_000;

function noteUnrecognised(
  recognised: readonly { readonly view: View; readonly hosts: Hosts }[],
  { hidden, report }: Findings,
): void {
  const codes = [...hidden()].sort();
  const [first] = recognised.flatMap(({ hosts }) => [
    ...(hosts.process ? [hosts.process] : []),
    ...hosts.proxies.map(({ rule }) => rule),
  ]);
  if (!first || codes.length === 0) return;
  const found = `This leads to something that is not known to be the gateway. Were it, these would be found: ${codes.join(", ")}.`;
  report("gateway-unrecognised", { layer: first.layer, node: first.element }, { found });
}
