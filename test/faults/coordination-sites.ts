/** etcd and ZooKeeper as a run sees them. What they do not carry, its engines get from one that knows no storm. */
import { memory } from "tenon/embedded";
import { etcd } from "tenon/etcd";
import { zookeeper } from "tenon/zookeeper";
import { startOwnServer } from "../own-server.ts";
import { ownEtcd, ownZookeeper } from "../own-servers.ts";
import type { EngineSettings, RunEngine, RunSite } from "./run.ts";

type Carried = Pick<RunEngine, "world" | "leases" | "close"> & Partial<Pick<RunEngine, "keyValue">>;

function site(
  startServer: RunSite["startServer"],
  open: (port: number, settings: EngineSettings) => Promise<Carried>,
): RunSite {
  const calm = memory();
  let users = 0;
  return {
    startServer,
    async open(port, settings) {
      const engine = await open(port, settings);
      const { messages, keyValue } = await calm;
      users += 1;
      let isClosed = false;
      return {
        world: engine.world,
        leases: engine.leases,
        keyValue: engine.keyValue ?? keyValue,
        messages,
        async close() {
          await engine.close();
          if (isClosed) return;
          isClosed = true;
          users -= 1;
          if (users === 0) await (await calm).close();
        },
      };
    },
  };
}

export function etcdSite(): RunSite {
  return site(
    () => startOwnServer(ownEtcd),
    (port, settings) => etcd({ ...settings, endpoints: [`http://127.0.0.1:${port}`], fetch }),
  );
}

export function zookeeperSite(): RunSite {
  return site(
    () => startOwnServer(ownZookeeper),
    (port, settings) =>
      zookeeper({ ...settings, servers: [`127.0.0.1:${port}`], sessionTimeoutMs: 4_000, nodes: "make" }),
  );
}
