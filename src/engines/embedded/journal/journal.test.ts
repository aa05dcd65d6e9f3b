import assert from "node:assert/strict";
import { test } from "node:test";
import { openLedger, payloadOf } from "../../../../test/journal-ledger.ts";
import { TenonError } from "../../../contracts/errors.ts";
import { simulatedWorld } from "../../../simulation/index.ts";
import { memoryDisk } from "../../../world/index.ts";
import type { World } from "../../../world/world.ts";
import { segmentFileName } from "./format.ts";
import { Journal, type JournalState, offsetOf, positionOf, segmentOf } from "./journal.ts";

function simulation(options: { seed?: number; capacityBytes?: number } = {}) {
  return simulatedWorld({ seed: 1, ...options });
}

/** A process that forgets to ask its simulation for a new world gets an error from it; this keeps the tests short. */
const path = (segment: number) => `/data/journal/${segmentFileName(segment)}`;

function isError(code: string, outcome = "not-applied") {
  return (error: unknown) => error instanceof TenonError && error.code === code && error.outcome === outcome;
}

test("a position is a segment and an offset", () => {
  const position = positionOf(2 ** 20, 2 ** 32 - 8);
  assert.equal(segmentOf(position), 2 ** 20);
  assert.equal(offsetOf(position), 2 ** 32 - 8);
});

test("what many appended in one tick is committed by one append and one sync", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { segmentBytes: 1024 * 1024 });
    const before = simulated.disk.operations(["append", "sync"]);
    const waiters = Array.from({ length: 10 }, () => {
      ledger.add(journal, 100);
      return journal.durable();
    });
    assert.equal(new Set(waiters).size, 1, "the waiters of one batch share a promise");
    await Promise.all(waiters);
    assert.equal(simulated.disk.operations(["append", "sync"]) - before, 2);
    assert.deepEqual(ledger.durableCalls, [journal.durableBatch]);
  });
});

test("what is appended while a write is under way forms the next batch, and the groups merge after it", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, {
      segmentBytes: 1024 * 1024,
      tailBytes: 8 * 1024 * 1024,
    });
    const start = journal.batch;
    const again = async (rounds: number) => {
      for (let round = 0; round < rounds; round++) {
        ledger.add(journal, 10);
        await journal.durable();
        // Between the journal and whoever appends again there are other layers.
        for (let layer = 0; layer < 8; layer++) await undefined;
      }
    };
    const first = again(3);
    // The first group's write is under way by the time the second group comes.
    await simulated.world.timers.sleep(0.01);
    const second = again(3);
    await Promise.all([first, second]);
    assert.equal(journal.durableBatch - start + 1, 4, "1 alone, then both together three times");
  });
});

test("a batch that ends with its memory does not split those who share it into groups that take turns", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { segmentBytes: 1024 * 1024, tailBytes: 128 * 1024 });
    const start = journal.batch;
    const rounds = 20;
    const loop = async () => {
      for (let round = 0; round < rounds; round++) {
        ledger.add(journal, 200);
        await journal.durable();
      }
    };
    await Promise.all(Array.from({ length: 30 }, loop));
    const memoryEnds = Math.ceil((journal.sizeBytes / (16 * 1024)) * 1.1);
    assert.ok(memoryEnds > 5);
    assert.ok(journal.durableBatch - start + 1 <= rounds + memoryEnds, `${journal.durableBatch - start + 1} batches`);
  });
});

test("the state hears that a batch is durable before its waiters do", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world);
    ledger.add(journal);
    const batch = journal.batch;
    await journal.durable().then(() => assert.deepEqual(ledger.durableCalls, [batch]));
    assert.equal(journal.durableBatch, batch);
    assert.equal(await journal.durable(), undefined, "nothing new: resolved at once");
  });
});

test("opening again replays everything that was acknowledged, across segments, after a close and after a crash", async () => {
  for (const end of ["close", "lost"] as const) {
    const simulated = simulation();
    const ids = await simulated.run(async () => {
      const { ledger, journal } = await openLedger(simulated.world);
      for (let round = 0; round < 60; round++) {
        ledger.add(journal);
        if (round % 3 === 0) await journal.durable();
      }
      await journal.durable();
      await ledger.verify(journal);
      assert.ok(journal.segments.length > 3);
      if (end === "close") await journal.close();
      return ledger.lastId;
    });
    simulated.crash(end === "close" ? "seeded" : "lost");
    const world = simulated.restart();
    await simulated.run(async () => {
      const { ledger, journal } = await openLedger(world);
      assert.equal(ledger.lastId, ids);
      assert.equal(ledger.entries.length, ids);
      await ledger.verify(journal);
      ledger.add(journal);
      await journal.close();
    });
  }
});

test("records are read from memory, from the file, and across the chunks of a large file", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, {
      segmentBytes: 64 * 1024 * 1024,
      tailBytes: 64 * 1024,
    });
    for (let id = 0; id < 40; id++) ledger.add(journal, 100_000 + id * 4001);
    for (const { id, position } of ledger.entries) {
      const payload = journal.read(position);
      assert.ok(!(payload instanceof Promise), "what is not written yet is in memory");
      assert.ok(payload.equals(payloadOf(id, payload.length)));
    }
    await journal.durable();
    assert.ok(journal.read(ledger.entries[0]!.position) instanceof Promise, "the tail in memory is bounded");
    const before = simulated.disk.operations(["read"]);
    await Promise.all(ledger.entries.map(({ position }) => journal.read(position)));
    assert.ok(simulated.disk.operations(["read"]) - before <= 20, "whoever waits for one chunk shares its read");
    await ledger.verify(journal);
  });
});

test("what is not written yet stays in memory, however much it is", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, {
      segmentBytes: 64 * 1024 * 1024,
      tailBytes: 64 * 1024,
    });
    ledger.add(journal, 10);
    const first = journal.durable();
    await simulated.world.timers.sleep(0.01);
    for (let id = 0; id < 40; id++) ledger.add(journal, 100_000);
    await first;
    for (const { position } of ledger.entries) assert.ok((await journal.read(position)).length > 0);
    await journal.durable();
    await ledger.verify(journal);
  });
});

test("with asynchronous durability too, a segment is dropped only when the next one's snapshot is durable", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { durability: "async" });
    ledger.add(journal);
    journal.roll();
    await journal.dropOldest();
  });
  simulated.crash("lost");
  const world = simulated.restart();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(world);
    assert.deepEqual(ledger.snapshots, [1]);
    await journal.close();
  });
});

test("a record of 16 MiB is stored, one byte more is refused", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { segmentBytes: 1024 * 1024 });
    ledger.add(journal, 16 * 1024 * 1024);
    assert.throws(() => journal.append(1, 16 * 1024 * 1024 + 1), isError("invalid"));
    assert.throws(() => journal.append(256, 1), isError("invalid"));
    ledger.add(journal, 10);
    await journal.close();
    const again = await openLedger(simulated.world, { segmentBytes: 1024 * 1024 });
    assert.equal(again.ledger.lastId, 2);
    await again.ledger.verify(again.journal);
  });
});

test("a footer is read whole and in parts, before and after it is written", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { segmentBytes: 1024 * 1024 });
    for (let id = 0; id < 9000; id++) ledger.add(journal, 10);
    const expected = Buffer.from(ledger.footer(1));
    assert.ok(expected.length > 128 * 1024);
    journal.roll();
    assert.deepEqual(await journal.readFooter(1), expected);
    assert.deepEqual(journal.readFooterPart(1, 65_000, 66_000), expected.subarray(65_000, 66_000));
    await journal.durable();
    assert.deepEqual(await journal.readFooter(1), expected);
    for (const [from, to] of [
      [0, 16],
      [65_530, 65_540],
      [131_072, 131_088],
      [0, 0],
      [5, expected.length],
    ] as const) {
      assert.deepEqual(await journal.readFooterPart(1, from, to), expected.subarray(from, to));
    }
    const part = journal.readFooterPart(1, 65_000, 66_000);
    assert.ok(part instanceof Buffer, "pages that were read are cached");
    assert.throws(() => journal.readFooterPart(1, 0, expected.length + 1), isError("invalid"));
    assert.throws(() => journal.readFooterPart(2, 0, 1), isError("not-found"));
  });
});

test("records for which room was ensured share a batch, whatever else would have ended it", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { segmentBytes: 8192, tailBytes: 4096 });
    for (const [count, bytes] of [
      [3, 100],
      [40, 500],
      [2, 9000],
      [1, 0],
      [300, 90],
      [0, 0],
      [100, 1000],
    ] as const) {
      for (let filling = 0; filling < 7; filling++) ledger.add(journal, 333);
      journal.ensureRoom(count * bytes, count);
      const batches = new Set<number>();
      const segments = new Set<number>();
      for (let record = 0; record < count; record++) {
        ledger.add(journal, bytes);
        batches.add(journal.batch);
        segments.add(segmentOf(journal.position));
      }
      assert.ok(batches.size <= 1 && segments.size <= 1, `${count} records of ${bytes} bytes`);
    }
    assert.ok(journal.segments.length > 5);
    await journal.durable();
    await ledger.verify(journal);
    assert.throws(() => journal.ensureRoom(2 ** 30, 1), isError("invalid"));
    await journal.close();
    const again = await openLedger(simulated.world);
    assert.deepEqual(again.ledger.entries, ledger.entries);
  });
});

test("a snapshot larger than a segment leaves a whole segment's room behind it, also after opening again", async () => {
  const simulated = simulation();
  const options = { segmentBytes: 4096, tailBytes: 4096 };
  const snapshot = Buffer.alloc(50_000, 1);
  const state = {
    loadFooter() {},
    replay() {},
    footer: () => new Uint8Array(8),
    snapshot(journal: Journal) {
      for (let part = 0; part < 3; part++) snapshot.copy(journal.buffer, journal.append(1, snapshot.length));
    },
    durable() {},
    failed() {},
  };
  await simulated.run(async () => {
    for (const round of [0, 1, 2]) {
      const { world } = simulated;
      const journal = await Journal.open({
        world,
        directory: "/large",
        durability: "sync",
        state,
        reserveBytes: 0,
        ...options,
      });
      for (let count = 0; count < 9; count++) journal.append(2, 400);
      assert.equal(journal.segments.length, round + 1);
      await journal.close();
    }
  });
});

test("dropping the oldest segment waits for durability, removes the file, and says so when it is read", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world);
    await assert.rejects(journal.dropOldest(), isError("invalid"));
    while (journal.segments.length < 4) ledger.add(journal);
    const first = ledger.entries[0]!.position;
    const sizeBefore = journal.sizeBytes;
    await Promise.all([journal.dropOldest(), journal.dropOldest()]);
    assert.equal(journal.durableBatch, journal.batch - 1);
    assert.deepEqual(
      journal.segments.map(({ segment }) => segment),
      [3, 4],
    );
    assert.ok(journal.sizeBytes < sizeBefore);
    assert.equal(
      journal.sizeBytes,
      journal.segments.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    );
    assert.throws(() => simulated.disk.readFile(path(1)));
    assert.throws(() => journal.read(first), isError("not-found"));
    ledger.forgetBefore(3);
    await ledger.verify(journal);
    await journal.close();
    const again = await openLedger(simulated.world);
    assert.equal(again.ledger.lastId, ledger.lastId);
    assert.deepEqual(again.ledger.entries, ledger.entries);
  });
});

test("rolling a segment that has nothing but its snapshot does nothing", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world);
    journal.roll();
    assert.equal(journal.segments.length, 1);
    ledger.add(journal);
    journal.roll();
    journal.roll();
    assert.equal(journal.segments.length, 2);
    await journal.close();
  });
});

test("a failed sync is never repeated: the waiters' outcome is unknown and the journal is closed", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world);
    simulated.disk.failOperation(1, "io", "once", { kinds: ["sync"] });
    ledger.add(journal);
    const syncs = simulated.disk.operations(["sync"]);
    await assert.rejects(journal.durable(), isError("unavailable", "unknown"));
    assert.equal(simulated.disk.operations(["sync"]), syncs + 1);
    assert.ok(isError("unavailable", "unknown")(ledger.failure));
    assert.throws(() => journal.append(1, 1), isError("closed"));
    assert.throws(() => journal.read(ledger.entries[0]!.position), isError("closed"));
    await assert.rejects(journal.durable(), isError("closed"));
    await journal.close();
  });
});

test("a state that cannot give its snapshot fails the journal, and what was acknowledged is still there", async () => {
  for (const broken of ["footer", "snapshot"] as const) {
    const simulated = simulation();
    await simulated.run(async () => {
      const replayed: string[] = [];
      const failures: TenonError[] = [];
      let fails = false;
      const give = (what: string) => {
        if (fails && what === broken) throw new RangeError("too large");
      };
      const state: JournalState = {
        loadFooter: () => undefined,
        replay: (_, payload) => replayed.push(payload.toString()),
        footer: () => {
          give("footer");
          return Buffer.alloc(0);
        },
        snapshot: (of) => {
          const at = of.append(1, 10);
          of.buffer.write("part of it", at);
          give("snapshot");
        },
        durable: () => undefined,
        failed: (error) => failures.push(error),
      };
      const options = { directory: "/data/journal", durability: "sync", reserveBytes: 0, state } as const;
      const journal = await Journal.open({ ...options, world: simulated.world });
      const add = (text: string) => {
        const at = journal.append(2, text.length);
        journal.buffer.write(text, at);
      };
      add("first");
      await journal.durable();
      fails = true;
      add("second");
      const second = journal.durable();
      assert.throws(() => journal.roll(), isError("unavailable", "unknown"));
      await assert.rejects(second, isError("unavailable", "unknown"));
      assert.equal(failures.length, 1);
      assert.throws(() => add("third"), isError("closed"));
      await simulated.world.timers.sleep(1_000);
      await journal.close();
      assert.equal(failures.length, 1);
      fails = false;
      const again = await Journal.open({ ...options, world: simulated.world });
      assert.equal(replayed[1], "first");
      assert.ok(replayed.length === 2 || (replayed.length === 3 && replayed[2] === "second"), `${replayed}`);
      await again.close();
    });
  }
});

test("after close everything is refused, and closing again is no error", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world);
    ledger.add(journal);
    await Promise.all([journal.close(), journal.close()]);
    assert.throws(() => journal.append(1, 1), isError("closed"));
    assert.throws(() => journal.roll(), isError("closed"));
    await assert.rejects(journal.durable(), isError("closed"));
    await assert.rejects(journal.dropOldest(), isError("closed"));
    await assert.rejects(journal.readFooter(1), isError("closed"));
    await journal.close();
  });
});

test("asynchronous durability acknowledges without a sync and syncs within a second", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { durability: "async", segmentBytes: 1024 * 1024 });
    const before = simulated.disk.operations(["sync"]);
    for (let round = 0; round < 20; round++) {
      ledger.add(journal);
      await journal.durable();
    }
    assert.equal(simulated.disk.operations(["sync"]), before);
    await simulated.world.timers.sleep(1010);
    assert.equal(simulated.disk.operations(["sync"]), before + 1);
    await simulated.world.timers.sleep(5000);
    assert.equal(simulated.disk.operations(["sync"]), before + 1, "nothing new, nothing to sync");
    simulated.crash("lost");
    const world = simulated.restart();
    const again = await openLedger(world);
    assert.equal(again.ledger.lastId, 20);
  });
});

test("a full disk takes what was acknowledged in memory, at the price of the reserve, and recovers when there is room", async () => {
  const simulated = simulation({ capacityBytes: 200_000 });
  simulated.disk.writeFile("/data/other", Buffer.alloc(30_000));
  const ids = await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { reserveBytes: 20_000, fullRatio: 1 });
    assert.equal(journal.full, false);
    while (!journal.full) {
      ledger.add(journal, 500);
      await journal.durable();
    }
    assert.throws(() => simulated.disk.readFile("/data/journal/reserve"), "the reserve was given up");
    for (let more = 0; more < 10; more++) ledger.add(journal, 50);
    await journal.durable();
    await ledger.verify(journal);
    await simulated.world.disk.remove("/data/other");
    await simulated.world.timers.sleep(1500);
    assert.equal(journal.full, true, "asking starts the check");
    await simulated.world.timers.sleep(1500);
    assert.equal(journal.full, false);
    assert.equal(simulated.disk.readFile("/data/journal/reserve").length, 20_000);
    await journal.close();
    return ledger.lastId;
  });
  await simulated.run(async () => {
    const { ledger } = await openLedger(simulated.world, { reserveBytes: 20_000, fullRatio: 1 });
    assert.equal(ledger.lastId, ids);
  });
});

test("a disk that stays full fails the journal, and what was acknowledged is still there", async () => {
  const simulated = simulation({ capacityBytes: 60_000 });
  let acknowledged = 0;
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { reserveBytes: 8000, fullRatio: 1 });
    await assert.rejects(
      async () => {
        for (;;) {
          const id = ledger.add(journal, 700);
          await journal.durable();
          acknowledged = id;
        }
      },
      isError("unavailable", "unknown"),
    );
    assert.ok(acknowledged > 30);
    assert.equal(ledger.failure?.code, "unavailable");
    await journal.close();
  });
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, { reserveBytes: 8000, fullRatio: 1 });
    assert.ok(ledger.lastId >= acknowledged);
    assert.equal(journal.full, true);
    await ledger.verify(journal);
  });
});

test("nine tenths of the disk used is full before a write fails", async () => {
  const simulated = simulation({ capacityBytes: 100_000 });
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world);
    while (!journal.full) {
      ledger.add(journal, 500);
      await journal.durable();
    }
    const { freeBytes } = await simulated.world.disk.freeSpace("/data/journal");
    assert.ok(freeBytes > 0 && freeBytes <= 10_000);
    await journal.close();
  });
});

test("names that are not the journal's are left alone", async () => {
  const simulated = simulation();
  simulated.disk.writeFile("/data/journal/owner.db", Buffer.from("mine"));
  simulated.disk.writeFile("/data/journal/1.journal", Buffer.from("mine"));
  await simulated.run(async () => {
    const { journal } = await openLedger(simulated.world);
    await journal.close();
    assert.deepEqual(await simulated.world.disk.list("/data/journal"), [
      "0000000000000001.journal",
      "1.journal",
      "owner.db",
    ]);
  });
});

test("the memory disk carries a journal as well", async () => {
  const simulated = simulation();
  await simulated.run(async () => {
    const world: World = { ...simulated.world, disk: memoryDisk() };
    const { ledger, journal } = await openLedger(world);
    for (let round = 0; round < 100; round++) {
      ledger.add(journal);
      await journal.durable();
    }
    await journal.dropOldest();
    await journal.close();
    const again = await openLedger(world);
    assert.equal(again.ledger.lastId, 100);
    await again.ledger.verify(again.journal);
  });
});
