import { poolSetting } from "../config/sites.ts";
import { attributeAt, elementsAt, type Found, isFalse, isTrue, type View } from "../config/view.ts";
import { attributeNodeOf, attributeOf } from "../config/xml.ts";
import type { Examination } from "./examination.ts";
import { moduleKeyAt } from "./hosts.ts";
import { quoted } from "./report.ts";

/** What IIS says of who signs in, and our module in it. */
export function checkIdentityModule({ view, hosts, application, isGateway, report }: Examination): void {
  const { identityModule } = hosts;
  if (!identityModule) {
    checkModuleMissing({ view, isGateway, report });
    return;
  }
  const { layer, element } = identityModule;
  const preCondition = attributeNodeOf(element, "preCondition");
  if (preCondition && /managedHandler/i.test(preCondition.value)) {
    report(
      "module-skips-requests",
      { layer, node: preCondition },
      { found: `preCondition=${quoted(preCondition.value)}.` },
    );
  }
  checkModuleKey(view, identityModule, report);
  const pool = application?.pool;
  const host = view.layers.find(({ config }) => config.kind === "host");
  if (!pool || !host) return;
  const runtime = poolSetting(pool, "managedRuntimeVersion");
  const mode = poolSetting(pool, "managedPipelineMode");
  const isUnmanaged = runtime.value !== undefined && !/^v4/i.test(runtime.value);
  if (!isUnmanaged && !/^classic$/i.test(mode.value ?? "")) return;
  const { name, at } = isUnmanaged
    ? { name: `managedRuntimeVersion=${quoted(runtime.value ?? "")}`, at: runtime }
    : { name: `managedPipelineMode=${quoted(mode.value ?? "")}`, at: mode };
  const found = `The pool ${quoted(pool.name)} has ${name}.`;
  report("module-pool-unfit", { layer: host, node: at.element }, { found });
}

function checkModuleKey(view: View, module: Found, report: Examination["report"]): void {
  const key = moduleKeyAt(view);
  if (key) {
    const node = attributeNodeOf(key.element, "value");
    const bytes = Buffer.from(node?.value.trim() ?? "", "base64").length;
    if (key.layer.config.kind === "web") {
      const found = "CountersignKey stands in this file.";
      report("module-key-in-web-config", { layer: key.layer, node: key.element }, { found });
    }
    if (bytes >= KEY_BYTES_MIN) return;
    const found = `CountersignKey has ${bytes} bytes; expected base64 of ${KEY_BYTES_MIN} or more.`;
    report("module-key-missing", { layer: key.layer, node: node ?? key.element }, { found });
    return;
  }
  // It may stand in a file of its own, which is not looked into: it holds the secret.
  const isElsewhere = elementsAt(view, "appSettings").some(
    ({ element }) =>
      attributeOf(element, "file") !== undefined || attributeOf(element, "configSource") !== undefined,
  );
  if (isElsewhere) return;
  report(
    "module-key-missing",
    { layer: module.layer, node: module.element },
    { found: "There is no CountersignKey in appSettings." },
  );
}

const KEY_BYTES_MIN = 32;

function checkModuleMissing({
  view,
  isGateway: gateway,
  report,
}: Pick<Examination, "view" | "isGateway" | "report">): void {
  const authentication = "system.webServer/security/authentication";
  const windows = attributeAt(view, `${authentication}/windowsAuthentication`, "enabled");
  const anonymous = attributeAt(view, `${authentication}/anonymousAuthentication`, "enabled");
  // With anonymous on as well IIS asks nobody, and the gateway signs people in by itself.
  if (!windows || !isTrue(windows.value) || !isFalse(anonymous?.value)) return;
  const found = "Windows authentication is on, and anonymous is off.";
  report("module-missing", { layer: windows.layer, node: windows.attribute }, { found, gateway });
}
