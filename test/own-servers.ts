/** etcd and ZooKeeper for tests that break them. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { askHealth } from "../scripts/engines/etcd.ts";
import { isInstalled } from "../scripts/engines/packages.ts";
import { askMode } from "../scripts/engines/zookeeper.ts";
import type { OwnServerKind } from "./own-server.ts";

function missing(name: string, program: { readonly package: string; readonly program: string }): string | false {
  return isInstalled(program) ? false : `${name} is not installed`;
}

/** For the options of `test`: false, or why no server can be started here. */
export const etcdMissing = missing("etcd", { package: "etcd-server", program: "etcd" });
export const zookeeperMissing = missing("ZooKeeper", {
  package: "zookeeper",
  program: "/usr/share/java/zookeeper.jar",
});

export const ownEtcd: OwnServerKind = {
  name: "etcd",
  portsCount: 2,
  command(directory, [clientPort, peerPort]) {
    const client = `http://127.0.0.1:${clientPort}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    return [
      "etcd",
      ...["--name=tenon", `--data-dir=${join(directory, "data")}`],
      ...[`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`],
      ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=tenon=${peer}`],
    ];
  },
  probe: (port) => askHealth(`http://127.0.0.1:${port}`),
};

export const ownZookeeper: OwnServerKind = {
  name: "zookeeper",
  portsCount: 1,
  command(directory, [clientPort]) {
    const file = join(directory, "zoo.cfg");
    const settings = [
      "tickTime=1000",
      `dataDir=${join(directory, "data")}`,
      "clientPortAddress=127.0.0.1",
      `clientPort=${clientPort}`,
      "admin.enableServer=false",
      "4lw.commands.whitelist=srvr",
    ];
    writeFileSync(file, `${settings.join("\n")}\n`);
    return [
      "java",
      ...["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
      ...["-cp", "/etc/zookeeper/conf:/usr/share/java/zookeeper.jar"],
      ...["org.apache.zookeeper.server.quorum.QuorumPeerMain", file],
    ];
  },
  probe: (port) => askMode(`zookeeper://127.0.0.1:${port}`),
};
