import { Pool } from "pg";
import type { PostgresPool } from "./pool.ts";

// The real client must fit what is used of it.
new Pool() satisfies PostgresPool;
