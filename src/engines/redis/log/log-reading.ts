import type { TenonError } from "../../../contracts/errors.ts";
import type { LogPage, LogRead, LogRecord } from "../../../contracts/log.ts";
import { checkLogPartition, checkReadPosition, logNotFound } from "../../../contracts/log-requests.ts";
import type { World } from "../../../world/world.ts";
import { Run } from "../../lanes/message-format.ts";
import { toPosition } from "../../lanes/positions.ts";
import { addRecords } from "../../lanes/run-records.ts";
import { LogTails } from "../../shared/log-tails.ts";
import type { Connection } from "../connection.ts";
import { asRead } from "../failures.ts";
import { numberOf, type Reply, refusalOf, textOf } from "../messages/replies.ts";
import { read } from "./scripts/scripts.ts";

/** A page ends with the run that makes it larger. */
const pageBytes = 1024 * 1024;
/** Reading of logs. A log that grows says so on its channel. */
export class LogReading {
  readonly #connection: Connection;
  readonly #keyOf: (log: string) => string;
  readonly #tails: LogTails;

  constructor(connection: Connection, world: World, keyOf: (log: string) => string) {
    this.#connection = connection;
    this.#keyOf = keyOf;
    this.#tails = new LogTails(world, (channel, hear) => {
      return connection.listen(channel, (payload) => hear(partitionIn(payload)));
    });
  }

  read(request: LogRead, signal: AbortSignal | undefined): Promise<LogPage> {
    let incarnation = "";
    return this.#tails.read(request, signal, `${this.#keyOf(request.log)}:w`, async () => {
      const page = await this.#page(request, incarnation);
      incarnation = page.incarnation;
      return page.records;
    });
  }

  async #page({ log, partition, from, limit }: LogRead, incarnation: string) {
    const args = [incarnation, partition, String(from), limit, pageBytes];
    const reply = (await this.#connection.run(read, [this.#keyOf(log)], args).catch(asRead)) as Reply;
    if (refusalOf(reply) === "gone") throw logNotFound(log);
    if (refusalOf(reply) === "partition") checkLogPartition(log, partition, numberOf(reply[1]));
    const [found, first, next, ...runs] = reply;
    checkReadPosition({ log, partition, from }, toPosition(numberOf(first)), toPosition(numberOf(next)));
    return { incarnation: String(numberOf(found)), records: recordsOf(runs, Number(from), limit) };
  }

  close(reason: TenonError): void {
    this.#tails.close(reason);
  }
}

/** `-`: the log was removed. */
function partitionIn(payload: Buffer | undefined): number | undefined {
  const said = payload === undefined ? "-" : textOf(payload);
  return said === "-" ? undefined : Number(said);
}

/** `end · count · instant · packed records` of each run. */
function recordsOf(runs: Reply, from: number, limit: number): LogRecord[] {
  const records: LogRecord[] = [];
  for (let at = 0; at < runs.length; at += 4) {
    const [end, count, appendedAt, packed] = runs.slice(at, at + 4);
    const run = new Run(numberOf(end), numberOf(count), numberOf(appendedAt), packed as Buffer);
    addRecords(records, run, from, limit);
  }
  return records;
}
