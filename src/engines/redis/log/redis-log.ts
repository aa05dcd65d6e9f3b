import type { TenonError } from "../../../contracts/errors.ts";
import type {
  LogBatch,
  LogCapabilities,
  LogCommit,
  LogDeclaration,
  LogDescription,
  LogEngine,
  LogOutput,
  LogPage,
  LogRead,
  LogWriter,
  NewRecord,
  ReaderPosition,
} from "../../../contracts/log.ts";
import {
  checkLogPartition,
  checkLogPartitions,
  checkPositionWithin,
  logNotFound,
  writerFenced,
} from "../../../contracts/log-requests.ts";
import type { World } from "../../../world/world.ts";
import { checkBatch, packChunks, refusedBatch } from "../../lanes/batches.ts";
import { toPosition } from "../../lanes/positions.ts";
import { InOrder } from "../../shared/in-order.ts";
import type { Argument, Connection } from "../connection.ts";
import { asRead } from "../failures.ts";
import { numberOf, type Reply, refusalOf, textOf } from "../messages/replies.ts";
import { listTopic } from "../messages/scripts/scripts.ts";
import type { Script } from "../script.ts";
import { LogReading } from "./log-reading.ts";
import * as scripts from "./scripts/scripts.ts";

export interface LogSettings {
  /** What the keys begin with. */
  readonly prefix: string;
  readonly world: World;
  readonly survives: LogCapabilities["survives"];
}

type Positions = readonly (readonly (bigint | undefined)[])[];

/**
 * The `log` contract on Redis, for what `CheckedLog` has looked at: a log in one slot, its partitions as streams of runs. Scripts reach one slot, so logs cannot be committed together. A writer has one number
 * for all of its logs, and each log knows the greatest that was opened for it.
 */
export class RedisLog implements LogEngine {
  readonly capabilities: LogCapabilities;
  readonly #connection: Connection;
  readonly #prefix: string;
  readonly #reading: LogReading;
  /** By partition. */
  readonly #appends = new InOrder();

  constructor(connection: Connection, { prefix, world, survives }: LogSettings) {
    this.#connection = connection;
    this.#prefix = prefix;
    this.#reading = new LogReading(connection, world, (log) => this.#keyOf(log));
    this.capabilities = {
      survives,
      transactions: false,
      sequences: true,
      deduplicate: true,
      instants: "exact",
      retentionLatenessMs: 1_000,
      partitionsMax: 1_024,
      recordBytesMax: 4 * 1024 * 1024,
      keyBytesMax: 65_535,
      batchBytesMax: 8 * 1024 * 1024,
      commitBytesMax: 8 * 1024 * 1024,
    };
  }

  async declare(log: string, declaration: LogDeclaration): Promise<void> {
    const { partitions, retentionMs, retentionBytes } = declaration;
    const reply = await this.#run(scripts.declare, log, [partitions, figure(retentionMs), figure(retentionBytes)]);
    if (refusalOf(reply) === "partitions") checkLogPartitions(log, numberOf(reply[1]), partitions);
    await this.#list(log, numberOf(reply[0]), true);
  }

  async logs(): Promise<readonly string[]> {
    const key = this.#namesKey;
    const names = (await this.#connection.command(key, ["HKEYS", key]).catch(asRead)) as Reply;
    return names.map(textOf).sort();
  }

  async remove(log: string): Promise<void> {
    const reply = await this.#run(scripts.remove, log, []);
    throwIfGone(log, reply);
    await this.#list(log, numberOf(reply[0]), false);
  }

  /** The list of all logs lies in another slot, so it follows. */
  async #list(log: string, incarnation: number, isThere: boolean): Promise<void> {
    await this.#connection.run(listTopic, [this.#namesKey], [log, incarnation, isThere ? 1 : 0]);
  }

  async describe(log: string): Promise<LogDescription> {
    const reply = await this.#run(scripts.describe, log, []).catch(asRead);
    throwIfGone(log, reply);
    const [[retentionMs, retentionBytes], ...partitions] = reply as [Reply, ...Reply[]];
    return {
      log,
      retentionMs: figureOf(retentionMs),
      retentionBytes: figureOf(retentionBytes),
      partitions: partitions.map(([first, next, lastAt]) => ({
        first: toPosition(numberOf(first)),
        next: toPosition(numberOf(next)),
        lastAt: figureOf(lastAt),
      })),
    };
  }

  append(batch: LogBatch): Promise<readonly bigint[]> {
    const { log, partition, records, producer } = batch;
    const mark = producer === undefined ? ["", 0, 0] : [producer.id, producer.epoch, producer.sequence];
    const args = [partition, records.length, ...mark, ...this.#packed(log, partition, records)];
    return this.#appends.run(`${partition}/${log}`, async () => {
      const reply = await this.#run(scripts.append, log, args);
      throwIfRefused(batch, reply);
      return positionsFrom(numberOf(reply[0]), records.length);
    });
  }

  /** `chunks · chunks × (count, packed records)` */
  #packed(log: string, partition: number, messages: readonly NewRecord[]): Argument[] {
    const { keyBytesMax, recordBytesMax: messageBytesMax, batchBytesMax } = this.capabilities;
    const checked = checkBatch({ topic: log, partition, messages }, { keyBytesMax, messageBytesMax, batchBytesMax });
    const chunks = packChunks(checked);
    return [chunks.length, ...chunks.flatMap(({ count, packed }) => [count, packed])];
  }

  read(request: LogRead, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<LogPage> {
    return this.#reading.read(request, signal);
  }

  async locate(log: string, partition: number, at: number): Promise<bigint> {
    const reply = await this.#run(scripts.locate, log, [partition, at]).catch(asRead);
    throwIfGone(log, reply, partition);
    return toPosition(numberOf(reply[0]));
  }

  async positions(reader: string, log: string): Promise<ReadonlyMap<number, bigint>> {
    const reply = await this.#run(scripts.positions, log, [reader, 0]).catch(asRead);
    throwIfGone(log, reply);
    const positions = new Map<number, bigint>();
    for (const [partition, [position]] of (reply as Reply[]).entries())
      if (textOf(position) !== "") positions.set(partition, toPosition(numberOf(position)));
    return positions;
  }

  async forget(reader: string, log: string): Promise<void> {
    throwIfGone(log, await this.#run(scripts.positions, log, [reader, 1]));
  }

  async openWriter(name: string, logs: readonly string[]): Promise<LogWriter> {
    // A name that means nothing fences nobody.
    for (const log of logs) throwIfGone(log, await this.#run(scripts.fence, log, [name, ""]));
    const key = `${this.#prefix}:log-writers:{${tagOf(name)}}`;
    const epoch = BigInt(textOf(await this.#connection.run(scripts.nextEpoch, [key], [])));
    for (const log of logs) throwIfGone(log, await this.#run(scripts.fence, log, [name, String(epoch)]));
    return { name, epoch, logs: [...logs] };
  }

  async commit(writer: LogWriter, { outputs = [], positions = [] }: LogCommit): Promise<Positions> {
    const [output] = outputs;
    const [position] = positions;
    if (output !== undefined) return [await this.#store(writer, output)];
    if (position !== undefined) await this.#stand(writer, position);
    else for (const log of writer.logs) await this.#ask(writer, log, ["", "", ""]);
    return [];
  }

  async #stand(writer: LogWriter, standing: ReaderPosition): Promise<void> {
    const { reader, log, partition, position } = standing;
    const reply = await this.#ask(writer, log, [partition, String(position), "p", reader], partition);
    if (refusalOf(reply) === "beyond") checkPositionWithin(standing, toPosition(numberOf(reply[1])));
  }

  /** Records whose sequence is known are left out, and the others are tried again: what is known only grows. */
  async #store(writer: LogWriter, { log, partition, records, sequences }: LogOutput): Promise<(bigint | undefined)[]> {
    for (let known = 0; ; ) {
      const fresh = records.slice(known);
      const [from = "", to = ""] = sequences === undefined ? [] : [String(sequences[known]), String(sequences.at(-1))];
      const packed = this.#packed(log, partition, fresh);
      const reply = await this.#ask(writer, log, [partition, fresh.length, "o", from, to, ...packed], partition);
      const before: undefined[] = new Array(known).fill(undefined);
      if (refusalOf(reply) !== "known") return [...before, ...positionsFrom(numberOf(reply[0]), fresh.length)];
      const last = BigInt(textOf(reply[1]));
      known = sequences!.findIndex((sequence) => sequence > last);
      if (known < 0) return new Array(records.length).fill(undefined);
    }
  }

  async #ask({ name, epoch }: LogWriter, log: string, args: readonly Argument[], partition?: number): Promise<Reply> {
    const reply = await this.#run(scripts.commit, log, [name, String(epoch), ...args]);
    throwIfGone(log, reply, partition);
    if (refusalOf(reply) === "fenced") throw writerFenced(name, epoch);
    return reply;
  }

  #run(script: Script, log: string, args: readonly Argument[]): Promise<Reply> {
    return this.#connection.run(script, [this.#keyOf(log)], args) as Promise<Reply>;
  }

  /** Of the log itself; what belongs to it has keys that begin with this one, and is in its slot. */
  #keyOf(log: string): string {
    return `${this.#prefix}:logs:{${tagOf(log)}}`;
  }

  /** A hash from the names of all logs to their incarnations. */
  get #namesKey(): string {
    return `${this.#prefix}:logs`;
  }

  /** Whoever waits hears of it. The connection stays open. */
  close(reason: TenonError): void {
    this.#reading.close(reason);
  }
}

/** Braces would end the hash tag. */
function tagOf(name: string): string {
  return name.replace(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
}

function figure(value: number | undefined): Argument {
  if (value === undefined) return "";
  return value === Number.POSITIVE_INFINITY ? "inf" : value;
}

function figureOf(item: unknown): number | undefined {
  return textOf(item) === "" ? undefined : numberOf(item);
}

function positionsFrom(first: number, count: number): bigint[] {
  return Array.from({ length: count }, (_, index) => toPosition(first + index));
}

function throwIfGone(log: string, reply: Reply, partition?: number): void {
  const refusal = refusalOf(reply);
  if (refusal === "gone") throw logNotFound(log);
  if (refusal === "partition") checkLogPartition(log, partition ?? -1, numberOf(reply[1]));
}

function throwIfRefused({ log, partition, records, producer }: LogBatch, reply: Reply): void {
  throwIfGone(log, reply, partition);
  const refusal = refusalOf(reply);
  const batch = { topic: log, partition, messages: records, producer };
  if (refusal === "fenced") throw refusedBatch(batch, { refused: "fenced", epoch: numberOf(reply[1]) });
  if (refusal === "gap") throw refusedBatch(batch, { refused: "gap", expected: numberOf(reply[1]) });
  if (refusal === "repeated") throw refusedBatch(batch, { refused: "repeated" });
}
