import type { LogCase } from "../conformance-case.ts";
import { appendingCases } from "./appending.ts";
import { closingCases } from "./closing.ts";
import { crashCases } from "./crashes.ts";
import { declaringCases } from "./declaring.ts";
import { readingCases } from "./reading.ts";
import { retentionCases } from "./retention.ts";
import { writingCases } from "./writing.ts";

/** What a log means on every engine. */
export const logCases: readonly LogCase[] = [
  ...declaringCases,
  ...appendingCases,
  ...readingCases,
  ...retentionCases,
  ...writingCases,
  ...crashCases,
  ...closingCases,
];
