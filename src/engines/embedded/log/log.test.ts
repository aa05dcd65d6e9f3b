import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogRecord } from "../../../contracts/log.ts";
import { SimulatedCrash, type Simulation, simulatedWorld } from "../../../simulation/index.ts";
import type { JournaledEngine } from "../embedded-engine.ts";
import { opened, reopened, segments } from "../fixtures.test.ts";

const slow = process.env.TENON_SLOW === "1";
/** A prime, so that the operations of the workload's rounds are met in turn. */
const stride = slow ? 1 : 23;
const eventsMax = 300_000;

function recordsOf(texts: readonly string[]) {
  return texts.map((text) => ({ body: Buffer.from(text), key: text.slice(0, 1) }));
}

function append(engine: JournaledEngine, log: string, texts: readonly string[], partition = 0) {
  return engine.log.append({ log, partition, records: recordsOf(texts) });
}

async function all(engine: JournaledEngine, log: string, partition = 0): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  let from = (await engine.log.describe(log)).partitions[partition]!.first;
  for (;;) {
    const page = await engine.log.read({ log, partition, from, limit: 7 });
    if (page.records.length === 0) return records;
    records.push(...page.records);
    from = page.next;
  }
}

async function texts(engine: JournaledEngine, log: string, partition = 0): Promise<string[]> {
  return (await all(engine, log, partition)).map(({ body }) => Buffer.from(body).toString().trimEnd());
}

function places(records: readonly LogRecord[]) {
  return records.map(({ position, appendedAt, body }) => `${position} ${appendedAt} ${Buffer.from(body)}`);
}

/** What makes segments that are worth cleaning: key-values that are overwritten at once. */
async function garbage(engine: JournaledEngine, count: number): Promise<void> {
  for (let index = 0; index < count; index++)
    await engine.keyValue.commit([{ type: "put", key: "garbage", value: Buffer.alloc(1_200) }]);
}

test("a log that keeps everything stays as it is while the segments around it are cleaned away", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    await engine.log.declare("clicks", { partitions: 2 });
    for (let round = 0; round < 12; round++) {
      await append(engine, "clicks", [`${round}a`, `${round}b`], round % 2);
      await garbage(engine, 4);
      await engine.cleaner.clean();
    }
    const before = [await all(engine, "clicks", 0), await all(engine, "clicks", 1)];
    assert.equal(before[0]!.length + before[1]!.length, 24);
    const [oldest] = await segments(simulation);
    assert.ok(oldest! > "0000000000000003.journal", `nothing was cleaned: ${oldest}`);
    for (const time of ["at once", "after a crash"]) {
      if (time !== "at once") engine = await reopened(simulation);
      for (const partition of [0, 1]) {
        const found = await all(engine, "clicks", partition);
        assert.deepEqual(places(found), places(before[partition]!), time);
        for (const { position, appendedAt } of found) {
          const first = found.find((each) => each.appendedAt >= appendedAt)!.position;
          assert.equal(await engine.log.locate("clicks", partition, appendedAt), first);
          assert.equal(
            (await engine.log.read({ log: "clicks", partition, from: position, limit: 1 })).next,
            position + 1n,
          );
        }
      }
    }
    await engine.close();
  });
});

test("readers that stand anywhere go on while what they read is copied forward", async () => {
  const simulation = simulatedWorld({ seed: 6, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation);
    await engine.log.declare("clicks", { partitions: 1 });
    const written: string[] = [];
    const readers = [1, 2, 3].map((limit) => ({ limit, next: 0n, found: [] as string[] }));
    for (let round = 0; round < 60; round++) {
      const batch = Array.from({ length: 5 }, (_, index) => `${round}/${index} `.padEnd(40, "."));
      written.push(...batch);
      await append(engine, "clicks", batch);
      await garbage(engine, 2);
      const cleaning = engine.cleaner.clean();
      for (const reader of readers) {
        const page = await engine.log.read({ log: "clicks", partition: 0, from: reader.next, limit: reader.limit });
        reader.found.push(...page.records.map(({ body }) => Buffer.from(body).toString()));
        reader.next = page.next;
      }
      await cleaning;
    }
    const [oldest] = await segments(simulation);
    assert.ok(oldest! > "0000000000000003.journal", `nothing was cleaned: ${oldest}`);
    for (const { limit, found } of readers) assert.deepEqual(found, written.slice(0, 60 * limit));
    await engine.close();
  });
});

test("by size a partition keeps what it must, and gives back segments of what it need not", async () => {
  const simulation = simulatedWorld({ seed: 2, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation);
    const retentionBytes = 8_000;
    await engine.log.declare("clicks", { partitions: 1, retentionBytes });
    const written: string[] = [];
    for (let round = 0; round < 200; round++) {
      const text = `r${round} `.padEnd(200, ".");
      written.push(text);
      await append(engine, "clicks", [text]);
      if (round % 20 !== 19) continue;
      await engine.cleaner.clean();
      const kept = await texts(engine, "clicks");
      assert.deepEqual(kept, written.slice(-kept.length), "what is kept is the newest");
      const bytes = kept.length * 200;
      assert.ok(bytes >= Math.min(retentionBytes - 4_096, written.length * 200 * 0.9), `only ${bytes} bytes are kept`);
    }
    assert.ok(engine.sizeBytes < 40_000, `${engine.sizeBytes} bytes are still on the disk`);
    await engine.close();
  });
});

test("by age records go one by one, the reader is told, and their space comes back", async () => {
  const simulation = simulatedWorld({ seed: 3, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    await engine.log.declare("clicks", { partitions: 1, retentionMs: 60_000 });
    for (let round = 0; round < 60; round++) {
      await append(engine, "clicks", [`r${round} `.padEnd(400, ".")]);
      await engine.world.timers.sleep(2_000);
    }
    await engine.cleaner.clean();
    const kept = await all(engine, "clicks");
    const now = engine.world.clock.now();
    assert.ok(kept.length >= 29 && kept.length <= 33, `${kept.length} are kept`);
    assert.ok(kept.every(({ appendedAt }) => now - appendedAt <= 70_000));
    assert.ok(engine.sizeBytes < 40_000, `${engine.sizeBytes} bytes are still on the disk`);
    const read = engine.log.read({ log: "clicks", partition: 0, from: 0n, limit: 1 });
    await assert.rejects(read, {
      code: "not-found",
      fields: { log: "clicks", partition: 0, from: 0n, first: kept[0]!.position },
    });
    engine = await reopened(simulation);
    assert.deepEqual(places(await all(engine, "clicks")).slice(-20), places(kept).slice(-20));
    await engine.close();
  });
});

test("instants of a log never decrease, also when the clock is set back, and it is still searched by them", async () => {
  const simulation = simulatedWorld({ seed: 4, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    await engine.log.declare("clicks", { partitions: 1 });
    await append(engine, "clicks", ["a"]);
    simulation.stepClock(-3_600_000);
    await append(engine, "clicks", ["b"]);
    engine = await reopened(simulation);
    await append(engine, "clicks", ["c"]);
    const instants = (await all(engine, "clicks")).map(({ appendedAt }) => appendedAt);
    assert.equal(instants[1], instants[0]);
    assert.equal(instants[2], instants[0]);
    simulation.stepClock(7_200_000);
    await append(engine, "clicks", ["d"]);
    assert.equal(await engine.log.locate("clicks", 0, instants[0]!), 0n);
    assert.equal(await engine.log.locate("clicks", 0, instants[0]! + 1), 3n);
    await engine.close();
  });
});

test("what a removed log left is given back, and nothing of its readers and writers stays", async () => {
  const simulation = simulatedWorld({ seed: 5, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation);
    await engine.log.declare("clicks", { partitions: 1 });
    for (let round = 0; round < 100; round++) await append(engine, "clicks", ["x".repeat(400)]);
    const writer = await engine.log.openWriter("writer", ["clicks"]);
    const position = { reader: "reader", log: "clicks", partition: 0, position: 5n };
    const outputs = [{ log: "clicks", partition: 0, records: recordsOf(["a"]), sequences: [1n] }];
    await engine.log.commit(writer, { outputs, positions: [position] });
    assert.equal(engine.stateCount, 3);
    await engine.log.remove("clicks");
    // The writer may be somebody's in another log.
    assert.equal(engine.stateCount, 1);
    await engine.cleaner.clean();
    assert.ok(engine.sizeBytes < 12_000, `${engine.sizeBytes} bytes are still on the disk`);
    await engine.close();
  });
});

/** What was asked for, and what was acknowledged. */
interface Ledger {
  asked: number;
  acknowledged: number;
}

/** Reads a log, writes what it read to two partitions of another one, with its position, over and over. */
async function work(engine: JournaledEngine, input: Ledger): Promise<void> {
  await engine.log.declare("in", { partitions: 1 });
  await engine.log.declare("out", { partitions: 2 });
  const writer = await engine.log.openWriter("copy", ["in", "out"]);
  let from = (await engine.log.positions("copy", "in")).get(0) ?? 0n;
  for (let round = 0; round < 6; round++) {
    const batch = Array.from({ length: 4 }, () => `i${input.asked++} `.padEnd(150, "."));
    await append(engine, "in", batch);
    input.acknowledged = input.asked;
    await garbage(engine, 1);
    const page = await engine.log.read({ log: "in", partition: 0, from, limit: 3 });
    const records = page.records.map(({ body, key }) => ({ body, key }));
    const outputs = [0, 1].map((partition) => ({ log: "out", partition, records }));
    await engine.log.commit(writer, {
      outputs,
      positions: [{ reader: "copy", log: "in", partition: 0, position: page.next }],
    });
    from = page.next;
    if (round % 3 === 2) await engine.world.timers.sleep(5_500);
  }
}

async function verify(simulation: Simulation, input: Ledger): Promise<void> {
  await simulation.run(async () => {
    const engine = await opened(simulation);
    if ((await engine.log.logs()).length < 2) return engine.close();
    const stored = await texts(engine, "in");
    assert.ok(
      stored.length >= input.acknowledged && stored.length <= input.asked,
      `${stored.length} of ${input.asked}`,
    );
    assert.deepEqual(
      stored.map((text) => text.split(" ")[0]),
      stored.map((_, index) => `i${index}`),
    );
    const position = Number((await engine.log.positions("copy", "in")).get(0) ?? 0n);
    for (const partition of [0, 1])
      assert.deepEqual(await texts(engine, "out", partition), stored.slice(0, position), `partition ${partition}`);
    input.asked = stored.length;
    input.acknowledged = stored.length;
    await engine.close();
  });
}

for (const moment of ["before", "during"] as const) {
  test(`a crash ${moment} any disk operation leaves outputs and position of the same commits`, async () => {
    let operation = 1;
    for (; ; operation += stride) {
      const simulation = simulatedWorld({ seed: operation, eventsMax });
      const input = { asked: 0, acknowledged: 0 };
      const fault = simulation.disk.crashAtOperation(operation, moment, { outcome: "seeded" });
      const live = simulation.run(async () => {
        const engine = await opened(simulation);
        await work(engine, input);
        await engine.close();
      });
      await live.catch((error: unknown) => {
        if (!(error instanceof SimulatedCrash)) throw new Error(`operation ${operation}`, { cause: error });
      });
      if (!fault.struck) break;
      simulation.restart();
      await verify(simulation, input);
      // What came back is built upon, and dies once more.
      await simulation.run(async () => work(await opened(simulation), input));
      simulation.crash("lost");
      simulation.restart();
      await verify(simulation, input);
    }
    assert.ok(operation > 100, `${operation} operations`);
  });
}
