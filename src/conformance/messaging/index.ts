import type { MessageCase } from "../conformance-case.ts";
import { consumingCases } from "./consuming.ts";
import { messagingCrashCases } from "./crashes.ts";
import { failureCases } from "./failures.ts";
import { limitCases } from "./limits.ts";
import { memberCases } from "./members.ts";
import { publishingCases } from "./publishing.ts";

/** What the messaging block promises on every engine, sentence by sentence. */
export const blockCases: readonly MessageCase[] = [
  ...publishingCases,
  ...consumingCases,
  ...failureCases,
  ...memberCases,
  ...messagingCrashCases,
  ...limitCases,
];
