import { writeFileSync } from "node:fs";
import { urlsAt, wellKnown } from "./addresses.ts";
import type { Engine } from "./engine.ts";
import { converse } from "./exchange.ts";

export const zookeeper: Engine = {
  name: "zookeeper",
  version: "3.8",
  packages: [{ package: "zookeeper", program: "/usr/share/java/zookeeper.jar" }],
  ports: { client: wellKnown.zookeeper.ports[0]! },
  published: ["client"],
  async start(site) {
    const configuration = [
      "tickTime=1000",
      `dataDir=${site.path("data")}`,
      "clientPortAddress=127.0.0.1",
      `clientPort=${site.port("client")}`,
      "admin.enableServer=false",
      "4lw.commands.whitelist=srvr,ruok,mntr",
    ];
    const file = site.path("zoo.cfg");
    writeFileSync(file, `${configuration.join("\n")}\n`);
    site.start("zookeeper", {
      command: "java",
      parameters: [
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-cp",
        "/etc/zookeeper/conf:/usr/share/java/zookeeper.jar",
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        file,
      ],
    });
    await site.untilReady("zookeeper", () => askMode(urlsAt("zookeeper", [site.port("client")])[0]!), 30_000);
  },
};

/** It names its mode, such as standalone, once it serves. */
export function askMode(url: string): Promise<void> {
  return converse(url, async (exchange) => {
    exchange.send("srvr");
    await exchange.receive((bytes) => {
      const text = bytes.toString();
      if (text.includes("not currently serving")) throw new Error("it does not serve requests yet");
      if (text.includes("not in the whitelist")) throw new Error("srvr is not in its 4lw.commands.whitelist");
      return text.includes("Mode: ") || undefined;
    });
  });
}
