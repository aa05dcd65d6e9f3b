import { TenonError } from "../../../contracts/errors.ts";
import type { LogCapabilities, LogDeclaration } from "../../../contracts/log.ts";
import { checkLogDeclaration, checkLogPartitions, logNotFound } from "../../../contracts/log-requests.ts";
import type { KafkaConnection } from "../clients.ts";
import type { Asked, Cluster, KafkaTopic } from "../cluster.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournaledLog } from "../journal/log.ts";
import type { GivenRetention } from "../journal/log-commands.ts";
import type { TopicPlace } from "../journal/topic.ts";
import { kafkaNamesOf } from "../messages/kafka-names.ts";
import type { TopicMaker } from "../topic-maker.ts";
import { logSettingsKept, setSettings } from "../topic-settings.ts";
import { retentionSettings } from "./retention-settings.ts";

/** So often a declaration begins anew when others declare and remove at the same time. */
const triesMax = 20;

export interface LogParts {
  readonly cluster: Cluster;
  readonly journal: Journal;
  readonly maker: TopicMaker;
  readonly prefix: string;
}

/** Which logs there are, and where their records are in Kafka. */
export class Logs {
  readonly #parts: LogParts;

  constructor(parts: LogParts) {
    this.#parts = parts;
  }

  /** `not-found` when it is not there. What this engine has not read yet, it reads before it says so. */
  async find(name: string): Promise<JournaledLog> {
    const { journal } = this.#parts;
    const known = journal.state.logs.named(name);
    if (known !== undefined) return known;
    return this.findNow(name, "finding a log");
  }

  /** As of an instant after the call. */
  async findNow(name: string, what: string): Promise<JournaledLog> {
    const { journal } = this.#parts;
    await journal.reach(what, null);
    const found = journal.state.logs.named(name);
    if (found === undefined) throw logNotFound(name);
    return found;
  }

  /** Throws when the log was removed, as far as is known here. */
  checkThere({ name, number }: JournaledLog): void {
    if (this.#parts.journal.state.logs.numbered(number) === undefined) throw logNotFound(name);
  }

  async names(): Promise<readonly string[]> {
    const { journal } = this.#parts;
    await journal.reach("listing the logs", null);
    return journal.state.logs.names;
  }

  /** Asks the leader of a partition. Throws `MovedLog` when Kafka's topic is not the one that the log was declared on. */
  leader<Answer>(
    log: JournaledLog,
    partition: number,
    asked: Pick<Asked, "what" | "outcome">,
    ask: (connection: KafkaConnection, topic: KafkaTopic) => Promise<Answer>,
  ): Promise<Answer> {
    const check = () => this.checkThere(log);
    return this.#parts.cluster.leader(
      { ...asked, check, kafkaId: log.kafkaId },
      log.kafkaName,
      partition,
      (connection, topic) => {
        if (topic.id !== log.kafkaId) throw new MovedLog(log);
        return ask(connection, topic);
      },
    );
  }

  // Declaring and removing ---------------------------------------------------------------------------------------------

  async declare(name: string, declaration: LogDeclaration, capabilities: LogCapabilities): Promise<void> {
    checkLogDeclaration(name, declaration, capabilities);
    for (let tries = 0; tries < triesMax; tries++) if (await this.#declare(name, declaration)) return;
    throw new TenonError("unavailable", `log ${name} is declared and removed by others all the time; try again later`);
  }

  /** `false`: it was not as it seemed; look again. */
  async #declare(name: string, { partitions, retentionMs, retentionBytes }: LogDeclaration): Promise<boolean> {
    const { journal, maker } = this.#parts;
    const known = journal.state.logs.named(name);
    if (known !== undefined && known.partitions !== partitions) await journal.reach("declaring a log", null);
    const place: TopicPlace | undefined = known ?? (await this.#make(name, partitions));
    if (place === undefined) return false;
    const { kafkaName, kafkaId } = place;
    const given = { retentionMs: givenAs(retentionMs), retentionBytes: givenAs(retentionBytes) };
    const declared = await journal.submit<"declareLog">(
      { kind: "declareLog", name, kafkaName, kafkaId, partitions, ...given },
      "declaring a log",
    );
    switch (declared.refused) {
      case undefined:
        if (retentionMs !== undefined || retentionBytes !== undefined) await this.#keepRetention(declared.log);
        return true;
      case "partitions":
        checkLogPartitions(name, declared.partitions, partitions);
        return false;
      case "removed":
        await maker.remove(place);
        return false;
      case "other":
        // Somebody else declared it first, under another of Kafka's names perhaps.
        if (known === undefined) return false;
        throw new MovedLog({ name, kafkaName });
    }
  }

  /** Kafka's topic. One that is there already, with as many partitions, is taken: a declaration may have ended half-way. */
  async #make(name: string, partitions: number): Promise<TopicPlace | undefined> {
    const { maker, prefix, journal } = this.#parts;
    const names = kafkaNamesOf(`${prefix}_log`, name).filter((kafkaName) => !journal.state.isTaken(kafkaName));
    const made = await maker.make(names, partitions, logSettingsKept);
    if (made.partitions === partitions) return { name, ...made };
    if (journal.state.isRemoved(made.kafkaId)) {
      await maker.remove(made);
      return undefined;
    }
    await journal.reach("declaring a log", null);
    if (!journal.state.isRemoved(made.kafkaId)) checkLogPartitions(name, made.partitions, partitions);
    return undefined;
  }

  /** Kafka deletes what the journal says; whoever declares another retention meanwhile sets that. */
  async #keepRetention(number: number): Promise<void> {
    const { journal, cluster } = this.#parts;
    for (;;) {
      const log = journal.state.logs.numbered(number);
      if (log === undefined) return;
      const { retentionMs, retentionBytes } = log;
      await setSettings(cluster, log.kafkaName, retentionSettings({ retentionMs, retentionBytes }));
      await journal.reach("declaring a log", null);
      if (log.retentionMs === retentionMs && log.retentionBytes === retentionBytes) return;
    }
  }

  async remove(name: string): Promise<void> {
    const { journal, maker, cluster } = this.#parts;
    const removed = await journal.submit<"removeLog">({ kind: "removeLog", name }, "removing a log");
    if (removed === undefined) throw logNotFound(name);
    try {
      await maker.remove(removed);
    } catch (error) {
      // It is removed; whoever declares the name again deletes what Kafka still has.
      cluster.world.log.log("warn", "deleting a log's topic in Kafka failed", { log: name, error: String(error) });
    }
  }
}

function givenAs(retention: number | undefined): GivenRetention {
  if (retention === undefined) return null;
  return retention === Number.POSITIVE_INFINITY ? "forever" : retention;
}

/** Kafka's topic is another one than the journal says, as far as this engine has read. */
export class MovedLog extends TenonError {
  constructor({ name, kafkaName }: Pick<JournaledLog, "name" | "kafkaName">) {
    const text = `Kafka's topic ${kafkaName} is not the one that log ${name} was declared on: somebody else has deleted that one; remove the log, and declare it anew`;
    super("conflict", text, { fields: { log: name, kafkaName } });
  }
}
