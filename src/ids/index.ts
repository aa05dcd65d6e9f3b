export { type Snowflake, type SnowflakeOptions, type SnowflakeParts, snowflake } from "./snowflake.ts";
export { type UuidV7, type UuidV7Options, uuidv7, uuidv7Time } from "./uuid-v7.ts";
