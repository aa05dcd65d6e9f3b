import { createConnection, type RowDataPacket } from "mysql2/promise";
import { mysqlEngine } from "tenon/mysql";
import type { ServerDriver, ServerStore } from "../sale-servers.ts";

export const mysqlDriver: ServerDriver = {
  async prepare(store, connectTimeoutMs) {
    const engine = await open(store, "make", connectTimeoutMs);
    await engine.close();
  },
  open: (store) => open(store, "expect"),
  async remove({ url, prefix }) {
    const client = await createConnection(url);
    try {
      const named =
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE ?";
      const [tables] = await client.query<RowDataPacket[]>(named, [`${prefix}\\_%`]);
      for (const { name } of tables) await client.query("DROP TABLE ??", [name]);
    } finally {
      await client.end();
    }
  },
};

function open({ url, prefix }: ServerStore, tables: "make" | "expect", connectTimeoutMs?: number) {
  return mysqlEngine({ connect: () => createConnection(url), prefix, tables, connectTimeoutMs });
}
