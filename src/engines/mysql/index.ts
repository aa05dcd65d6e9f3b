export type { Requirement, Survives } from "../relational/requirements.ts";
export type { MysqlClient, MysqlField, MysqlQuery } from "./clients.ts";
export { type MysqlEngine, type MysqlEngineOptions, mysqlEngine } from "./mysql-engine.ts";
export { mysqlTables } from "./tables.ts";
