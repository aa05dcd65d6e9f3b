import assert from "node:assert/strict";
import { test } from "node:test";
import type { DiskFile, World } from "../../world/world.ts";
import { type CrashOutcome, SimulatedCrash, type Simulation, simulatedWorld } from "../index.ts";

const SEEDS = 300;
const SECTOR_BYTES = 512;

const filled = (sizeBytes: number, value: number) => new Uint8Array(sizeBytes).fill(value);

async function durableFile(world: World, path: string): Promise<DiskFile> {
  const file = await world.disk.open(path, "create");
  await world.disk.syncDirectory("/");
  return file;
}

/** Runs `before`, crashes, and answers with what the file holds then. */
async function contentAfterCrash(
  seed: number,
  before: (file: DiskFile, simulation: Simulation) => Promise<unknown>,
  outcome?: CrashOutcome,
): Promise<Uint8Array> {
  const simulation = simulatedWorld({ seed });
  await simulation.run(async () => {
    await before(await durableFile(simulation.world, "/a"), simulation);
    simulation.crash(outcome);
  });
  return simulation.disk.readFile("/a");
}

test("synced bytes are never harmed, and a crash leaves no more than was written", async () => {
  for (let seed = 0; seed < SEEDS; seed++) {
    const after = await contentAfterCrash(seed, async (file) => {
      await file.append(filled(700, 1));
      await file.sync();
      await file.append(filled(5_000, 2));
    });
    assert.ok(after.byteLength >= 700 && after.byteLength <= 5_700);
    assert.deepEqual(after.subarray(0, 700), filled(700, 1));
  }
});

test("unsynced sectors are lost, kept and torn, also later ones without the earlier", async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const after = await contentAfterCrash(seed, (file) => file.append(filled(8 * SECTOR_BYTES, 2)));
    const sectors: string[] = [];
    for (let start = 0; start < after.byteLength; start += SECTOR_BYTES) {
      const sector = after.subarray(start, start + SECTOR_BYTES);
      const whole = sector.every((byte) => byte === 2) ? "kept" : sector.every((byte) => byte === 0) ? "lost" : "torn";
      sectors.push(whole);
    }
    for (const fate of sectors) seen.add(fate);
    if (sectors.indexOf("torn") !== sectors.lastIndexOf("torn")) seen.add("several torn");
    if (after.some((byte) => byte !== 0 && byte !== 2)) seen.add("garbage");
    if (sectors.indexOf("lost") >= 0 && sectors.indexOf("lost") < sectors.lastIndexOf("kept")) seen.add("reordered");
    if (after.byteLength === 0) seen.add("empty");
    if (after.byteLength === 8 * SECTOR_BYTES) seen.add("full size");
    if (after.byteLength % SECTOR_BYTES > 0) seen.add("odd size");
  }
  const fates = ["empty", "full size", "garbage", "kept", "lost", "odd size", "reordered", "several torn", "torn"];
  assert.deepEqual([...seen].sort(), fates);
});

test("a crash can be told to lose or to keep everything", async () => {
  const write = async (file: DiskFile) => {
    await file.append(filled(10, 1));
    await file.sync();
    await file.append(filled(2_000, 2));
  };
  for (let seed = 0; seed < 20; seed++) {
    assert.equal((await contentAfterCrash(seed, write, "lost")).byteLength, 10);
    assert.equal((await contentAfterCrash(seed, write, "kept")).byteLength, 2_010);
    assert.equal((await contentAfterCrash(seed, write, "process")).byteLength, 2_010);
  }
});

test("what only the process' crash left is still not durable", async () => {
  let lost = 0;
  for (let seed = 0; seed < 50; seed++) {
    const simulation = simulatedWorld({ seed });
    await simulation.run(async () => {
      const file = await durableFile(simulation.world, "/a");
      await file.append(filled(2_000, 2));
      simulation.crash("process");
      simulation.restart();
      simulation.crash();
    });
    if (simulation.disk.readFile("/a").byteLength < 2_000) lost += 1;
  }
  assert.ok(lost > 0);
});

test("a sync covers what was written before it was called, not what came while it was under way", async () => {
  for (let seed = 0; seed < 100; seed++) {
    const after = await contentAfterCrash(
      seed,
      async (file) => {
        await file.append(filled(100, 1));
        const sync = file.sync();
        await file.append(filled(100, 2));
        await sync;
      },
      "lost",
    );
    assert.deepEqual(after, filled(100, 1));
  }
});

test("an append under way at the crash may have been done, in part, or not", async () => {
  const sizes = new Set<number>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const after = await contentAfterCrash(
      seed,
      async (file) => {
        file.append(filled(1_000, 3));
      },
      "kept",
    );
    assert.ok(after.every((byte) => byte === 3));
    sizes.add(after.byteLength);
  }
  assert.ok(sizes.has(0));
  assert.ok(sizes.size > 50);
});

test("a truncation that was not synced leaves the old bytes or none of them", async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const after = await contentAfterCrash(seed, async (file) => {
      await file.append(filled(2_000, 1));
      await file.sync();
      await file.truncate(300);
      await file.append(filled(100, 2));
    });
    assert.deepEqual(after.subarray(0, 300), filled(300, 1));
    if (after.byteLength === 2_000) assert.deepEqual(after, filled(2_000, 1));
    else assert.ok(after.byteLength <= 400);
    seen.add(after.byteLength === 2_000 ? "old" : after.byteLength === 400 ? "new" : "between");
  }
  assert.deepEqual([...seen].sort(), ["between", "new", "old"]);
});

test("a synced truncation stays", async () => {
  for (let seed = 0; seed < 50; seed++) {
    const after = await contentAfterCrash(seed, async (file) => {
      await file.append(filled(2_000, 1));
      await file.sync();
      await file.truncate(300);
      await file.sync();
    });
    assert.deepEqual(after, filled(300, 1));
  }
});

async function namesAfterCrash(seed: number, before: (world: World) => Promise<unknown>): Promise<string> {
  const simulation = simulatedWorld({ seed });
  return simulation.run(async () => {
    await before(simulation.world);
    simulation.crash();
    const { disk } = simulation.restart();
    const names = await disk.list("/");
    const sizes = await Promise.all(names.map((name) => disk.stat(`/${name}`)));
    return names.map((name, index) => `${name}:${sizes[index]?.sizeBytes}`).join(" ");
  });
}

test("creating, renaming and removing is kept or lost until the directory is synced", async () => {
  const seen = { create: new Set<string>(), rename: new Set<string>(), remove: new Set<string>() };
  for (let seed = 0; seed < 60; seed++) {
    const make = async ({ disk }: World) => {
      const file = await disk.open("/a", "create");
      await file.append(filled(3, 1));
      await file.sync();
    };
    const makeDurably = async (world: World) => {
      await make(world);
      await world.disk.syncDirectory("/");
    };
    seen.create.add(await namesAfterCrash(seed, make));
    const renaming = async (world: World) => {
      await makeDurably(world);
      await world.disk.rename("/a", "/b");
    };
    seen.rename.add(await namesAfterCrash(seed, renaming));
    const removing = async (world: World) => {
      await makeDurably(world);
      await world.disk.remove("/a");
    };
    seen.remove.add(await namesAfterCrash(seed, removing));
    const synced = async (world: World) => {
      await renaming(world);
      await world.disk.syncDirectory("/");
    };
    assert.equal(await namesAfterCrash(seed, synced), "b:3");
  }
  assert.deepEqual([...seen.create].sort(), ["", "a:3"]);
  assert.deepEqual([...seen.rename].sort(), ["a:3", "b:3"]);
  assert.deepEqual([...seen.remove].sort(), ["", "a:3"]);
});

test("two changes of names are lost independently, but never one without the other it stands on", async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const names = await namesAfterCrash(seed, async ({ disk }) => {
      await disk.open("/a", "create");
      await disk.open("/b", "create");
      await disk.rename("/a", "/c");
    });
    seen.add(names);
  }
  assert.deepEqual([...seen].sort(), ["", "a:0", "a:0 b:0", "b:0", "b:0 c:0", "c:0"]);
});

test("a chain of renames that was not synced leaves the file at exactly one of its names", async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const names = await namesAfterCrash(seed, async (world) => {
      await durableFile(world, "/a");
      await world.disk.rename("/a", "/b");
      await world.disk.rename("/b", "/c");
    });
    seen.add(names);
  }
  assert.deepEqual([...seen].sort(), ["a:0", "b:0", "c:0"]);
});

test("directories survive", async () => {
  const simulation = simulatedWorld({ seed: 3 });
  await simulation.run(async () => {
    await simulation.world.disk.makeDirectory("/deep/er");
    simulation.crash("lost");
    assert.deepEqual(await simulation.restart().disk.list("/deep"), ["er"]);
  });
});

test("after a failed sync the data may be gone although a later sync succeeds", async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const after = await contentAfterCrash(seed, async (file, simulation) => {
      await file.append(filled(600, 1));
      await file.sync();
      await file.append(filled(600, 2));
      simulation.disk.failOperation(1, "io", "once", { kinds: ["sync"] });
      await assert.rejects(file.sync(), { name: "DiskError", failure: "io" });
      const into = new Uint8Array(1_200);
      assert.equal(await file.read(0, into), 1_200);
      assert.deepEqual(into.subarray(600), filled(600, 2), "the cache still shows it");
      await file.append(filled(600, 3));
      await file.sync();
    });
    assert.equal(after.byteLength, 1_800);
    assert.deepEqual(after.subarray(0, 600), filled(600, 1));
    assert.deepEqual(after.subarray(1_200), filled(600, 3));
    seen.add(after.subarray(600, 1_200).every((byte) => byte === 2) ? "kept" : "gone");
  }
  assert.deepEqual([...seen].sort(), ["gone", "kept"]);
});

test("what is written once more is covered by the next sync, also after one that failed", async () => {
  for (let seed = 0; seed < SEEDS; seed++) {
    const after = await contentAfterCrash(seed, async (file, simulation) => {
      await file.append(filled(600, 1));
      simulation.disk.failOperation(1, "io", "once", { kinds: ["sync"] });
      await assert.rejects(file.sync());
      await file.append(filled(600, 2));
      await file.sync();
      await file.rewrite(300, filled(300, 1));
      await file.rewrite(0, filled(400, 1));
      await file.sync();
      await file.append(filled(600, 3));
    });
    assert.deepEqual(after.subarray(0, 1_200), Uint8Array.of(...filled(600, 1), ...filled(600, 2)));
  }
});

test("writing once more harms nothing that was durable, though the machine dies before the sync", async () => {
  const seen = new Set<number>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const after = await contentAfterCrash(seed, async (file) => {
      await file.append(filled(2_000, 1));
      await file.sync();
      await file.append(filled(2_000, 2));
      await file.rewrite(100, filled(1_500, 1));
    });
    assert.deepEqual(after.subarray(0, 2_000), filled(2_000, 1));
    seen.add(after.byteLength);
  }
  assert.ok(seen.size > 20);
});

test("only what is there can be written once more", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  await simulation.run(async () => {
    const file = await durableFile(simulation.world, "/a");
    await file.append(filled(10, 1));
    await assert.rejects(file.rewrite(5, filled(5, 2)), /the bytes are others than those that are there/);
  });
});

/** Touches every kind of operation that is counted, so many times each: open 2, append 2, sync 1, … */
async function everyKind(world: World): Promise<void> {
  const file = await world.disk.open("/a", "create");
  await file.append(filled(100, 1));
  await file.append(filled(100, 2));
  await file.sync();
  await file.truncate(150);
  await file.read(0, new Uint8Array(10));
  await file.close();
  await world.disk.rename("/a", "/b");
  await world.disk.syncDirectory("/");
  await (await world.disk.open("/b", "read")).close();
  await world.disk.remove("/b");
}

test("the N-th operation fails, for every N until clean", async () => {
  let n = 1;
  for (; ; n++) {
    const simulation = simulatedWorld({ seed: n });
    const fault = simulation.disk.failOperation(n, "io", "once");
    const outcome = simulation.run(() => everyKind(simulation.world));
    if (n <= 10) await assert.rejects(outcome, { name: "DiskError", failure: "io" });
    else await outcome;
    if (!fault.struck) break;
    assert.equal(simulation.disk.operations(), n);
  }
  assert.equal(n, 11);
});

test("operations are counted by kind", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  await simulation.run(() => everyKind(simulation.world));
  assert.equal(simulation.disk.operations(), 10);
  assert.equal(simulation.disk.operations(["append"]), 2);
  assert.equal(simulation.disk.operations(["open", "sync"]), 3);
});

test("a fault can last until it is withdrawn, and strike one kind alone", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  await simulation.run(async () => {
    const file = await durableFile(simulation.world, "/a");
    const fault = simulation.disk.failOperation(2, "full", "from-then-on", { kinds: ["append"] });
    await file.append(filled(10, 1));
    assert.equal(fault.struck, false);
    for (let attempt = 0; attempt < 3; attempt++) {
      await assert.rejects(file.append(filled(10, 2)), { failure: "full" });
      await file.truncate(10);
      await file.sync();
    }
    fault.cancel();
    await file.append(filled(10, 3));
    simulation.disk.failOperation(1, "io", "from-then-on");
    simulation.disk.clearFaults();
    await file.sync();
    assert.equal(file.sizeBytes, 20);
  });
});

test("a failed append may leave a part, and must be truncated before the next one", async () => {
  const left = new Set<number>();
  for (let seed = 0; seed < 50; seed++) {
    const simulation = simulatedWorld({ seed });
    await simulation.run(async () => {
      const file = await durableFile(simulation.world, "/a");
      simulation.disk.failOperation(1, "io", "once", { kinds: ["append"] });
      await assert.rejects(file.append(filled(100, 2)), { failure: "io" });
      assert.equal(file.sizeBytes, 0);
      const partBytes = simulation.disk.readFile("/a").byteLength;
      left.add(partBytes);
      if (partBytes > 0) await assert.rejects(file.append(filled(1, 3)), /truncate the file first/);
      await file.truncate(0);
      await file.append(filled(1, 3));
    });
  }
  assert.ok(left.size > 10);
});

/** How large `/a` is before each operation of `everyKind`. */
const SIZES_BEFORE = [undefined, 0, 100, 200, 200, 150, 150, undefined, undefined, undefined];

test("a crash at the N-th operation ends the run, before or during it, for every N until clean", async () => {
  for (const moment of ["before", "during"] as const) {
    let n = 1;
    for (; ; n++) {
      const simulation = simulatedWorld({ seed: n });
      const fault = simulation.disk.crashAtOperation(n, moment, { outcome: "process" });
      const outcome = simulation.run(() => everyKind(simulation.world));
      if (n <= 10) await assert.rejects(outcome, SimulatedCrash);
      else await outcome;
      if (!fault.struck) break;
      const { disk } = simulation.restart();
      const file = await simulation.run(() => disk.stat("/a"));
      if (moment === "before") assert.equal(file?.sizeBytes, SIZES_BEFORE[n - 1]);
    }
    assert.equal(n, 11);
  }
});

test("an operation during which the process crashes is sometimes done and sometimes not, and never heard of", async () => {
  for (const diskLatency of [
    { minMs: 0, maxMs: 0 },
    { minMs: 1, maxMs: 2 },
  ]) {
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const simulation = simulatedWorld({ seed, diskLatency });
      simulation.disk.crashAtOperation(1, "during", { outcome: "kept", kinds: ["rename"] });
      let heard = false;
      const run = simulation.run(async () => {
        await durableFile(simulation.world, "/a");
        await simulation.world.disk.rename("/a", "/b");
        heard = true;
      });
      await assert.rejects(run, SimulatedCrash);
      assert.equal(heard, false);
      seen.add((await simulation.run(() => simulation.restart().disk.list("/"))).join());
    }
    assert.deepEqual([...seen].sort(), ["a", "b"]);
  }
});

test("without latency a disk operation is still an event of its own", async () => {
  const simulation = simulatedWorld({ seed: 1, diskLatency: { minMs: 0, maxMs: 0 } });
  await simulation.run(() => everyKind(simulation.world));
  assert.equal(simulation.nowMs, 0);
  assert.equal(simulation.trace.events, 12);
});

test("the capacity is a limit, possibly after a part was written, and free space tells", async () => {
  const left = new Set<number>();
  for (let seed = 0; seed < 30; seed++) {
    const simulation = simulatedWorld({ seed, capacityBytes: 1_000 });
    await simulation.run(async () => {
      const { disk } = simulation.world;
      const file = await durableFile(simulation.world, "/a");
      await file.append(filled(900, 1));
      await assert.rejects(file.append(filled(101, 2)), { name: "DiskError", failure: "full" });
      left.add(simulation.disk.readFile("/a").byteLength);
      await file.truncate(900);
      assert.deepEqual(await disk.freeSpace("/"), { freeBytes: 100, totalBytes: 1_000 });
      await file.append(filled(100, 2));
      await disk.remove("/a");
      assert.equal((await disk.freeSpace("/")).freeBytes, 0);
      await file.close();
      assert.equal((await disk.freeSpace("/")).freeBytes, 1_000);
    });
  }
  assert.ok(left.size > 5);
  assert.ok(Math.max(...left) <= 1_000);
});

test("obligations of the caller are held: one append at a time, bytes left alone", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  await simulation.run(async () => {
    const file = await durableFile(simulation.world, "/a");
    const first = file.append(filled(10, 1));
    await assert.rejects(file.append(filled(10, 2)), /an append is under way/);
    await assert.rejects(file.truncate(0), /an append is under way/);
    await first;
    const bytes = filled(10, 3);
    const second = file.append(bytes);
    bytes[4] = 9;
    await assert.rejects(second, /the bytes changed/);
  });
});

test("files can be read, written and damaged from outside", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  simulation.disk.writeFile("/d/a", Uint8Array.of(0, 0, 0));
  simulation.disk.flipBit("/d/a", 0);
  simulation.disk.flipBit("/d/a", 23);
  assert.deepEqual([...simulation.disk.readFile("/d/a")], [1, 0, 128]);
  assert.throws(() => simulation.disk.flipBit("/d/a", 24), RangeError);
  assert.throws(() => simulation.disk.readFile("/d/b"), { failure: "missing" });
  simulation.crash("lost");
  assert.deepEqual([...simulation.disk.readFile("/d/a")], [1, 0, 128]);
});
