import { TenonError } from "../../contracts/errors.ts";
import type { KafkaConnection } from "./clients.ts";
import type { Cluster } from "./cluster.ts";
import { answeredCode, failureOf, kafkaCode } from "./failures.ts";

/** On which the engine's topics rest: nothing goes by age or size, or because something newer has its key, and times are the brokers'. */
const kept = {
  "cleanup.policy": "delete",
  "retention.ms": "-1",
  "retention.bytes": "-1",
  "message.timestamp.type": "LogAppendTime",
} as const;

/** Of the topics that the engine makes. The largest batch of the contract fits. */
export const settingsNeeded: Readonly<Record<string, string>> = {
  ...kept,
  "max.message.bytes": String(32 * 1024 * 1024),
  "compression.type": "producer",
  "unclean.leader.election.enable": "false",
};

type KeptSetting = keyof typeof kept;

export const settingsKept = Object.keys(kept) as readonly KeptSetting[];
/** Of a log's topic: its records go as its own retention says. */
export const logSettingsKept: readonly KeptSetting[] = ["cleanup.policy", "message.timestamp.type"];

const topicResource = 2 as const;
const brokerResource = 4 as const;

/** Settings of a topic, the brokers' own where it has none. */
export function readSettings(
  cluster: Cluster,
  topic: string,
  names: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  return reading(() =>
    cluster.anywhere(asked, (connection) => describe(cluster, connection, topicResource, topic, names)),
  );
}

/** The same; `undefined`: the broker that was asked does not know the topic. */
export function readSettingsIfThere(
  cluster: Cluster,
  topic: string,
  names: readonly string[],
): Promise<Readonly<Record<string, string>> | undefined> {
  return reading(() =>
    cluster.anywhere(asked, async (connection) => {
      try {
        return await describe(cluster, connection, topicResource, topic, names);
      } catch (error) {
        if (answeredCode(error) === kafkaCode.unknownTopic) return undefined;
        throw error;
      }
    }),
  );
}

/** Settings of the broker that leads a topic's first partition. */
export function readBrokerSettings(
  cluster: Cluster,
  topic: string,
  names: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  return reading(() =>
    cluster.leader(asked, topic, 0, (connection, { leaders }) =>
      describe(cluster, connection, brokerResource, String(leaders[0]), names),
    ),
  );
}

const asked = { what: "reading settings", outcome: "not-applied" } as const;

async function describe(
  { client }: Cluster,
  connection: KafkaConnection,
  resourceType: typeof topicResource | typeof brokerResource,
  resourceName: string,
  names: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const resources = [{ resourceType, resourceName, configurationKeys: [...names] }];
  const { results } = await client.describeConfigsV4.api.async(connection, resources, false, false);
  const found = new Map(results[0]?.configs.map(({ name, value }) => [name, value ?? ""]));
  return Object.fromEntries(names.map((name) => [name, found.get(name) ?? ""]));
}

async function reading<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  try {
    return await ask();
  } catch (error) {
    throw failureOf(error, asked.what, "not-applied");
  }
}

/** `conflict` when the topic would lose what the engine promises to keep. */
export function checkKept(
  topic: string,
  settings: Readonly<Record<string, string>>,
  needed: readonly KeptSetting[] = settingsKept,
): void {
  for (const setting of needed) {
    const value = kept[setting];
    if (settings[setting] === value) continue;
    const text = `${setting} of Kafka's topic ${topic} is ${settings[setting]}, and has to be ${value}: otherwise what the engine keeps there would be lost, or out of order. Set it, or take another name.`;
    throw new TenonError("conflict", text, { fields: { topic, setting } });
  }
}

const setOperation = 0 as const;

/** Changes settings of a topic; those that are not named stay. */
export async function setSettings(
  cluster: Cluster,
  topic: string,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const what = "changing settings";
  const configs = Object.entries(settings).map(([name, value]) => ({ name, value, configOperation: setOperation }));
  const resources = [{ resourceType: topicResource, resourceName: topic, configs }];
  try {
    // Whoever repeats it sets the same.
    await cluster.controller({ what, outcome: "not-applied" }, (connection) =>
      cluster.client.incrementalAlterConfigsV1.api.async(connection, resources, false),
    );
  } catch (error) {
    throw failureOf(error, what, "unknown");
  }
}
