import { createConnection, createPool } from "mysql2/promise";
import type { MysqlClient } from "./clients.ts";

// The real clients must fit what is used of them.
(() => createConnection("")) satisfies () => Promise<MysqlClient>;
(() => createPool("").getConnection()) satisfies () => Promise<MysqlClient>;
