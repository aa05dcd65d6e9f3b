import type { RateCase } from "../conformance-case.ts";
import { boundCases } from "./bounds.ts";
import { limitCases } from "./limits.ts";
import { particularCases } from "./particulars.ts";
import { permitCases } from "./permits.ts";

/** What the `rates` contract promises, sentence by sentence. */
export const rateCases: readonly RateCase[] = [...boundCases, ...particularCases, ...permitCases, ...limitCases];
