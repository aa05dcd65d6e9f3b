import { isCode } from "../../../contracts/errors.ts";
import { type Requirement, type Survives, survivalLevels } from "../../shared/requirements.ts";
import type { Cluster } from "../cluster.ts";
import { readBrokerSettings } from "../topic-settings.ts";

const names = [
  "transaction.state.log.replication.factor",
  "transaction.state.log.min.isr",
  "log.flush.interval.messages",
  "log.retention.check.interval.ms",
] as const;

type BrokerSettings = Readonly<Record<(typeof names)[number], string>>;

/** What the brokers' settings come to for logs. */
export interface LogState {
  readonly survives: Survives;
  readonly retentionLatenessMs: number;
  readonly requirements: readonly Requirement[];
}

/**
 * A commit rests on the topic in which the brokers keep transactions, as well as on the log's own. `survives`: what a confirmed record does; `stated`: what the user says that it does. Where the brokers do not show
 * their settings a commit counts as surviving a crash of the process only, unless the user says more.
 */
export async function readLogState(
  cluster: Cluster,
  journal: string,
  survives: Survives,
  stated: Survives | undefined,
): Promise<LogState> {
  const settings = await settingsOf(cluster, journal);
  if (settings === undefined) {
    const retentionLatenessMs = Number.POSITIVE_INFINITY;
    return { survives: stated ?? lesser(survives, "process"), retentionLatenessMs, requirements: [hidden] };
  }
  return {
    survives: lesser(survives, survivalOf(settings)),
    retentionLatenessMs: Number(settings["log.retention.check.interval.ms"]),
    requirements: requirementsOf(settings, cluster.brokerCount),
  };
}

/** `undefined`: this user may not see them. */
async function settingsOf(cluster: Cluster, journal: string): Promise<BrokerSettings | undefined> {
  try {
    return (await readBrokerSettings(cluster, journal, names)) as BrokerSettings;
  } catch (error) {
    if (isCode(error, "denied")) return undefined;
    throw error;
  }
}

function lesser(one: Survives, other: Survives): Survives {
  return survivalLevels.indexOf(one) < survivalLevels.indexOf(other) ? one : other;
}

function survivalOf(settings: BrokerSettings): Survives {
  const copies = Number(settings["transaction.state.log.replication.factor"]);
  if (Math.min(copies, Number(settings["transaction.state.log.min.isr"])) >= 2) return "replicas";
  return settings["log.flush.interval.messages"] === "1" ? "machine" : "process";
}

const hidden: Requirement = {
  setting: "transaction.state.log.min.isr",
  value: "hidden",
  ok: false,
  meaning:
    "This user may not see the brokers' settings, so commits of logs count as surviving a crash of the process only. Grant DescribeConfigs on the cluster, or say what they survive.",
};

function requirementsOf(settings: BrokerSettings, brokers: number): readonly Requirement[] {
  const copies = settings["transaction.state.log.replication.factor"];
  const inSync = settings["transaction.state.log.min.isr"];
  return [
    {
      setting: "transaction.state.log.replication.factor",
      value: copies,
      ok: Number(copies) >= 2 && Number(copies) <= brokers,
      meaning: meaningOfCopies(Number(copies), brokers),
    },
    {
      setting: "transaction.state.log.min.isr",
      value: inSync,
      ok: Number(inSync) >= 2,
      meaning:
        Number(inSync) >= 2
          ? "A commit of a log is confirmed when two brokers or more have it."
          : "A commit of a log is confirmed when one broker has it. Set it to 2 where there are three brokers.",
    },
  ];
}

function meaningOfCopies(copies: number, brokers: number): string {
  if (copies > brokers) {
    return `There are ${brokers} brokers, too few for the topic in which Kafka keeps transactions: writers of logs cannot be opened until there was that many. With one broker set it to 1.`;
  }
  if (copies >= 2) return "A broker may be lost with what it knows of commits.";
  return "The loss of one broker loses what it knows of commits. Use three brokers.";
}
