/** Apache Kafka from its published jars: there is no Debian package. One node, which is broker and controller. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { urlsAt, wellKnown } from "./addresses.ts";
import type { Engine } from "./engine.ts";
import { converse } from "./exchange.ts";
import type { Site } from "./site.ts";

const version = "4.1.0";
/** Its own dependencies are those that this version names; the last one makes it write its log to the console. */
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tenon</groupId>
  <artifactId>kafka-server</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${version}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`;
const copyDependencies = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
/** Below the engine's folder. */
export const jarsFolder = `jars-${version}`;
/** Sixteen bytes, as Kafka wants them. */
export const clusterId = Buffer.from("tenon-engines-01").toString("base64url");

export const kafka: Engine = {
  name: "kafka",
  version,
  packages: [
    { package: "openjdk-17-jre-headless", program: "java" },
    { package: "maven", program: "mvn" },
  ],
  ports: { broker: wellKnown.kafka.ports[0]!, controller: 9093 },
  published: ["broker"],
  async start(site) {
    if (!existsSync(jarsOf(site))) await fetchJars(site);
    const file = site.path("server.properties");
    writeFileSync(file, propertiesOf(site.path("data"), site.port("broker"), site.port("controller")));
    if (!existsSync(site.path("data", "meta.properties"))) {
      rmSync(site.path("data"), { recursive: true, force: true });
      const parameters = ["format", "--cluster-id", clusterId, "--config", file];
      await site.run({
        command: "java",
        parameters: [...javaParameters(jarsOf(site)), "kafka.tools.StorageTool", ...parameters],
      });
    }
    site.start("kafka", {
      command: "java",
      parameters: ["-Xms256m", "-Xmx768m", ...javaParameters(jarsOf(site)), "kafka.Kafka", file],
    });
    await site.untilReady("kafka", () => askVersions(urlsAt("kafka", [site.port("broker")])[0]!), 60_000);
  },
};

function jarsOf(site: Site): string {
  return site.path(jarsFolder);
}

/** From Maven's central repository, or from where the user's settings say, with every checksum verified. */
async function fetchJars(site: Site): Promise<void> {
  const unfinished = site.path("jars-unfinished");
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished);
  writeFileSync(site.path("pom.xml"), pom);
  const options = ["--batch-mode", "--quiet", "--strict-checksums", "--file", site.path("pom.xml")];
  const parameters = [...options, copyDependencies, "-DincludeScope=runtime", `-DoutputDirectory=${unfinished}`];
  await site.run({ command: "mvn", parameters }, 300_000);
  if (!readdirSync(unfinished).includes(`kafka_2.13-${version}.jar`)) throw new Error("Maven brought no Kafka.");
  renameSync(unfinished, jarsOf(site));
}

export function javaParameters(jars: string): string[] {
  return ["-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", `${jars}/*`];
}

export function propertiesOf(data: string, brokerPort: number, controllerPort: number): string {
  const broker = `127.0.0.1:${brokerPort}`;
  const controller = `127.0.0.1:${controllerPort}`;
  const properties = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.quorum.voters": `1@${controller}`,
    listeners: `PLAINTEXT://${broker},CONTROLLER://${controller}`,
    "advertised.listeners": `PLAINTEXT://${broker}`,
    "controller.listener.names": "CONTROLLER",
    "log.dirs": data,
    // One node can keep one copy, so it has to be on the disk before the answer.
    "log.flush.interval.messages": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    // What a dead process left open, and what retention lets go, is looked for each second: tests wait for both.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.retention.check.interval.ms": "1000",
    "log.initial.task.delay.ms": "1000",
  };
  return Object.entries(properties)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}

/** ApiVersions, which a broker answers once it takes requests. */
export function askVersions(url: string): Promise<void> {
  const client = Buffer.from("tenon");
  const request = Buffer.alloc(4 + 2 + 2 + 4 + 2 + client.length);
  request.writeInt32BE(request.length - 4, 0);
  request.writeInt16BE(18, 4);
  request.writeInt32BE(7, 8);
  request.writeInt16BE(client.length, 12);
  client.copy(request, 14);
  return converse(url, async (exchange) => {
    exchange.send(request);
    await exchange.receive((bytes) => {
      if (bytes.length < 10) return undefined;
      if (bytes.readInt32BE(4) !== 7 || bytes.readInt16BE(8) !== 0) throw new Error("it does not answer as Kafka does");
      return true;
    });
  });
}
