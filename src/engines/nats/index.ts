export type { NatsConnection, NatsHeaders, NatsMessage, NatsServerInfo } from "./clients.ts";
export type { StreamConfig } from "./jet-stream.ts";
export { type NatsEngine, type NatsEngineOptions, nats } from "./nats-engine.ts";
export type { Requirement, Survives } from "./requirements.ts";
export { natsStreams } from "./streams.ts";
