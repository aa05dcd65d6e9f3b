export type { Fetch } from "./builtins/builtins.ts";
export { type ClockReadings, ClockRecord, rightClock } from "./checkers/clock-record.ts";
export {
  type KeyValueHistory,
  type KeyValueInput,
  type KeyValueOperation,
  type KeyValueOutput,
  keyValueHistory,
  recordKeyValues,
} from "./checkers/key-value-history.ts";
export { keyValueModel } from "./checkers/key-value-model.ts";
export { checkKeyValues, type KeyValueRules } from "./checkers/key-value-rules.ts";
export {
  type EffectResult,
  type GuardedEffect,
  type Hold,
  LeaseHistory,
  type LeaseInput,
  type LeaseOperation,
  type LeaseOutput,
  recordLeases,
} from "./checkers/lease-history.ts";
export {
  checkEffects,
  checkFairness,
  checkLeases,
  checkLeasesAtRest,
  type LeaseRules,
} from "./checkers/lease-rules.ts";
export {
  checkLinearizable,
  type LinearizabilityOptions,
  type LinearizabilityVerdict,
  requireLinearizable,
  type SequentialModel,
} from "./checkers/linearizability.ts";
export {
  checkAppended,
  checkDerivedOnce,
  type DerivedRecord,
  type LogAppend,
  type LogPlace,
} from "./checkers/log-rules.ts";
export { checkMessaging, type MessagingExpectations, messagingViolations } from "./checkers/messaging-checker.ts";
export {
  MessagingHistory,
  type MessagingHistoryOptions,
  type RecordedCall,
  type RecordedDelivery,
} from "./checkers/messaging-history.ts";
export {
  type Recording,
  type RecordingInterceptor,
  recordedMessages,
  recordingInterceptor,
} from "./checkers/messaging-recording.ts";
export type {
  CallOutcome,
  DeadLetterRecord,
  DeliveredMessage,
  DeliveryEnding,
  DeliveryRecord,
  DescriptionRecord,
  HealthyTime,
  Moment,
  PublishedMessage,
  PublishRecord,
  RestRecord,
  SeekRecord,
  SettleRecord,
} from "./checkers/messaging-records.ts";
export { type ErrorMeaning, type Operation, OperationHistory } from "./checkers/operation-history.ts";
export {
  type RateHistory,
  type RateInput,
  type RateOperation,
  type RateOutput,
  rateHistory,
  recordRates,
} from "./checkers/rate-history.ts";
export { checkRates, type RateRules } from "./checkers/rate-rules.ts";
export { checkWatchAtRest, checkWatchedValues, readWatch, WatchRecord } from "./checkers/watch-record.ts";
export type { CrashOutcome, OperationKind, PlannedFault } from "./disk/fault-plan.ts";
export type { DiskLatency } from "./disk/simulated-disk.ts";
export type { FaultOptions, SimulatedDiskControl } from "./disk/simulated-disk-control.ts";
export {
  type FaultChoice,
  type FaultKind,
  type FaultSettings,
  faultKinds,
  type Span,
  type StruckFault,
} from "./faults/fault-settings.ts";
export {
  fetchOver,
  type HttpHandler,
  type HttpServer,
  type HttpServerOptions,
  serveHttp,
} from "./http/simulated-http.ts";
export {
  type ConnectionInfo,
  calmNetwork,
  type NetworkSettings,
  type SimulatedNetworkControl,
} from "./network/network-control.ts";
export { simulate } from "./simulate.ts";
export { SimulatedCrash, type Simulation, type SimulationOptions, simulatedWorld } from "./simulation.ts";
export {
  type SimulatedDatabase,
  type SimulatedDatabaseOptions,
  type SqlOverOptions,
  simulatedDatabase,
  sqlOver,
} from "./sql/simulated-sql.ts";
export {
  type Main,
  type ProcessContext,
  type ProcessHandle,
  type ProcessOptions,
  type Scenario,
  type ScenarioRandom,
  type SimulatedSystem,
  type SimulateOptions,
  SimulationFailure,
  type SimulationReport,
  type TraceLine,
  Violation,
} from "./system.ts";
