import type { MessageCase } from "./conformance-case.ts";
import { contractCases } from "./messages/index.ts";
import { blockCases } from "./messaging/index.ts";

export {
  type CaseOutcome,
  type ConformanceCase,
  type ConformanceHost,
  type KeyValueCase,
  type KeyValueSubject,
  type KeyValuesEngine,
  type LeaseCase,
  type LeaseSubject,
  type LeasesEngine,
  type LogCase,
  type LogSubject,
  type LogsEngine,
  type MessageCase,
  type MessageSubject,
  type MessagesEngine,
  type RateCase,
  type RateSubject,
  type RatesEngine,
  type RunningEngine,
  runCase,
} from "./conformance-case.ts";
export {
  type CoordinatingEngine,
  type CoordinationCase,
  type CoordinationSubject,
  coordinationCases,
} from "./coordination/index.ts";
export { keyValueCases } from "./key-value/index.ts";
export { leaseCases } from "./leases/index.ts";
export { logCases } from "./log/index.ts";
export { rateCases } from "./rates/index.ts";

/** What messaging means on every engine: first the contract by itself, then the messaging block over the engine. */
export const messageCases: readonly MessageCase[] = [...contractCases, ...blockCases];
