export type { PostgresClient, PostgresNotification } from "./clients.ts";
export type { PostgresConnection, PostgresPool, PostgresQuery, PostgresResult } from "./pool.ts";
export { type Isolation, type PostgresOptions, postgres } from "./postgres.ts";
export { type PostgresEngine, type PostgresEngineOptions, postgresEngine } from "./postgres-engine.ts";
export type { Requirement, Survives } from "./requirements.ts";
export { postgresTables } from "./tables.ts";
