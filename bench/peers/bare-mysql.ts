/** A queue table on MySQL or MariaDB through mysql2; whoever waits looks again every 2 ms, as the server tells nobody. */
import { type Connection, createConnection, type RowDataPacket } from "mysql2/promise";
import { LANES } from "../bare-messaging.ts";
import type { Peer, PeerOptions } from "../peer.ts";
import { type QueueSession, sqlQueue, TAKEN_MAX, type Taken } from "../sql-queue.ts";

const LOOK_AGAIN_MS = 2;

export async function start({ server, backlog }: PeerOptions): Promise<Peer> {
  const table = `${server!.prefix}_queue`;
  const connect = async (): Promise<Connection> => {
    const client = await createConnection(server!.url);
    // Without gaps under lock, as queues on InnoDB are advised to: consumers would block who inserts.
    await client.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    return client;
  };
  const administrator = await connect();

  const session = (client: Connection): QueueSession => ({
    insert: (lane, bodies) =>
      client.query(`INSERT INTO ${table} (lane, body) VALUES ?`, [bodies.map((body) => [lane, body])]),
    begin: () => client.query("BEGIN"),
    async take(lane) {
      const taking = `SELECT id, body FROM ${table} WHERE lane = ? ORDER BY id LIMIT ${TAKEN_MAX} FOR UPDATE SKIP LOCKED`;
      const [rows] = await client.execute<(RowDataPacket & Taken)[]>(taking, [lane]);
      return rows;
    },
    // Left alone, the server scans a small table, and meets the other lanes' locks.
    remove: (lane, taken) =>
      client.query(`DELETE q FROM ${table} q FORCE INDEX (PRIMARY) WHERE q.lane = ? AND q.id IN (?)`, [
        lane,
        taken.map(({ id }) => id),
      ]),
    commit: () => client.query("COMMIT"),
    close: () => client.end(),
  });

  const database = {
    make: () =>
      administrator.query(
        `CREATE TABLE ${table} (lane int, id bigint AUTO_INCREMENT, body varbinary(4096) NOT NULL, PRIMARY KEY (lane, id), UNIQUE (id))`,
      ),
    drop: () => administrator.query(`DROP TABLE ${table}`),
    open: async () => session(await connect()),
    async listen(told: (lane: number) => void) {
      const timer = setInterval(() => {
        for (let lane = 0; lane < LANES; lane++) told(lane);
      }, LOOK_AGAIN_MS);
      return async () => clearInterval(timer);
    },
    close: () => administrator.end(),
  };
  return sqlQueue(database, backlog);
}
