export type {
  RabbitmqClient,
  RabbitmqClientChannel,
  RabbitmqMessage,
  RabbitmqPublishOptions,
  RabbitmqQueueOptions,
} from "./clients.ts";
export { type RabbitmqEngine, type RabbitmqEngineOptions, rabbitmq } from "./rabbitmq-engine.ts";
export type { Requirement, Survives } from "./requirements.ts";
