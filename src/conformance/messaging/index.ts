import type { MessageCase } from "../conformance-case.ts";
import { administrationCases } from "./administration.ts";
import { broadcastCases } from "./broadcast.ts";
import { consumingCases } from "./consuming.ts";
import { messagingCrashCases } from "./crashes.ts";
import { expiryCases } from "./expiry.ts";
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
  ...administrationCases,
  ...broadcastCases,
  ...expiryCases,
  ...messagingCrashCases,
  ...limitCases,
];
