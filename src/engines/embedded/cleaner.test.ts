import assert from "node:assert/strict";
import { test } from "node:test";
import { simulatedWorld } from "../../simulation/index.ts";
import {
  fetched,
  laneOf,
  message,
  numbered,
  opened,
  published,
  reopened,
  segments,
  settled,
  texts,
} from "./fixtures.test.ts";

const eventsMax = 100_000;
const orders = { partitions: 1, groups: ["billing"] };

test("settled segments leave, and what is not settled stays at its own positions, also after reopening", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    await engine.messages.declare("orders", orders);
    for (const text of numbered(60, 300)) await published(engine, [text], { key: "k", headers: { text } });
    const { lane, member } = await laneOf(engine);
    const stored = await fetched(engine, lane, 60);
    const spared = stored.filter((_, index) => [40, 43, 44, 49].includes(index));
    await lane.commit({ settled: stored.filter((one) => !spared.includes(one)).map(({ position }) => position) });
    await member.leave();
    const before = await segments(simulation);
    await engine.cleaner.clean();
    const after = await segments(simulation);
    assert.ok(after[0]! > before[9]!, `${before} then ${after}`);
    for (let time = 0; time < 3; time++) {
      const again = await laneOf(engine);
      assert.deepEqual(await fetched(engine, again.lane, spared.length), spared);
      const { lag } = (await engine.messages.describe("orders")).groups[0]!.lanes[0]!;
      assert.equal(lag, spared.length);
      engine = await reopened(simulation);
    }
    assert.deepEqual(await published(engine, ["next"]), [60n]);
    await engine.close();
  });
});

test("a segment stays until every group settled it, and then for the topic's retention", async () => {
  const simulation = simulatedWorld({ seed: 2, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation, { retentionMs: 3_600_000 });
    await engine.messages.declare("orders", { ...orders, groups: ["billing", "archive"], retentionMs: 60_000 });
    for (const text of numbered(40, 300)) await published(engine, [text]);
    const all = await segments(simulation);
    await settled(engine, 40);
    await simulation.world.timers.sleep(24 * 3_600_000);
    const aged = await segments(simulation);
    assert.deepEqual(aged.slice(0, all.length), all, "what one group has not settled was dropped by age");
    await settled(engine, 40, "archive");
    await simulation.world.timers.sleep(59_000);
    assert.equal((await segments(simulation))[0], all[0], "it left before its retention was over");
    await engine.messages.seek("orders", "billing", "earliest");
    const { lane } = await laneOf(engine);
    assert.deepEqual(texts(await fetched(engine, lane, 40)), numbered(40, 300));
    await engine.messages.seek("orders", "billing", "now");
    await simulation.world.timers.sleep(70_000);
    const left = await segments(simulation);
    assert.ok(left[0]! > all.at(-2)!, `${all} then ${left}`);
    assert.equal((await engine.messages.describe("orders")).partitions[0]!.next, 40n);
    await engine.close();
  });
});

test("delayed messages that are copied forward over several segments are delivered once, also after a crash at any moment", async () => {
  for (let crashed = 0; crashed < 2; crashed++) {
    const simulation = simulatedWorld({ seed: 3 + crashed, eventsMax });
    await simulation.run(async () => {
      let engine = await opened(simulation);
      await engine.messages.declare("orders", orders);
      const dueAt = simulation.world.clock.now() + 600_000;
      // One segment of waiting messages, then settled ones that make it worth cleaning.
      for (const text of numbered(20, 400)) await published(engine, [text], { dueAt });
      for (const text of numbered(60, 300, 100)) await published(engine, [text]);
      await settled(engine, 60);
      await engine.cleaner.clean();
      assert.ok((await segments(simulation))[0]! > "0000000000000006.journal", "nothing was cleaned");
      assert.equal((await engine.messages.describe("orders")).delayedCount, 20);
      if (crashed === 1) engine = await reopened(simulation);
      assert.equal((await engine.messages.describe("orders")).delayedCount, 20);
      const { lane } = await laneOf(engine);
      const stored = await fetched(engine, lane, 20);
      assert.deepEqual(texts(stored).sort(), numbered(20, 400).sort());
      assert.ok(simulation.world.clock.now() >= dueAt);
      await engine.close();
    });
  }
});

test("a segment that is sealed while delayed messages are copied forward knows where the copies stand", async () => {
  const simulation = simulatedWorld({ seed: 5, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation, { segmentBytes: 16_384 });
    await engine.messages.declare("orders", orders);
    const dueAt = simulation.world.clock.now() + 600_000;
    for (const text of numbered(30, 400)) await published(engine, [text], { dueAt });
    for (const text of numbered(200, 300, 100)) await published(engine, [text]);
    await settled(engine, 200);
    // Leaves so little room in the segment that the copies fill it and go on in the next one.
    for (let left = 200; left > 0; left--) {
      const found = await segments(simulation);
      const size = (await simulation.world.disk.stat(`/data/engine/${found.at(-1)}`))!.sizeBytes;
      if (size > 16_384 - 6_000 && size < 16_384 - 3_000) break;
      await published(engine, ["filling".padEnd(300, ".")]);
    }
    const before = await segments(simulation);
    await engine.cleaner.clean();
    const after = await segments(simulation);
    assert.ok(after[0]! > before[0]! && after.at(-1)! > before.at(-1)!, `${before} then ${after}`);
    engine = await reopened(simulation, { segmentBytes: 16_384 });
    await simulation.world.timers.sleep(700_000);
    assert.equal((await engine.messages.describe("orders")).delayedCount, 0);
    const { lag } = (await engine.messages.describe("orders")).groups[0]!.lanes[0]!;
    const { lane } = await laneOf(engine);
    const found = texts(await fetched(engine, lane, lag)).filter((text) => !text.startsWith("filling"));
    assert.deepEqual(found.sort(), numbered(30, 400).sort());
    await engine.close();
  });
});

test("key-values are copied forward with their versions, large ones and those that expire too, and deleted ones stay deleted", async () => {
  const simulation = simulatedWorld({ seed: 6, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    await engine.messages.declare("orders", orders);
    const large = Buffer.alloc(3_000, "large value ");
    await engine.keyValue.commit([
      { type: "put", key: "small", value: Buffer.from("1") },
      { type: "put", key: "large", value: large },
      { type: "put", key: "expires", value: Buffer.from("soon"), ttlMs: 3_600_000 },
      { type: "add", key: "count", by: 7 },
      { type: "put", key: "deleted", value: Buffer.from("x") },
    ]);
    const written = await engine.keyValue.get(["small", "large", "expires", "count"]);
    await engine.keyValue.commit([{ type: "delete", key: "deleted" }]);
    for (const text of numbered(60, 300)) await published(engine, [text]);
    await settled(engine, 60);
    const before = await segments(simulation);
    await engine.cleaner.clean();
    assert.ok((await segments(simulation))[0]! > before[1]!, "nothing was cleaned");
    for (let time = 0; time < 3; time++) {
      assert.deepEqual(await engine.keyValue.get(["small", "large", "expires", "count"]), written);
      assert.deepEqual(await engine.keyValue.get(["deleted"]), [undefined]);
      engine = await reopened(simulation);
    }
    const after = await engine.keyValue.commit([{ type: "add", key: "count", by: 1 }]);
    assert.ok(after.committed && after.version > written[0]!.version && after.counters[0] === 8);
    await simulation.world.timers.sleep(3_602_000);
    assert.deepEqual(await engine.keyValue.get(["expires"]), [undefined]);
    await engine.close();
  });
});

test("an id that is remembered keeps its segment, so that a repetition is recognized after cleaning and reopening", async () => {
  const simulation = simulatedWorld({ seed: 7, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    await engine.messages.declare("orders", orders);
    const first = await published(engine, ["once"], { id: "the id" });
    for (const text of numbered(40, 300)) await published(engine, [text]);
    await settled(engine, 41);
    await engine.cleaner.clean();
    engine = await reopened(simulation);
    assert.deepEqual(await published(engine, ["once"], { id: "the id" }), first);
    await simulation.world.timers.sleep(300_000);
    assert.ok((await segments(simulation))[0]! > "0000000000000003.journal", "the segment stays for good");
    await engine.close();
  });
});

test("the oldest segment makes way although it is full of life when those behind it are mostly settled", async () => {
  const simulation = simulatedWorld({ seed: 8, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation);
    await engine.messages.declare("orders", orders);
    await engine.messages.declare("kept", { partitions: 1, groups: ["billing"] });
    const kept = numbered(12, 300).map((text) => message(text));
    for (const one of kept) await engine.messages.append({ topic: "kept", partition: 0, messages: [one] });
    for (const text of numbered(80, 300)) await published(engine, [text]);
    await settled(engine, 80);
    const before = await engine.sizeBytes;
    await engine.cleaner.clean();
    assert.ok(engine.sizeBytes < before / 2, `${engine.sizeBytes} of ${before} bytes`);
    const { lanes } = (await engine.messages.describe("kept")).groups[0]!;
    assert.deepEqual([lanes[0]!.lag, lanes[0]!.low], [12, 0n]);
    await engine.close();
  });
});

test("when space is short what is settled is given back also of the segment that is being written", async () => {
  const simulation = simulatedWorld({ seed: 9, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation, {
      sizeBytesMax: 50_000,
      segmentBytes: 1024 * 1024,
      retentionMs: 3_600_000,
    });
    await engine.messages.declare("orders", orders);
    let count = 0;
    const publish = () => published(engine, ["m".repeat(1_000)]).then(() => (count += 1));
    await assert.rejects(
      async () => {
        for (;;) await publish();
      },
      { code: "overloaded", outcome: "not-applied" },
    );
    await settled(engine, count);
    await simulation.world.timers.sleep(6_000);
    assert.ok(engine.sizeBytes < 5_000, `${engine.sizeBytes} bytes are left`);
    await publish();
    await engine.close();
  });
});

test("a disk that was full for a moment only takes nothing from what is retained", async () => {
  const simulation = simulatedWorld({ seed: 10, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation, { retentionMs: 3_600_000, reserveBytes: 8_000 });
    await engine.messages.declare("orders", orders);
    for (const text of numbered(33, 300)) await published(engine, [text]);
    await settled(engine, 33);
    const before = await segments(simulation);
    simulation.disk.failOperation(1, "full", "once", { kinds: ["append"] });
    await published(engine, ["written at the price of the reserve"]);
    await assert.rejects(published(engine, ["refused"]), { code: "overloaded" });
    await engine.cleaner.clean();
    assert.deepEqual(await segments(simulation), before);
    assert.equal((await engine.messages.describe("orders")).partitions[0]!.first, 0n);
    await engine.close();
  });
});
