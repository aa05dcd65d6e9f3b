import { Client } from "pg";
import { postgresEngine } from "tenon/postgres";
import { createSchema, dropSchema } from "../postgres-orders.ts";
import type { ServerDriver, ServerStore } from "../sale-servers.ts";

/** The tables stand in a schema that is called like the prefix, so that one statement removes them all. */
export const postgresDriver: ServerDriver = {
  async prepare(store, connectTimeoutMs) {
    await createSchema(store.url, store.prefix, connectTimeoutMs);
    const engine = await open(store, "make");
    await engine.close();
  },
  open: (store) => open(store, "expect"),
  remove: ({ url, prefix }) => dropSchema(url, prefix),
};

function open({ url, prefix }: ServerStore, tables: "make" | "expect") {
  const connect = () => new Client({ connectionString: url, options: `-c search_path=${prefix}`, pipeline: true });
  return postgresEngine({ connect, prefix, tables });
}
