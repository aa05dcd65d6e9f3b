import { TenonError } from "../../contracts/errors.ts";
import { type Requirement, type ServerState, type Survives, survivalLevels } from "../shared/requirements.ts";
import type { KafkaClient } from "./clients.ts";
import type { Cluster } from "./cluster.ts";
import { answeredCode, failureOf } from "./failures.ts";
import { checkKept, readSettings } from "./topic-settings.ts";

export type { Requirement, ServerState, Survives } from "../shared/requirements.ts";

/** Refuses brokers that lack a request that the engine makes. */
export async function checkVersions(cluster: Cluster): Promise<void> {
  const { client } = cluster;
  const asked = { what: "asking for versions", outcome: "not-applied" } as const;
  let versions: Awaited<ReturnType<KafkaClient["apiVersionsV3"]["api"]["async"]>>;
  try {
    versions = await cluster.anywhere(asked, (connection) => client.apiVersionsV3.api.async(connection, "tenon", "0"));
  } catch (error) {
    throw failureOf(error, asked.what, "not-applied");
  }
  const served = new Map(versions.apiKeys.map((each) => [each.apiKey, each]));
  for (const { key, version } of requestsUsed(client)) {
    const range = served.get(key);
    if (range !== undefined && range.minVersion <= version && version <= range.maxVersion) continue;
    const text = `The brokers do not serve version ${version} of request ${key} of Kafka's protocol; this engine needs Kafka 3.1 or later.`;
    throw new TenonError("unsupported", text, { fields: { request: key, version } });
  }
}

function requestsUsed(client: KafkaClient): readonly { readonly key: number; readonly version: number }[] {
  return [
    client.metadataV12.api,
    client.produceV9.api,
    client.fetchV13.api,
    client.listOffsetsV7.api,
    client.initProducerIdV4.api,
    client.findCoordinatorV4.api,
    client.addPartitionsToTxnV3.api,
    client.endTxnV3.api,
    client.describeProducersV0.api,
    client.createTopicsV7.api,
    client.deleteTopicsV6.api,
    client.deleteRecordsV2.api,
    client.describeConfigsV4.api,
    client.incrementalAlterConfigsV1.api,
  ];
}

const names = [
  "min.insync.replicas",
  "flush.messages",
  "retention.ms",
  "retention.bytes",
  "cleanup.policy",
  "message.timestamp.type",
  "unclean.leader.election.enable",
] as const;

type Settings = Readonly<Record<(typeof names)[number], string>>;

/** Reads how the journal is kept, which was made as topics are; refuses one on which the promises cannot be kept. */
export async function readRequirements(
  cluster: Cluster,
  journal: string,
  stated: Survives | undefined,
): Promise<ServerState> {
  const settings = (await readSettings(cluster, journal, names)) as Settings;
  const replicas = (await cluster.topic(journal))?.replicas ?? 1;
  const survives = survivalOf(settings, replicas);
  checkKept(journal, settings);
  if (stated !== undefined && survivalLevels.indexOf(stated) > survivalLevels.indexOf(survives)) {
    const step =
      survives === "process"
        ? "set flush.messages to 1 or min.insync.replicas to 2 or more"
        : "give topics 2 or more copies and set min.insync.replicas to 2 or more";
    throw new TenonError(
      "invalid",
      `survives is "${stated}", but what these brokers confirm survives only "${survives}": ${step}; or leave survives out.`,
      { fields: { stated, survives } },
    );
  }
  return { requirements: requirementsOf(settings, replicas), survives: stated ?? survives };
}

function survivalOf(settings: Settings, replicas: number): Survives {
  const isElectedClean = settings["unclean.leader.election.enable"] === "false";
  if (Math.min(replicas, Number(settings["min.insync.replicas"])) >= 2 && isElectedClean) return "replicas";
  return settings["flush.messages"] === "1" ? "machine" : "process";
}

function requirementsOf(settings: Settings, replicas: number): readonly Requirement[] {
  const inSync = settings["min.insync.replicas"];
  const flush = settings["flush.messages"];
  const unclean = settings["unclean.leader.election.enable"];
  return [
    {
      setting: "replication.factor",
      value: String(replicas),
      ok: replicas >= 2,
      meaning:
        replicas >= 2 ? "A broker may be lost." : "The loss of the only broker loses everything. Use three brokers.",
    },
    {
      setting: "min.insync.replicas",
      value: inSync,
      ok: Number(inSync) >= 2,
      meaning:
        Number(inSync) >= 2
          ? "A change is confirmed when two brokers or more have it."
          : "A change is confirmed when one broker has it. Set it to 2 where there are three brokers.",
    },
    {
      setting: "flush.messages",
      value: flush,
      ok: flush === "1" || Number(inSync) >= 2,
      meaning:
        flush === "1"
          ? "A change is confirmed when it is on the disk."
          : "A change is on the disk some time after it was confirmed: if all copies' machines crash at once, it is lost. With one copy set it to 1.",
    },
    {
      setting: "unclean.leader.election.enable",
      value: unclean,
      ok: unclean === "false",
      meaning:
        unclean === "false"
          ? "Only a broker that has everything becomes a leader."
          : "A broker that lacks what was confirmed may become the leader. Set it to false.",
    },
  ];
}

/** Whether a topic of this name is there; a metadata request makes none. */
export async function isThere(cluster: Cluster, topic: string): Promise<boolean> {
  try {
    return (await cluster.readTopic(topic)) !== undefined;
  } catch (error) {
    if (answeredCode(error) === undefined) throw error;
    throw failureOf(error, "reading metadata", "not-applied");
  }
}
