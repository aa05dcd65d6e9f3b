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
export type { CrashOutcome, OperationKind, PlannedFault } from "./fault-plan.ts";
export {
  type FaultChoice,
  type FaultKind,
  type FaultSettings,
  faultKinds,
  type Span,
  type StruckFault,
} from "./fault-settings.ts";
export {
  type ConnectionInfo,
  calmNetwork,
  type NetworkSettings,
  type SimulatedNetworkControl,
} from "./network-control.ts";
export { simulate } from "./simulate.ts";
export type { DiskLatency } from "./simulated-disk.ts";
export type { FaultOptions, SimulatedDiskControl } from "./simulated-disk-control.ts";
export { SimulatedCrash, type Simulation, type SimulationOptions, simulatedWorld } from "./simulation.ts";
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
