import assert from "node:assert/strict";
import { test } from "node:test";
import { simulatedWorld } from "../../simulation/index.ts";
import { Reader, Writer } from "./cursor.ts";
import { fetched, laneOf, numbered, opened, published, reopened, segments, settled, texts } from "./fixtures.test.ts";
import { Catalogue } from "./messages/catalogue.ts";
import { type Lane, laneSnapshotBytes, replayLaneSnapshot, writeLaneSnapshot } from "./messages/lanes.ts";

const settings = { retentionMs: 0, countMax: Number.POSITIVE_INFINITY, whenFull: "refuse", sealed: "" } as const;

const joining = { sessionMs: 10_000, revokeMs: 1_000, windowMax: 1_000 };

test("messages that were cleaned away and gone past count no more against countMax", async () => {
  const simulation = simulatedWorld({ seed: 2, eventsMax: 100_000 });
  await simulation.run(async () => {
    const engine = await opened(simulation, { segmentBytes: 8192 });
    await engine.messages.declare("orders", { partitions: 1, groups: ["billing"] });
    for (const text of numbered(120, 300)) await published(engine, [text]);
    await settled(engine, 14);
    await engine.cleaner.clean();
    await settled(engine, 106);
    await engine.cleaner.clean();
    const late = await engine.messages.join("orders", "late", { ...joining, from: "earliest" });
    const lane = await late.nextLane();
    for (let low = 0n; low < 120n; ) {
      const { groups, partitions } = await engine.messages.describe("orders");
      low = groups.find(({ group }) => group === "late")!.lanes[0]!.low;
      if (low >= 120n) break;
      // Exactly one more fits, and whether it does says what the others are taken for.
      const countMax = Number(partitions[0]!.next - low) + 1;
      await engine.messages.declare("orders", { partitions: 1, countMax });
      await assert.rejects(published(engine, ["a", "b"]), { code: "overloaded" });
      await published(engine, ["a"]);
      const [next] = await lane.fetch(1);
      await lane.commit({ settled: [next!.position] });
    }
    await engine.close();
  });
});

test("a group that went past messages which were cleaned away has no lag for them, also after a crash", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax: 100_000 });
  await simulation.run(async () => {
    let engine = await opened(simulation, { segmentBytes: 8192 });
    await engine.messages.declare("orders", { partitions: 1, groups: ["billing"] });
    const all = numbered(120, 300);
    for (const text of all) await published(engine, [text]);
    // The end of the oldest segment is copied forward; later, what lay between that and the rest goes away: a gap.
    await settled(engine, 14);
    await engine.cleaner.clean();
    await settled(engine, 46);
    await engine.cleaner.clean();
    const late = await engine.messages.join("orders", "late", { ...joining, from: "earliest" });
    const lane = await late.nextLane();
    const found = [...(await lane.fetch(1))];
    while (texts(found).at(-1) !== all[119]) found.push(...(await lane.fetch(100)));
    const kept = texts(found).map((text) => all.indexOf(text));
    assert.ok(
      kept.some((offset, index) => index > 0 && offset > kept[index - 1]! + 1),
      `${kept} has no gap`,
    );
    await lane.commit({ settled: found.slice(0, -2).map(({ position }) => position) });
    const lagOf = async () => {
      const { groups } = await engine.messages.describe("orders");
      return groups.find(({ group }) => group === "late")!.lanes[0]!.lag;
    };
    assert.equal(await lagOf(), 2);
    engine = await reopened(simulation);
    assert.equal(await lagOf(), 2);
    await engine.close();
  });
});

test("held messages are known to the next owner after segments were sealed and the machine crashed", async () => {
  const simulation = simulatedWorld({ seed: 2, eventsMax: 100_000 });
  await simulation.run(async () => {
    const first = await opened(simulation);
    await first.messages.declare("orders", { partitions: 1, groups: ["billing"] });
    for (const text of numbered(20, 100)) await published(first, [text]);
    const { lane } = await laneOf(first);
    const stored = await fetched(first, lane, 20);
    const held = [3, 9, 17].map((index) => {
      return { position: stored[index]!.position, failures: index, deliveries: 1, dueAt: 1_000 + index };
    });
    await lane.commit({ settled: [0, 1, 4].map((index) => stored[index]!.position), held });
    await lane.commit({ settled: [stored[9]!.position] });
    const before = (await segments(simulation)).length;
    for (const text of numbered(40, 300)) await published(first, [text]);
    assert.ok((await segments(simulation)).length > before + 1);
    const engine = await reopened(simulation);
    const again = await laneOf(engine);
    assert.deepEqual(again.lane.held, [held[0], held[2]]);
    const settledOf = [0, 1, 4, 9];
    const rest = numbered(20, 100).filter((_, index) => !settledOf.includes(index));
    assert.deepEqual(texts(await fetched(engine, again.lane, 16)), rest);
    await engine.close();
  });
});

function laneAt(low: number, next: number): Lane {
  const catalogue = new Catalogue();
  const topic = catalogue.addTopic("orders", 1, settings, 0);
  topic.queues[0]!.next = next;
  return catalogue.addGroup(topic, "billing", [low]).lanes[0]!;
}

function copyOf(lane: Lane): Lane {
  const buffer = Buffer.alloc(laneSnapshotBytes(lane));
  const writer = new Writer(buffer);
  writeLaneSnapshot(writer, lane);
  assert.equal(writer.at, buffer.length);
  const copy = laneAt(0, lane.queue.next);
  const reader = new Reader(buffer);
  replayLaneSnapshot(reader, () => copy);
  assert.ok(reader.done);
  return copy;
}

test("a lane's snapshot holds what is settled above a message that is not, in whatever pattern", () => {
  for (const step of [1, 2, 3, 64]) {
    const lane = laneAt(7, 5_000);
    for (let offset = 9; offset < 4_000; offset += step) lane.settle(offset);
    for (let offset = 4_500; offset < 4_600; offset++) lane.settle(offset);
    const copy = copyOf(lane);
    assert.equal(copy.settled.low, 7);
    assert.deepEqual([...copy.settled.above()], [...lane.settled.above()]);
  }
});

test("millions of settled messages above one that is not fit into a lane's snapshot many times", () => {
  const lane = laneAt(0, 5_000_000);
  for (let offset = 1; offset < 5_000_000; offset++) lane.settle(offset);
  assert.ok(laneSnapshotBytes(lane) < 2 * 1024 * 1024, `${laneSnapshotBytes(lane)} bytes`);
  const copy = copyOf(lane);
  copy.settle(0);
  assert.equal(copy.settled.low, 5_000_000);
});
