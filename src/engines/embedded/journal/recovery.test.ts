import assert from "node:assert/strict";
import { test } from "node:test";
import { openLedger } from "../../../../test/journal-ledger.ts";
import { TenonError } from "../../../contracts/errors.ts";
import { type Simulation, simulatedWorld } from "../../../simulation/index.ts";
import { BATCH_HEADER_BYTES, readBatchHeader, segmentFileName, TRAILER_BYTES } from "./format.ts";
import { offsetOf, type Position, segmentOf } from "./journal.ts";

const path = (segment: number) => `/data/journal/${segmentFileName(segment)}`;
const LARGE = { segmentBytes: 1024 * 1024 };

function damaged(file: string, offset: number | undefined) {
  return (error: unknown) => {
    assert.ok(error instanceof TenonError && error.code === "corrupt", String(error));
    assert.equal(error.fields.file, file);
    assert.ok(error.message.includes(file), "the message names the file");
    assert.ok(error.message.includes(`byte ${error.fields.offset}`), "the message names the position");
    if (offset !== undefined) assert.equal(error.fields.offset, offset);
    return true;
  };
}

/** A journal of `count` entries, each durable in a batch of its own, left by a crash or a close. */
async function written(
  count: number,
  options: { end?: "crash" | "close"; durability?: "sync" | "async"; segmentBytes?: number } = {},
): Promise<{ simulated: Simulation; positions: readonly Position[] }> {
  const simulated = simulatedWorld({ seed: 3 });
  const positions = await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { ...LARGE, ...options });
    for (let id = 0; id < count; id++) {
      ledger.add(journal, 300);
      await journal.durable();
    }
    if (options.end === "close") await journal.close();
    return ledger.entries.map(({ position }) => position);
  });
  simulated.crash("kept");
  simulated.restart();
  return { simulated, positions };
}

/** Opens the journal and answers how many entries it has; a corruption is thrown. */
async function reopen(simulated: Simulation, options: { segmentBytes?: number } = {}): Promise<number> {
  return simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { ...LARGE, ...options });
    await ledger.verify(journal);
    await journal.close();
    return ledger.lastId;
  });
}

test("the damaged last batch of a crash is a torn tail, and is cut", async () => {
  const { simulated, positions } = await written(10);
  simulated.disk.flipBit(path(1), (offsetOf(positions[9]!) + 100) * 8);
  assert.equal(await reopen(simulated), 9);
  assert.equal(await reopen(simulated), 9);
});

test("a damaged batch before a valid one that proves it durable is refused, with file and position", async () => {
  for (const byte of [-BATCH_HEADER_BYTES, -BATCH_HEADER_BYTES + 30, 0, 5, 8, 12, 200]) {
    const { simulated, positions } = await written(10);
    const at = offsetOf(positions[8]!);
    simulated.disk.flipBit(path(1), (at + byte) * 8 + 3);
    const before = simulated.disk.readFile(path(1));
    await assert.rejects(reopen(simulated), damaged(path(1), at - BATCH_HEADER_BYTES));
    assert.deepEqual(simulated.disk.readFile(path(1)), before, "a refused journal is left as it is");
  }
});

test("the mark of a clean close proves the last batch durable", async () => {
  const { simulated, positions } = await written(10, { end: "close" });
  const at = offsetOf(positions[9]!);
  simulated.disk.flipBit(path(1), (at + 100) * 8);
  await assert.rejects(reopen(simulated), damaged(path(1), at - BATCH_HEADER_BYTES));
});

test("a damaged batch before others that were not known to be durable either is a torn tail", async () => {
  const { simulated, positions } = await written(10, { durability: "async" });
  simulated.disk.flipBit(path(1), (offsetOf(positions[4]!) + 100) * 8);
  assert.equal(await reopen(simulated), 4);
});

test("after a torn tail was cut, the next epoch goes on in the same segment", async () => {
  const { simulated, positions } = await written(10);
  simulated.disk.flipBit(path(1), (offsetOf(positions[9]!) + 100) * 8);
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, LARGE);
    ledger.add(journal, 300);
    assert.equal(journal.position, positions[9]);
    await journal.close();
  });
  const bytes = Buffer.from(simulated.disk.readFile(path(1)));
  const epochOf = (position: Position) => readBatchHeader(bytes, offsetOf(position) - BATCH_HEADER_BYTES)?.epoch;
  assert.equal(epochOf(positions[8]!), 1);
  assert.equal(epochOf(positions[9]!), 2);
  assert.equal(await reopen(simulated), 10);
});

test("a newest segment without a complete snapshot is removed, and the one before it goes on", async () => {
  const { simulated } = await written(10);
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, LARGE);
    journal.roll();
    await journal.durable();
    ledger.add(journal);
    await journal.close();
  });
  const begun = simulated.disk.readFile(path(2));
  const sealed = simulated.disk.readFile(path(1));
  for (let sizeBytes = 0; sizeBytes < 80; sizeBytes += 13) {
    simulated.disk.writeFile(path(1), sealed);
    simulated.disk.writeFile(path(2), begun.slice(0, sizeBytes));
    assert.equal(await reopen(simulated), 10);
    assert.throws(() => simulated.disk.readFile(path(2)));
  }
});

test("a footer behind which no segment was begun is taken back", async () => {
  const { simulated } = await written(10);
  await simulated.run(async () => {
    const { journal } = await openLedger(simulated.world, LARGE);
    journal.roll();
    await journal.close();
  });
  await simulated.run(() => simulated.world.disk.remove(path(2)));
  assert.equal(await reopen(simulated), 10);
});

test("a sealed segment that is damaged at its end, missing, or exchanged is refused", async () => {
  const small = { segmentBytes: 4096 };
  const make = async () => (await written(60, { end: "close", ...small })).simulated;
  const cases: [string, (simulated: Simulation) => Promise<void> | void, number][] = [
    ["trailer", (simulated) => simulated.disk.flipBit(path(2), (simulated.disk.readFile(path(2)).length - 20) * 8), 2],
    [
      "footer",
      (simulated) =>
        simulated.disk.flipBit(path(2), (simulated.disk.readFile(path(2)).length - TRAILER_BYTES - 40) * 8),
      2,
    ],
    ["truncated", (simulated) => simulated.disk.writeFile(path(2), simulated.disk.readFile(path(2)).slice(0, -8)), 2],
    ["empty", (simulated) => simulated.disk.writeFile(path(1), new Uint8Array(0)), 1],
    ["missing", (simulated) => simulated.run(() => simulated.world.disk.remove(path(3))), 3],
    ["exchanged", (simulated) => simulated.disk.writeFile(path(3), simulated.disk.readFile(path(2))), 3],
  ];
  for (const [name, harm, segment] of cases) {
    const simulated = await make();
    await harm(simulated);
    await assert.rejects(reopen(simulated, small), damaged(path(segment), undefined), name);
  }
});

test("a newest file that holds another segment, or another journal's, is refused and not removed", async () => {
  const small = { segmentBytes: 4096 };
  const { simulated, positions } = await written(60, { end: "close", ...small });
  const newest = segmentOf(positions.at(-1)!);
  const own = simulated.disk.readFile(path(newest));
  simulated.disk.writeFile(path(newest), simulated.disk.readFile(path(2)));
  await assert.rejects(reopen(simulated, small), damaged(path(newest), 0));
  const other = simulatedWorld({ seed: 4 });
  await other.run(async () => {
    const { ledger, journal } = await openLedger(other.world, small);
    while (ledger.lastId < 60) {
      ledger.add(journal, 300);
      await journal.durable();
    }
    await journal.close();
  });
  simulated.disk.writeFile(path(newest), other.disk.readFile(path(newest)));
  await assert.rejects(reopen(simulated, small), (error) => error instanceof TenonError && error.code === "corrupt");
  // Nothing but the beginning of another segment: no header in it speaks of durable data.
  simulated.disk.writeFile(path(newest), simulated.disk.readFile(path(2)).slice(0, 100));
  await assert.rejects(reopen(simulated, small), damaged(path(newest), 0));
  simulated.disk.writeFile(path(newest), own);
  assert.equal(await reopen(simulated, small), 60);
});

test("without its newest segment's snapshot a journal whose older segments were dropped is refused", async () => {
  const { simulated } = await written(10);
  await simulated.run(async () => {
    const { journal } = await openLedger(simulated.world, LARGE);
    journal.roll();
    await journal.dropOldest();
    await journal.close();
  });
  simulated.disk.writeFile(path(2), simulated.disk.readFile(path(2)).slice(0, 40));
  await assert.rejects(reopen(simulated), damaged(path(2), 0));
});

test("damage in an older segment is found when the record is read, and named", async () => {
  const small = { segmentBytes: 4096 };
  const { simulated, positions } = await written(60, { end: "close", ...small });
  const [first, second, third] = positions as [Position, Position, Position];
  simulated.disk.flipBit(path(1), (offsetOf(second) + 50) * 8);
  await simulated.run(async () => {
    const { journal } = await openLedger(simulated.world, small);
    assert.equal((await journal.read(first)).length, 300);
    await assert.rejects(async () => journal.read(second), damaged(path(1), offsetOf(second)));
    assert.equal((await journal.read(third)).length, 300);
    await assert.rejects(async () => journal.read(first + 8), damaged(path(1), offsetOf(first) + 8));
    await journal.close();
  });
});

test("damage in a footer is found when a part of it is read, and named", async () => {
  const small = { segmentBytes: 4096 };
  const { simulated } = await written(60, { end: "close", ...small });
  await simulated.run(async () => {
    const { journal } = await openLedger(simulated.world, small);
    simulated.disk.flipBit(path(1), (simulated.disk.readFile(path(1)).length - TRAILER_BYTES - 40) * 8);
    await assert.rejects(journal.readFooter(1), damaged(path(1), undefined));
    await assert.rejects(async () => journal.readFooterPart(1, 0, 16), damaged(path(1), undefined));
    assert.equal((await journal.readFooterPart(2, 0, 16)).length, 16);
    await journal.close();
  });
});

test("a machine's crash after dropping segments leaves no gap between those that are there", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const simulated = simulatedWorld({ seed });
    await simulated.run(async () => {
      const { ledger, journal } = await openLedger(simulated.world);
      while (journal.segments.length < 5) ledger.add(journal);
      await Promise.all([journal.dropOldest(), journal.dropOldest(), journal.dropOldest()]);
    });
    simulated.crash("seeded");
    simulated.restart();
    await simulated.run(async () => {
      const { journal } = await openLedger(simulated.world);
      assert.equal(journal.segments[0]?.segment, 4, "what was dropped does not come back");
    });
  }
});
