/** Logs that are broken on purpose, one fault each, and the case that must find it. */
import { describe, test } from "node:test";
import { type LogsEngine, logCases } from "tenon/conformance";
import type { LogEngine, LogPage, LogWriter } from "tenon/contracts";
import { embedded } from "tenon/embedded";
import type { World } from "tenon/world";
import { type Canary, mustBeFound } from "./conformance-canary.ts";
import { forgetfulWorld } from "./forgetful-world.ts";

interface Fault {
  readonly fault: string;
  readonly caughtBy: string;
  readonly log?: (sound: LogEngine, world: World) => Partial<LogEngine>;
  readonly world?: (sound: World) => World;
  readonly staysOpen?: boolean;
}

const ever = Number.POSITIVE_INFINITY;

const faults: readonly Fault[] = [
  {
    fault: "takes another partition count for the same log",
    caughtBy: "another partition count than before is a conflict",
    log: (sound) => ({ declare: (log, declaration) => sound.declare(log, declaration).catch(() => undefined) }),
  },
  {
    fault: "forgets a retention that is left out",
    caughtBy: "retentions that are given replace the former ones, and those left out stay",
    log: (sound) => ({
      declare: (log, { partitions, retentionMs = ever, retentionBytes = ever }) =>
        sound.declare(log, { partitions, retentionMs, retentionBytes }),
    }),
  },
  {
    fault: "lists logs in the order of their making",
    caughtBy: "logs are listed by name, and one that was not declared is not found",
    log: (sound) => ({ logs: async () => [...(await sound.logs())].reverse() }),
  },
  {
    fault: "makes a log by appending to it",
    caughtBy: "logs are listed by name, and one that was not declared is not found",
    log: (sound) => ({
      async append(batch) {
        await sound.declare(batch.log, { partitions: 1 }).catch(() => undefined);
        return sound.append(batch);
      },
    }),
  },
  {
    fault: "only forgets a removed log's records",
    caughtBy: "a log that is declared again after its removal shares nothing with the former one",
    log: (sound) => {
      const positions = new Map<string, ReadonlyMap<number, bigint>>();
      return {
        async remove(log) {
          positions.set(log, await sound.positions("reader", log));
          await sound.remove(log);
        },
        positions: async (reader, log) => positions.get(log) ?? (await sound.positions(reader, log)),
      };
    },
  },
  {
    fault: "answers positions that were never stored",
    caughtBy: "records are read as they were appended, in order, with positions that grow",
    log: (sound) => ({ append: async (batch) => (await sound.append(batch)).map((position) => position + 1n) }),
  },
  {
    fault: "loses headers",
    caughtBy: "records are read as they were appended, in order, with positions that grow",
    log: (sound) => ({
      append: (batch) => sound.append({ ...batch, records: batch.records.map(({ headers: _, ...record }) => record) }),
    }),
  },
  {
    fault: "lets one append overtake another",
    caughtBy: "appends to one partition take effect in the order of the calls",
    log: (sound, world) => ({
      async append(batch) {
        await world.timers.sleep(world.random.float() * 10);
        return sound.append(batch);
      },
    }),
  },
  {
    fault: "gives every record of a page the same instant",
    caughtBy: "instants of records never decrease, and are the engine's",
    log: (sound) => ({
      read: changedPages(sound, (page) => page.map((each) => ({ ...each, appendedAt: page[0]!.appendedAt }))),
    }),
  },
  {
    fault: "takes records of any size",
    caughtBy: "a batch that breaks a limit is refused whole, and one at the limit is taken",
    log: (sound) => ({ capabilities: { ...sound.capabilities, recordBytesMax: 1024 } }),
  },
  {
    fault: "stores a repeated batch again",
    caughtBy: "a batch that its producer repeats is answered with its positions and stored once",
    log: (sound) => ({ append: ({ producer: _, ...batch }) => sound.append(batch) }),
  },
  {
    fault: "says that it knows no batches again, and does",
    caughtBy: "a producer's mark is refused where batches are not known again",
    log: (sound) => ({ capabilities: { ...sound.capabilities, deduplicate: false } }),
  },
  {
    fault: "begins a page one record late",
    caughtBy: "a log is read from any position, as often as wanted",
    log: (sound) => ({ read: changedPages(sound, (page) => (page.length > 1 ? page.slice(1) : page)) }),
  },
  {
    fault: "answers more than the limit",
    caughtBy: "a page holds at least one record when there is one, at most the limit, and says where to go on",
    log: (sound) => ({ read: (request, options) => sound.read({ ...request, limit: request.limit + 1 }, options) }),
  },
  {
    fault: "goes on behind records that it did not answer",
    caughtBy: "a page holds at least one record when there is one, at most the limit, and says where to go on",
    log: (sound) => ({
      async read(request, options) {
        const page = await sound.read(request, options);
        return page.records.length > 2 ? { records: page.records.slice(0, 2), next: page.next } : page;
      },
    }),
  },
  {
    fault: "answers at once instead of waiting",
    caughtBy: "a read waits at the end for the next record, and wakes with it",
    log: (sound) => ({ read: (request, options) => sound.read({ ...request, waitMs: 0 }, options) }),
  },
  {
    fault: "waits longer than it was asked to",
    caughtBy: "a read that waited long enough answers an empty page",
    log: (sound) => ({
      read: (request, options) => sound.read({ ...request, waitMs: request.waitMs === undefined ? 0 : ever }, options),
    }),
  },
  {
    fault: "does not listen to the signal of a wait",
    caughtBy: "a waiting read ends with the reason of its signal",
    log: (sound) => ({ read: (request) => sound.read(request) }),
  },
  {
    fault: "takes a position beyond the end for the end",
    caughtBy: "a read of what cannot be there is refused",
    log: (sound) => ({
      async read(request, options) {
        const next = (await sound.describe(request.log)).partitions[request.partition]?.next ?? 0n;
        const from = typeof request.from === "bigint" && request.from > next ? next : request.from;
        return sound.read({ ...request, from }, options);
      },
    }),
  },
  {
    fault: "finds the first record after an instant, not at it",
    caughtBy: "the first record at or after an instant is found",
    log: (sound) => ({ locate: (log, partition, at) => sound.locate(log, partition, at + 1) }),
  },
  {
    fault: "finds an instant coarsely and says that it is exact",
    caughtBy: "the first record at or after an instant is found",
    log: (sound) => ({ locate: async (log) => (await sound.describe(log)).partitions[0]!.first }),
  },
  {
    fault: "describes the end of another partition",
    caughtBy: "a description tells the bounds of each partition",
    log: (sound) => ({
      async describe(log) {
        const description = await sound.describe(log);
        return { ...description, partitions: [...description.partitions].reverse() };
      },
    }),
  },
  {
    fault: "keeps nothing for as long as it was asked to",
    caughtBy: "records that are younger than their retention stay",
    log: (sound, world) => ({
      async describe(log) {
        const description = await sound.describe(log);
        await world.timers.sleep(10);
        return { ...description, partitions: description.partitions.map((each) => ({ ...each, first: each.next })) };
      },
    }),
  },
  {
    fault: "keeps everything for ever",
    caughtBy: "records that are older than their retention go, and a reader is told",
    log: (sound) => ({ declare: (log, { partitions }) => sound.declare(log, { partitions }) }),
  },
  {
    fault: "lets a reader go past what was dropped",
    caughtBy: "records that are older than their retention go, and a reader is told",
    log: (sound) => ({
      async read(request, options) {
        const first = (await sound.describe(request.log)).partitions[request.partition]!.first;
        return sound.read({ ...request, from: request.from < first ? first : request.from }, options);
      },
    }),
  },
  {
    fault: "moves readers only forward",
    caughtBy: "a writer's output and a reader's position are stored, and found by everybody",
    log: (sound) => ({
      async commit(writer, change) {
        for (const { reader, log, partition, position } of change.positions ?? [])
          if (((await sound.positions(reader, log)).get(partition) ?? 0n) > position) return [];
        return sound.commit(writer, change);
      },
    }),
  },
  {
    fault: "lets a reader stand beyond the end",
    caughtBy: "a reader may stand at the end, and nowhere beyond",
    log: (sound) => ({ commit: (writer, change) => sound.commit(writer, change).catch(() => []) }),
  },
  {
    fault: "lets a writer go on that was fenced",
    caughtBy: "opening a writer fences whoever opened its name before",
    log: (sound) => withNewestEpoch(sound),
  },
  {
    fault: "gives the same epoch to all that open at once",
    caughtBy: "of writers that are opened at the same time one is left, and epochs are all different",
    log: (sound) => {
      let opening: Promise<LogWriter> | undefined;
      return {
        openWriter(name, logs) {
          opening ??= sound.openWriter(name, logs);
          return opening;
        },
      };
    },
  },
  {
    fault: "carries a commit out after the next writer was opened",
    caughtBy: "a writer whose opening is under way lets nothing of the former one come after it",
    log: (sound, world) => ({
      async commit(writer, change) {
        await world.timers.sleep(200);
        const writerNow = await sound.openWriter(writer.name, writer.logs);
        return sound.commit(writerNow, change);
      },
    }),
  },
  {
    fault: "takes outputs for logs that the writer was not opened for",
    caughtBy: "a change that breaks a rule is refused whole",
    log: (sound) => ({
      commit: async (writer, change) => sound.commit({ ...writer, logs: await sound.logs() }, change),
    }),
  },
  {
    fault: "commits outputs and positions one after the other",
    caughtBy: "outputs and positions of several logs are committed together, or not at all",
    log: (sound) => ({
      async commit(writer, change) {
        const stored = await sound.commit(writer, { outputs: change.outputs });
        await sound.commit(writer, { positions: change.positions });
        return stored;
      },
    }),
  },
  {
    fault: "shows outputs one by one",
    caughtBy: "a reader that meets one output of a commit meets the others",
    log: (sound) => ({
      async commit(writer, change) {
        const stored = [];
        for (const output of [...(change.outputs ?? [])].reverse())
          stored.unshift(...(await sound.commit(writer, { outputs: [output] })));
        return stored;
      },
    }),
  },
  {
    fault: "says that it has no transactions, and commits several parts",
    caughtBy: "a change of several parts is refused where there are no transactions",
    log: (sound) => ({ capabilities: { ...sound.capabilities, transactions: false } }),
  },
  {
    fault: "stores known sequences again",
    caughtBy: "records whose sequence is known under a writer's name are stored once, whichever epoch brings them",
    log: (sound) => ({
      commit: (writer, { outputs, positions }) =>
        sound.commit(writer, { outputs: outputs?.map(({ sequences: _, ...output }) => output), positions }),
    }),
  },
  {
    fault: "says that it keeps no sequences, and does",
    caughtBy: "sequences are refused where they are not kept",
    log: (sound) => ({ capabilities: { ...sound.capabilities, sequences: false } }),
  },
  {
    fault: "acknowledges before it syncs",
    caughtBy: "records that were acknowledged survive a crash, at their positions and instants",
    world: forgetfulWorld,
  },
  {
    fault: "acknowledges commits before it syncs",
    caughtBy: "what a commit stored is there after a crash, all of it",
    world: forgetfulWorld,
  },
  {
    fault: "forgets epochs with the process",
    caughtBy: "a writer that was fenced before a crash is fenced after it, and epochs go on",
    log: (sound) => {
      let epoch = 0n;
      const known = new Map<string, LogWriter>();
      return {
        async openWriter(name, logs) {
          known.set(name, await sound.openWriter(name, logs));
          epoch += 1n;
          return { name, logs, epoch };
        },
        commit: (writer, change) => sound.commit(known.get(writer.name) ?? writer, change),
      };
    },
  },
  {
    fault: "forgets producers with the process",
    caughtBy: "a batch that is repeated after a crash is known",
    log: (sound, world) => {
      const process = world.random.uuid();
      return {
        append: ({ producer, ...batch }) =>
          sound.append({ ...batch, producer: producer && { ...producer, id: producer.id + process } }),
      };
    },
  },
  {
    fault: "takes sequences with the writer's epoch",
    caughtBy: "sequences are remembered across a crash",
    log: (sound) => ({
      commit: (writer, { outputs, positions }) =>
        sound.commit(writer, {
          outputs: outputs?.map((output) => ({
            ...output,
            sequences: output.sequences?.map((sequence) => sequence + (writer.epoch << 8n)),
          })),
          positions,
        }),
    }),
  },
  {
    fault: "acknowledges a removal before it syncs",
    caughtBy: "a removal that was answered survives a crash",
    world: forgetfulWorld,
  },
  {
    fault: "goes on after its close",
    caughtBy: "closing the engine ends a waiting read, and everything later is refused",
    staysOpen: true,
  },
];

describe("every fault of a log is found", () => {
  for (const fault of faults) test(`${fault.fault}: "${fault.caughtBy}"`, () => mustBeFound(canaryOf(fault)));
});

function canaryOf(fault: Fault): Canary<LogsEngine> {
  const opening = (each: Fault) => async (world: World) =>
    broken(await embedded({ directory: "/data", world: each.world?.(world) ?? world }), each);
  const { caughtBy } = fault;
  return { cases: logCases, caughtBy, sound: opening({ fault: "none", caughtBy }), broken: opening(fault) };
}

function broken(engine: LogsEngine, fault: Fault): LogsEngine {
  const { log, world } = engine;
  return {
    world,
    log: { ...forwarded(log), ...fault.log?.(log, world) },
    close: async () => {
      if (!fault.staysOpen) await engine.close();
    },
  };
}

function forwarded(sound: LogEngine): LogEngine {
  return {
    capabilities: sound.capabilities,
    declare: (log, declaration) => sound.declare(log, declaration),
    logs: () => sound.logs(),
    remove: (log) => sound.remove(log),
    describe: (log) => sound.describe(log),
    append: (batch) => sound.append(batch),
    read: (request, options) => sound.read(request, options),
    locate: (log, partition, at) => sound.locate(log, partition, at),
    positions: (reader, log) => sound.positions(reader, log),
    forget: (reader, log) => sound.forget(reader, log),
    openWriter: (name, logs) => sound.openWriter(name, logs),
    commit: (writer, change) => sound.commit(writer, change),
  };
}

function changedPages(
  sound: LogEngine,
  change: (records: LogPage["records"]) => LogPage["records"],
): LogEngine["read"] {
  return async (request, options) => {
    const page = await sound.read(request, options);
    return { ...page, records: page.records.length === 0 ? [] : change(page.records) };
  };
}

/** Whoever commits does so as the newest. */
function withNewestEpoch(sound: LogEngine): Partial<LogEngine> {
  const newest = new Map<string, LogWriter>();
  return {
    async openWriter(name, logs) {
      const writer = await sound.openWriter(name, logs);
      newest.set(name, writer);
      return writer;
    },
    commit: (writer, change) => sound.commit(newest.get(writer.name) ?? writer, change),
  };
}
