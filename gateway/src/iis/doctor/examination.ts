import type { Application } from "../config/sites.ts";
import type { View } from "../config/view.ts";
import type { Hosts } from "./hosts.ts";
import type { Report } from "./report.ts";

/** What every check is given: one place of the hierarchy, and what was recognised there. */
export interface Examination {
  readonly view: View;
  /** The application it belongs to; undefined without applicationHost.config. */
  readonly application: Application | undefined;
  /** All applications of the server. */
  readonly applications: readonly Application[];
  readonly hosts: Hosts;
  /** Whether anything at this place is the gateway, or is taken for it. */
  readonly isGateway: boolean;
  readonly report: Report;
}
