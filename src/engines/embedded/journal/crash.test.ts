import assert from "node:assert/strict";
import { test } from "node:test";
import { openLedger } from "../../../../test/journal-ledger.ts";
import { TenonError } from "../../../contracts/errors.ts";
import { SimulatedCrash, type Simulation, simulatedWorld } from "../../../simulation/index.ts";
import type { World } from "../../../world/world.ts";
import type { Journal, JournalOptions } from "./journal.ts";

/** Small enough that a short run rolls, drops, and crosses arenas and sectors. */
const OPTIONS: Partial<JournalOptions> = { segmentBytes: 4096, tailBytes: 2048, reserveBytes: 2000 };
const SEEDS = process.env.TENON_SLOW === "1" ? 20 : 2;

interface Progress {
  /** The last entry whose durability was acknowledged. */
  acknowledged: number;
  /** The last entry that was appended at all. */
  appended: number;
}

/** Appends, waits, rolls, drops and closes; keeps score of what was promised. */
async function work(world: World, progress: Progress, options: Partial<JournalOptions>): Promise<void> {
  const { ledger, journal } = await openLedger(world, options);
  assertKept(ledger.lastId, progress);
  await ledger.verify(journal);
  progress.appended = ledger.lastId;
  const add = () => {
    progress.appended = ledger.add(journal);
  };
  const durable = async (journal: Journal) => {
    const upTo = ledger.lastId;
    await journal.durable();
    progress.acknowledged = Math.max(progress.acknowledged, upTo);
  };
  for (let round = 0; round < 6; round++) {
    for (let count = 0; count <= round; count++) add();
    const waiting = durable(journal);
    add();
    await Promise.all([waiting, durable(journal)]);
  }
  journal.roll();
  add();
  await journal.dropOldest();
  progress.acknowledged = Math.max(progress.acknowledged, ledger.lastId);
  add();
  await journal.close();
  progress.acknowledged = ledger.lastId;
}

function assertKept(lastId: number, progress: Progress): void {
  assert.ok(lastId >= progress.acknowledged, `${progress.acknowledged} was acknowledged, ${lastId} came back`);
  assert.ok(lastId <= progress.appended, `${progress.appended} was appended, ${lastId} came back`);
}

async function survives(run: Promise<void>): Promise<"done" | "crashed" | "failed"> {
  try {
    await run;
    return "done";
  } catch (error) {
    if (error instanceof SimulatedCrash) return "crashed";
    if (error instanceof TenonError && ["unavailable", "overloaded", "closed"].includes(error.code)) return "failed";
    throw error;
  }
}

/** Opens what is left, twice (the first opening must not depend on what only the cache had), and goes on working. */
async function recovers(simulated: Simulation, progress: Progress): Promise<void> {
  simulated.disk.clearFaults();
  const options = { ...OPTIONS };
  await simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, options);
    assertKept(ledger.lastId, progress);
    progress.acknowledged = ledger.lastId;
    await ledger.verify(journal);
  });
  simulated.crash("lost");
  simulated.restart();
  await simulated.run(() => work(simulated.world, progress, options));
}

for (const moment of ["before", "during"] as const) {
  for (const outcome of ["process", "lost", "seeded"] as const) {
    test(`a crash ${moment} any operation (${outcome}) loses nothing acknowledged, and the journal opens again`, async () => {
      for (let seed = 1; seed <= (outcome === "seeded" ? SEEDS * 2 : 1); seed++) {
        for (let n = 1, struck = true; struck; n++) {
          const simulated = simulatedWorld({ seed: seed * 10_000 + n });
          const progress = { acknowledged: 0, appended: 0 };
          const fault = simulated.disk.crashAtOperation(n, moment, { outcome });
          const first = await survives(simulated.run(() => work(simulated.world, progress, OPTIONS)));
          struck = fault.struck;
          assert.equal(first, struck ? "crashed" : "done");
          if (!struck) assert.ok(n > 40, "the run has too few operations to mean anything");
          if (struck) simulated.restart();
          await recovers(simulated, progress).catch((error: unknown) => {
            throw new Error(`crash ${moment} operation ${n}, outcome ${outcome}, seed ${seed}`, { cause: error });
          });
        }
      }
    });
  }
}

test("a second crash, at any operation of the opening after the first, loses nothing either", async () => {
  for (let first = 5; ; first += process.env.TENON_SLOW === "1" ? 1 : 10) {
    for (let n = 1, struck = true; struck; n++) {
      const simulated = simulatedWorld({ seed: first * 1000 + n });
      const progress = { acknowledged: 0, appended: 0 };
      simulated.disk.crashAtOperation(first, "during");
      if ((await survives(simulated.run(() => work(simulated.world, progress, OPTIONS)))) === "done") {
        assert.ok(first > 40, "the run has too few operations to mean anything");
        return;
      }
      simulated.restart();
      const opening = simulated.disk.crashAtOperation(n, "during");
      const second = await survives(simulated.run(async () => void (await openLedger(simulated.world, OPTIONS))));
      struck = opening.struck;
      assert.equal(second, struck ? "crashed" : "done");
      if (!struck) simulated.crash("seeded");
      simulated.restart();
      await recovers(simulated, progress).catch((error: unknown) => {
        throw new Error(`crashes at operation ${first}, then at ${n} of the opening`, { cause: error });
      });
    }
  }
});

for (const failure of ["io", "full"] as const) {
  for (const repeat of ["once", "from-then-on"] as const) {
    test(`when any operation fails (${failure}, ${repeat}), the journal goes on or fails clearly, and loses nothing`, async () => {
      for (let n = 1, struck = true; struck; n++) {
        const simulated = simulatedWorld({ seed: n });
        const progress = { acknowledged: 0, appended: 0 };
        const fault = simulated.disk.failOperation(n, failure, repeat);
        const outcome = await survives(simulated.run(() => work(simulated.world, progress, OPTIONS)));
        struck = fault.struck;
        assert.ok(outcome === "failed" || outcome === "done");
        if (!struck) assert.ok(n > 40 && outcome === "done");
        simulated.crash("seeded");
        simulated.restart();
        await recovers(simulated, progress).catch((error: unknown) => {
          throw new Error(`${failure} at operation ${n} (${repeat})`, { cause: error });
        });
      }
    });

    // The system's cache shows what a failed sync did not bring to the disk, and takes it for written.
    test(`when any operation fails (${failure}, ${repeat}) and the machine goes on, what is opened then survives the machine`, async () => {
      for (let seed = 1; seed <= 2 * SEEDS; seed++) {
        for (let n = 1, struck = true; struck; n++) {
          const simulated = simulatedWorld({ seed: seed * 10_000 + n });
          const progress = { acknowledged: 0, appended: 0 };
          const fault = simulated.disk.failOperation(n, failure, repeat);
          await survives(simulated.run(() => work(simulated.world, progress, OPTIONS)));
          struck = fault.struck;
          simulated.crash("process");
          simulated.restart();
          await recovers(simulated, progress).catch((error: unknown) => {
            throw new Error(`${failure} at operation ${n} (${repeat}), seed ${seed}`, { cause: error });
          });
        }
      }
    });
  }
}

test("with asynchronous durability a machine's crash loses a tail only, and a process' crash loses nothing", async () => {
  for (const outcome of ["process", "lost", "kept", "seeded"] as const) {
    for (let n = 1, struck = true; struck; n++) {
      const simulated = simulatedWorld({ seed: n });
      const progress = { acknowledged: 0, appended: 0 };
      const options = { ...OPTIONS, durability: "async" as const };
      const fault = simulated.disk.crashAtOperation(n, "during", { outcome });
      await survives(simulated.run(() => work(simulated.world, progress, options)));
      struck = fault.struck;
      if (struck) simulated.restart();
      if (struck && outcome !== "process" && outcome !== "kept") progress.acknowledged = 0;
      await recovers(simulated, progress).catch((error: unknown) => {
        throw new Error(`crash at operation ${n}, outcome ${outcome}`, { cause: error });
      });
    }
  }
});
