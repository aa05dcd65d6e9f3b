export {
  bytes,
  type Codec,
  json,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchemaV1,
  schemaCodec,
  text,
} from "../codec/index.ts";
export type { Outcome } from "../contracts/errors.ts";
export { TenonError } from "../contracts/errors.ts";
export type {
  GroupDescription,
  LaneDescription,
  MessageHeaders,
  PartitionDescription,
  SeekTarget,
  TopicDescription,
} from "../contracts/messages.ts";
export { type CreateOptions, type TopicAdministration, topicAdministration } from "./administration.ts";
export type { BatchHandler, ConsumeBatchOptions } from "./batch-runs.ts";
export type { BroadcastOptions, GivenUpMessage } from "./broadcast.ts";
export type { ConsumeOptions, Consumer } from "./consumer.ts";
export type { BatchContext, BatchMessage, MessageContext } from "./context.ts";
export type { TopicCreation } from "./creation.ts";
export { DeadLetter } from "./dead-letter.ts";
export type { DeadLetterEntry, DeadLetters } from "./dead-letters.ts";
export {
  type Exchange,
  type ExchangeEngine,
  type ExchangeOptions,
  exchange,
  type Routed,
  type RouteOptions,
} from "./exchange.ts";
export type { Binding } from "./exchange-bindings.ts";
export type { BindingArguments, ExchangeMatcher, ExchangeType, RoutedMessage } from "./exchange-matching.ts";
export type { Expiry } from "./expiry.ts";
export type { HeaderTest, MessageFilter } from "./filter.ts";
export type { Handler } from "./handler-runs.ts";
export type { Interceptor, OutgoingMessage } from "./interceptors.ts";
export type { Loss, LossDetection } from "./loss-detector.ts";
export type { LostMessage, OneWayCounts } from "./one-way.ts";
export type { WhenExpired } from "./outcomes.ts";
export type { Receipt } from "./partition-queue.ts";
export type { MessageOptions, PublishOptions } from "./publication.ts";
export type { PublishEntry } from "./publisher.ts";
export { type Replier, type ReplierCounts, type ReplierOptions, type RequestHandler, replier } from "./replier.ts";
export {
  type RequestCounts,
  type Requester,
  type RequesterOptions,
  type RequestOptions,
  requester,
} from "./requester.ts";
export type { RetryOptions } from "./retry-policy.ts";
export {
  type Lag,
  type MessagingEngine,
  type Topic,
  type TopicOptions,
  type TopicSettings,
  topic,
} from "./topic.ts";
export { type Verdict, verdict } from "./verdict.ts";
