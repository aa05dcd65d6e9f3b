/** The MySQL engine for conformance cases: each subject under a prefix of its own, whose tables it drops at its end. */
import { type Connection, createConnection, type RowDataPacket } from "mysql2/promise";
import type { ConformanceHost } from "tenon/conformance";
import { type MysqlEngine, mysqlEngine, mysqlTables } from "tenon/mysql";
import { systemWorld } from "tenon/world";
import { GroupState } from "../src/engines/lanes/index.ts";
import { mortalWorld } from "./mortal-world.ts";
import { testPrefix } from "./test-prefix.ts";

export interface MysqlProcess {
  readonly engine: MysqlEngine;
  /** Ends as a killed process does: its connections break, and it never hears of anything again. */
  die(): Promise<void>;
}

/** The socket behind a client. */
export function streamOf(client: Connection): { destroy(): void } {
  return (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream;
}

export async function startMysql(url: string, prefix: string): Promise<MysqlProcess> {
  const world = mortalWorld(systemWorld());
  const clients: Connection[] = [];
  let isDead = false;
  const connect = async (): Promise<Connection> => {
    const client = isDead ? undefined : await createConnection(url);
    if (client !== undefined) clients.push(client);
    if (!isDead && client !== undefined) return client;
    if (client !== undefined) streamOf(client).destroy();
    throw new Error("a process that has died connects no more");
  };
  const engine = await mysqlEngine({ connect, prefix, world, tables: "make", connectionsMax: 4 });
  return {
    engine,
    async die() {
      isDead = true;
      await world.die();
      // As a process that is killed: nobody takes leave.
      for (const client of clients) streamOf(client).destroy();
    },
  };
}

export async function direct<T>(url: string, work: (client: Connection) => Promise<T>): Promise<T> {
  const client = await createConnection(url);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export function mysqlHost(url: string): ConformanceHost<MysqlEngine> {
  return {
    async start() {
      const prefix = testPrefix();
      let process = await startMysql(url, prefix);
      return {
        get engine() {
          return process.engine;
        },
        async crash() {
          await process.die();
          await endSessionsSoon(url, prefix);
          process = await startMysql(url, prefix);
        },
        async stop() {
          await process.engine.close();
          await dropTables(url, prefix);
        },
      };
    },
  };
}

/** How soon the session of a process that died ends. */
const sessionLeftMs = 100;

/** As if the members had joined with short sessions, which a busy machine could end while they live. */
async function endSessionsSoon(url: string, prefix: string): Promise<void> {
  await direct(url, async (client) => {
    await client.beginTransaction();
    const clock = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e3 AS now";
    const [groups] = await client.query<RowDataPacket[]>(`SELECT id, state, ${clock} FROM ${prefix}_groups FOR UPDATE`);
    for (const { id, state: bytes, now } of groups as { id: number; state: Buffer; now: number }[]) {
      const state = GroupState.decode(bytes);
      for (const member of state.memberIds) state.renew(member, sessionLeftMs, now);
      const values = [state.encode(), state.endsAt ?? null, id];
      await client.query(`UPDATE ${prefix}_groups SET state = ?, ends_at = ? WHERE id = ?`, values);
    }
    await client.commit();
  });
}

export async function dropTables(url: string, prefix: string): Promise<void> {
  const names = [...mysqlTables(prefix).matchAll(/CREATE TABLE IF NOT EXISTS (\w+)/g)].map(([, name]) => name);
  await direct(url, async (client) => {
    // Not for ever where a session that was cut off still holds one.
    await client.query("SET SESSION lock_wait_timeout = 20");
    await client.query(`DROP TABLE IF EXISTS ${names.join(", ")}`);
  });
}

/** With the same password and rights, so that its sessions can be told from others. */
export async function makeUser(url: string, name: string): Promise<void> {
  const { password, pathname } = new URL(url);
  await direct(url, async (client) => {
    await client.query("CREATE USER ?@'%' IDENTIFIED BY ?", [name, decodeURIComponent(password)]);
    await client.query(`GRANT ALL PRIVILEGES ON ${pathname.slice(1)}.* TO ?@'%'`, [name]);
  });
}

export async function dropUser(url: string, name: string): Promise<void> {
  await direct(url, (client) => client.query("DROP USER ?@'%'", [name]));
}

export async function endSessions(url: string, user: string): Promise<void> {
  await direct(url, async (client) => {
    const text = "SELECT id FROM information_schema.processlist WHERE user = ?";
    const [sessions] = await client.query<RowDataPacket[]>(text, [user]);
    for (const { id } of sessions) {
      // It may have ended by itself meanwhile.
      await client.query(`KILL CONNECTION ${id}`).catch(() => undefined);
    }
  });
}
