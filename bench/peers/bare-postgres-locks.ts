/**
 * Locks on PostgreSQL through pg. A lock of one's own is a row that says who holds it and until when, taken and deleted by one statement each; where callers
 * wait for each other it is the row's lock, held from the UPDATE that gives a token until COMMIT, in a session for each caller. That one ends with its
 * session and with no time, and nobody can renew it.
 */
import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { timedLockLoop, type UseLock } from "../lock-loops.ts";
import type { Peer, PeerOptions } from "../peer.ts";

export async function start({ server }: PeerOptions): Promise<Peer> {
  const table = `${server!.prefix}_locks`;
  const clients: Client[] = [];
  const connect = async (): Promise<Client> => {
    const client = new Client({ connectionString: server!.url, pipeline: true });
    await client.connect();
    clients.push(client);
    return client;
  };
  const administrator = await connect();
  await administrator.query(
    `CREATE TABLE ${table} (name text PRIMARY KEY, holder text NOT NULL, token bigint GENERATED ALWAYS AS IDENTITY, ends_at timestamptz NOT NULL)`,
  );

  const acquiring = `INSERT INTO ${table} (name, holder, ends_at) VALUES ($1, $2, now() + interval '30 s')
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends_at = excluded.ends_at, token = DEFAULT WHERE ${table}.ends_at < now() RETURNING token`;
  const own = (name: string, client: Client): UseLock => {
    return async () => {
      const holder = randomUUID();
      const { rows } = await client.query({ name: "acquire", text: acquiring, values: [name, holder] });
      if (rows.length === 0) throw new Error("somebody else has the lock");
      const releasing = `DELETE FROM ${table} WHERE name = $1 AND holder = $2`;
      await client.query({ name: "release", text: releasing, values: [name, holder] });
    };
  };
  const shared = (name: string, client: Client): UseLock => {
    const locking = `UPDATE ${table} SET token = DEFAULT WHERE name = $1 RETURNING token`;
    return async () => {
      await Promise.all([client.query("BEGIN"), client.query({ name: "lock", text: locking, values: [name] })]);
      await client.query("COMMIT");
    };
  };

  return {
    async lock(contention, durationMs) {
      const sessions = await Promise.all(Array.from({ length: contention.callers }, connect));
      if (contention.locks !== "own") {
        await administrator.query(`INSERT INTO ${table} (name, holder, ends_at) VALUES ('shared', '', now())`);
      }
      try {
        const use = contention.locks === "own" ? own : shared;
        return await timedLockLoop(contention, durationMs, (name) => use(name, sessions.pop()!));
      } finally {
        await administrator.query(`TRUNCATE ${table}`);
        await Promise.all(clients.splice(1).map((client) => client.end()));
      }
    },
    async close() {
      await administrator.query(`DROP TABLE ${table}`);
      await administrator.end();
    },
  };
}
