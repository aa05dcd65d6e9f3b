/** Tenon's mutex on a server: fair, with a fencing token, renewed while it is held. */
import { Client } from "pg";
import type { LeaseEngine } from "tenon/contracts";
import { mutex } from "tenon/coordination";
import { etcd } from "tenon/etcd";
import { postgresEngine } from "tenon/postgres";
import type { World } from "tenon/world";
import { zookeeper } from "tenon/zookeeper";
import { createSchema, dropSchema } from "../../examples/flash-sale/postgres-orders.ts";
import { deleteKeys } from "../../test/etcd-host.ts";
import { removeNodes, serverOf } from "../../test/zookeeper-host.ts";
import { timedLockLoop } from "../lock-loops.ts";
import type { Peer, PeerOptions, ServerShare } from "../peer.ts";

interface Engine {
  readonly world: World;
  readonly leases: LeaseEngine;
  close(): Promise<void>;
}

export async function start({ server }: PeerOptions): Promise<Peer> {
  const engine = await open(server!);
  return {
    lock(contention, durationMs) {
      return timedLockLoop(contention, durationMs, (name) => {
        const lock = mutex(engine, name, { ttlMs: 30_000, waitMs: 60_000 });
        return async () => {
          const held = await lock.acquire();
          await held.release();
        };
      });
    },
    async close() {
      await engine.close();
      await remove(server!);
    },
  };
}

async function open({ type, url, prefix }: ServerShare): Promise<Engine> {
  switch (type) {
    case "postgres": {
      await createSchema(url, prefix, 10_000);
      const connect = () => new Client({ connectionString: url, options: `-c search_path=${prefix}`, pipeline: true });
      return postgresEngine({ connect, prefix, tables: "make" });
    }
    case "etcd":
      return etcd({ endpoints: [url], fetch, prefix });
    case "zookeeper": {
      return zookeeper({ servers: [serverOf(url)], root: `/${prefix}`, nodes: "make" });
    }
    default:
      throw new Error(`${type} has no locks that are measured here`);
  }
}

async function remove({ type, url, prefix }: ServerShare): Promise<void> {
  if (type === "postgres") await dropSchema(url, prefix);
  else if (type === "etcd") await deleteKeys(url, prefix);
  else await removeNodes(url, `/${prefix}`);
}
