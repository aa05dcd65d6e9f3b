import type { MessageCase } from "../conformance-case.ts";
import { administrationCases } from "./administration.ts";
import { batchCases } from "./batches.ts";
import { broadcastCases } from "./broadcast.ts";
import { consumingCases } from "./consuming.ts";
import { messagingCrashCases } from "./crashes.ts";
import { exchangeCases } from "./exchanges.ts";
import { expiryCases } from "./expiry.ts";
import { failureCases } from "./failures.ts";
import { limitCases } from "./limits.ts";
import { lossCases } from "./losses.ts";
import { memberCases } from "./members.ts";
import { publishingCases } from "./publishing.ts";
import { requestCases } from "./requests.ts";
import { subscriptionCases } from "./subscriptions.ts";

/** What the messaging block promises on every engine, sentence by sentence. */
export const blockCases: readonly MessageCase[] = [
  ...publishingCases,
  ...consumingCases,
  ...failureCases,
  ...memberCases,
  ...batchCases,
  ...subscriptionCases,
  ...lossCases,
  ...administrationCases,
  ...broadcastCases,
  ...expiryCases,
  ...exchangeCases,
  ...requestCases,
  ...messagingCrashCases,
  ...limitCases,
];
