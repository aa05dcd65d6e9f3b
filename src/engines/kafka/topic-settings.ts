import { TenonError } from "../../contracts/errors.ts";
import type { Cluster } from "./cluster.ts";
import { failureOf } from "./failures.ts";

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

export const settingsKept = Object.keys(kept);

const topicResource = 2 as const;

/** Settings of a topic, the brokers' own where it has none. */
export async function readSettings(
  cluster: Cluster,
  topic: string,
  names: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const what = "reading settings";
  try {
    const answer = await cluster.anywhere({ what, outcome: "not-applied" }, (connection) => {
      const resources = [{ resourceType: topicResource, resourceName: topic, configurationKeys: [...names] }];
      return cluster.client.describeConfigsV4.api.async(connection, resources, false, false);
    });
    const found = new Map(answer.results[0]?.configs.map(({ name, value }) => [name, value ?? ""]));
    return Object.fromEntries(names.map((name) => [name, found.get(name) ?? ""]));
  } catch (error) {
    throw failureOf(error, what, "not-applied");
  }
}

/** `conflict` when the topic would lose what the engine promises to keep. */
export function checkKept(topic: string, settings: Readonly<Record<string, string>>): void {
  for (const [setting, value] of Object.entries(kept)) {
    if (settings[setting] === value) continue;
    const text = `${setting} of Kafka's topic ${topic} is ${settings[setting]}, and has to be ${value}: otherwise what the engine keeps there would be lost, or out of order. Set it, or take another name.`;
    throw new TenonError("conflict", text, { fields: { topic, setting } });
  }
}
