import { appcmdScript } from "./appcmd.ts";
import { checklist } from "./checklist.ts";
import { gatewayConfig } from "./gateway-config.ts";
import { powershellScript } from "./powershell.ts";
import { serverSteps } from "./server-steps.ts";
import { serviceConfig } from "./service.ts";
import { moduleKeyConfig, webConfig } from "./web-config.ts";
import { type DeploySecrets, type DeployWish, FILES, needsModule } from "./wish.ts";

/** One file of a deployment. */
export interface DeployFile {
  /** Below the folder, with `/`. */
  readonly path: string;
  readonly what: string;
  readonly text: string;
  /** Readable by its owner alone, never shown, and never replaced. */
  readonly secret?: true;
  /** cmd reads labels wrongly without. */
  readonly crlf?: true;
}

/**
 * Everything that a deployment is made of.
 *
 * @param module  the C# source of the identity module, as it is shipped
 */
export function deployFiles(wish: DeployWish, secrets: DeploySecrets, module: string): readonly DeployFile[] {
  const steps = serverSteps(wish);
  const isArr = wish.behind === "iis-arr";
  const files: readonly (DeployFile | false)[] = [
    { path: FILES.checklist, what: "the steps in their order", text: checklist(wish) },
    {
      path: FILES.powershell,
      what: "what is set on the server, for PowerShell",
      text: powershellScript(steps),
    },
    { path: FILES.appcmd, what: "the same for appcmd", text: appcmdScript(steps), crlf: true },
    { path: FILES.gatewayConfig, what: "for countersign.yaml", text: gatewayConfig(wish) },
    { path: FILES.webConfig, what: "the site's own configuration", text: webConfig(wish) },
    isArr && { path: FILES.service, what: "the gateway as a Windows service", text: serviceConfig(wish) },
    isArr && {
      path: FILES.proof,
      what: "the secret of the rewrite rule",
      text: `${secrets.proof}\n`,
      secret: true,
    },
    ...(needsModule(wish) ? moduleFiles(secrets, module) : []),
  ];
  return files.filter((file) => file !== false);
}

function moduleFiles({ key }: DeploySecrets, module: string): readonly DeployFile[] {
  return [
    { path: FILES.module, what: "the identity module, which IIS compiles", text: module },
    { path: FILES.key, what: "the module's key, for the gateway", text: `${key}\n`, secret: true },
    { path: FILES.moduleKey, what: "the same key, for the module", text: moduleKeyConfig(key), secret: true },
  ];
}
