export type { PostgresConnection, PostgresPool, PostgresQuery, PostgresResult } from "./pool.ts";
export { type Isolation, type PostgresOptions, postgres } from "./postgres.ts";
