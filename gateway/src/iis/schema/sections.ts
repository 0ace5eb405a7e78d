import type { ElementFacts } from "./facts.ts";
import { HOSTS } from "./hosts.ts";
import { REWRITING } from "./rewriting.ts";
import { SECURITY } from "./security.ts";
import { SERVING } from "./serving.ts";

/** The sections we touch, by their path below `<configuration>`. Whatever is not here is not our business. */
export const SECTIONS: Readonly<Record<string, ElementFacts>> = {
  ...HOSTS,
  ...REWRITING,
  ...SECURITY,
  ...SERVING,
};

/** ARR's own section, whose schema is not public: only what is known not to be there is a mistake. */
export const PROXY_SECTION = "system.webServer/proxy";
export const NOT_IN_PROXY: ReadonlySet<string> = new Set(["responseBufferThreshold"]);
