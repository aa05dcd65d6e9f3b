export type { Requirement, Survives } from "../relational/requirements.ts";
export type { PostgresClient, PostgresNotification } from "./clients.ts";
export type { PostgresConnection, PostgresPool, PostgresQuery, PostgresResult } from "./pool.ts";
export { type Isolation, type PostgresOptions, postgres } from "./postgres.ts";
export { type PostgresEngine, type PostgresEngineOptions, postgresEngine } from "./postgres-engine.ts";
export { postgresTables } from "./tables.ts";
