import { HOSTING, type HostingCode } from "./catalogue-hosting.ts";
import { SERVING, type ServingCode } from "./catalogue-serving.ts";
import { TRUST, type TrustCode } from "./catalogue-trust.ts";
import { VALIDITY, type ValidityCode } from "./catalogue-validity.ts";
import type { Entry } from "./entry.ts";

export type FindingCode = ValidityCode | TrustCode | HostingCode | ServingCode;

/** Every kind of finding, by its code. */
export const CATALOGUE: Readonly<Record<FindingCode, Entry>> = {
  ...VALIDITY,
  ...TRUST,
  ...HOSTING,
  ...SERVING,
};
