/** A queue table on PostgreSQL through pg, which pipelines; whoever waits is told by NOTIFY. */
import { Client } from "pg";
import type { Peer, PeerOptions } from "../peer.ts";
import { type QueueSession, sqlQueue, TAKEN_MAX, type Taken } from "../sql-queue.ts";

export async function start({ server, backlog }: PeerOptions): Promise<Peer> {
  const table = `${server!.prefix}_queue`;
  const connect = async (): Promise<Client> => {
    const client = new Client({ connectionString: server!.url, pipeline: true });
    await client.connect();
    return client;
  };
  const administrator = await connect();

  const session = (client: Client): QueueSession => {
    const run = (name: string, text: string, values: readonly unknown[] = []) =>
      client.query({ name, text, values: [...values] });
    const inserting = `INSERT INTO ${table} (lane, body) SELECT $1, unnest($2::bytea[])`;
    return {
      insert(lane, bodies, tells) {
        if (!tells) return run("insert", inserting, [lane, bodies]);
        return run("insert and tell", `WITH i AS (${inserting}) SELECT pg_notify('${table}', $1::int::text)`, [
          lane,
          bodies,
        ]);
      },
      begin: () => client.query("BEGIN"),
      async take(lane) {
        const taking = `SELECT id, body FROM ${table} WHERE lane = $1 ORDER BY id LIMIT ${TAKEN_MAX} FOR UPDATE SKIP LOCKED`;
        return (await run("take", taking, [lane])).rows as Taken[];
      },
      remove: (_, taken) =>
        run("remove", `DELETE FROM ${table} WHERE id = ANY($1::bigint[])`, [taken.map(({ id }) => id)]),
      commit: () => client.query("COMMIT"),
      close: () => client.end(),
    };
  };

  const database = {
    async make() {
      await administrator.query(
        `CREATE TABLE ${table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, lane int NOT NULL, body bytea NOT NULL)`,
      );
      await administrator.query(`CREATE INDEX ON ${table} (lane, id)`);
    },
    drop: () => administrator.query(`DROP TABLE ${table}`),
    open: async () => session(await connect()),
    async listen(told: (lane: number) => void) {
      const client = await connect();
      client.on("notification", ({ payload }) => told(Number(payload)));
      await client.query(`LISTEN ${table}`);
      return () => client.end();
    },
    close: () => administrator.end(),
  };
  return sqlQueue(database, backlog);
}
