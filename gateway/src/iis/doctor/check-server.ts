import { poolSetting } from "../config/sites.ts";
import { below, isFalse, isTrue } from "../config/view.ts";
import { attributeNodeOf, attributeOf, childrenOf } from "../config/xml.ts";
import { durationSeconds } from "./check-value.ts";
import type { Examination } from "./examination.ts";
import { type Place, quoted } from "./report.ts";

/** The pool, the site and its log, as applicationHost.config has them. */
export function checkServer(examination: Examination): void {
  const { view, application } = examination;
  const host = view.layers.find(({ config }) => config.kind === "host");
  if (!application || !host) return;
  checkPool(examination, host);
  checkLog(examination, host);
  checkSharedOrigin(examination, host);
}

type Host = Place["layer"];

/** A pool that ends takes what it started with it. Behind ARR the gateway runs on. */
function checkPool({ application, hosts, report }: Examination, layer: Host): void {
  const { process } = hosts;
  const pool = application?.pool;
  if (!process || !pool) return;
  const gateway = process.isGateway;
  const setting = (name: string) => poolSetting(pool, name);
  const say = (value: string | undefined, byDefault: string): string =>
    value === undefined ? `${byDefault}, the default` : value;

  const start = setting("startMode");
  if (!/^alwaysrunning$/i.test(start.value ?? "")) {
    const found = `The pool ${quoted(pool.name)} has startMode ${say(start.value, "OnDemand")}.`;
    report("pool-starts-late", { layer, node: start.element }, { found, gateway });
  }
  const idle = setting("processModel/idleTimeout");
  if (durationSeconds(idle.value ?? "00:20:00") !== 0) {
    const found = `The pool ${quoted(pool.name)} has idleTimeout ${say(idle.value, "00:20:00")}.`;
    report("pool-sleeps", { layer, node: idle.element }, { found, gateway });
  }
  const restart = setting("recycling/periodicRestart/time");
  if (durationSeconds(restart.value ?? "1.05:00:00") !== 0) {
    const found = `The pool ${quoted(pool.name)} has periodicRestart time ${say(restart.value, "1.05:00:00")}.`;
    report("pool-recycles", { layer, node: restart.element }, { found, gateway });
  }
  const rotation = setting("recycling/disallowOverlappingRotation");
  if (!isTrue(rotation.value)) {
    const found = `The pool ${quoted(pool.name)} has disallowOverlappingRotation ${say(rotation.value, "false")}.`;
    report("pool-overlaps", { layer, node: rotation.element }, { found, gateway });
  }
  const many = setting("processModel/maxProcesses");
  if (Number(many.value ?? 1) > 1) {
    const found = `The pool ${quoted(pool.name)} has maxProcesses ${many.value}.`;
    report("processes-many", { layer, node: many.element }, { found, gateway });
  }
}

function checkLog({ application, hosts, isGateway: gateway, report }: Examination, layer: Host): void {
  if (!application || (!hosts.process && hosts.proxies.length === 0)) return;
  const { site } = application;
  const defaults = below(layer.config.root, "system.applicationHost/sites/siteDefaults/logFile");
  const files = [...defaults, ...childrenOf(site, "logFile")];
  const fields = files.findLast((element) => attributeOf(element, "logExtFileFlags") !== undefined);
  const node = fields && attributeNodeOf(fields, "logExtFileFlags");
  if (node?.value.split(",").some((field) => field.trim().toLowerCase() === "cookie")) {
    report("cookie-logged", { layer, node }, { found: "The log has cs(Cookie).", gateway });
  }
  if (files.some((element) => isFalse(attributeOf(element, "enabled")))) return;
  const custom = files.flatMap((element) => below(element, "customFields/add"));
  const has = custom.some(
    (element) =>
      /^x-request-id$/i.test(attributeOf(element, "sourceName") ?? "") &&
      /^responseheader$/i.test(attributeOf(element, "sourceType") ?? ""),
  );
  if (has) return;
  const name = attributeOf(site, "name") ?? "";
  const found = `The log of ${quoted(name)} has no field of the answer's X-Request-Id.`;
  const snippet = `appcmd set config -section:system.applicationHost/sites "/+[name='${name}'].logFile.customFields.[logFieldName='x-request-id',sourceName='X-Request-Id',sourceType='ResponseHeader']" /commit:apphost`;
  report("request-id-not-logged", { layer, node: site }, { found, snippet, gateway });
}

/** Only what a visitor reaches under the same name. */
function checkSharedOrigin({ application, applications, hosts, report }: Examination, layer: Host): void {
  if (!application) return;
  const gateway = hosts.process?.isGateway === true || hosts.proxies.some(({ isGateway }) => isGateway);
  const others = applications.filter((each) => each.site === application.site && each !== application);
  if (others.length === 0 || (!hosts.process && hosts.proxies.length === 0)) return;
  const found = `The site has ${others.length} other application${others.length === 1 ? "" : "s"}: ${others
    .slice(0, 5)
    .map(({ path }) => path)
    .join(", ")}.`;
  report("shared-origin", { layer, node: application.element }, { found, gateway });
}
