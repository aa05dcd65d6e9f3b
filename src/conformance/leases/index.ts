import type { LeaseCase } from "../conformance-case.ts";
import { acquiringCases } from "./acquiring.ts";
import { crashCases } from "./crashes.ts";
import { describingCases } from "./describing.ts";
import { expiryCases } from "./expiry.ts";
import { limitCases } from "./limits.ts";
import { tokenCases } from "./tokens.ts";
import { waitingCases } from "./waiting.ts";

/** What the `leases` contract promises, sentence by sentence. */
export const leaseCases: readonly LeaseCase[] = [
  ...acquiringCases,
  ...waitingCases,
  ...expiryCases,
  ...tokenCases,
  ...describingCases,
  ...limitCases,
  ...crashCases,
];
