import { Client } from "pg";
import type { PostgresClient } from "./clients.ts";

// The real client must fit what is used of it.
new Client() satisfies PostgresClient;
