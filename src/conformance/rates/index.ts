import type { RateCase } from "../conformance-case.ts";

/** What the `rates` contract promises, sentence by sentence. */
export const rateCases: readonly RateCase[] = [];
