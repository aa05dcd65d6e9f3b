export type { KafkaClient, KafkaConnection } from "./clients.ts";
export { type KafkaEngine, type KafkaOptions, kafka } from "./kafka-engine.ts";
export type { Requirement, Survives } from "./requirements.ts";
