import type { KeyValueCase } from "../conformance-case.ts";
import { commitCases } from "./commits.ts";
import { counterCases } from "./counters.ts";
import { crashCases } from "./crashes.ts";
import { expiryCases } from "./expiry.ts";
import { limitCases } from "./limits.ts";
import { scanCases } from "./scans.ts";
import { watchCases } from "./watches.ts";

/** What the `keyValue` contract promises, sentence by sentence. */
export const keyValueCases: readonly KeyValueCase[] = [
  ...commitCases,
  ...counterCases,
  ...expiryCases,
  ...scanCases,
  ...watchCases,
  ...limitCases,
  ...crashCases,
];
