import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { embedded } from "../engines/embedded/index.ts";
import { ambientWorld } from "../world/ambient.ts";
import { systemWorld } from "../world/index.ts";
import type { World } from "../world/world.ts";
import { simulate } from "./simulate.ts";
import { type ProcessHandle, type Scenario, SimulationFailure, type TraceLine, Violation } from "./system.ts";

const forever = (): Promise<never> => new Promise(() => {});

async function failureOf(scenario: Scenario, options: Partial<Parameters<typeof simulate>[0]> = {}) {
  const failure = await simulate({ seed: 1, ...options }, scenario).then(
    () => assert.fail("the run should have failed"),
    (error: unknown) => error,
  );
  assert.ok(failure instanceof SimulationFailure, String(failure));
  return failure;
}

/** Writes a file at a time and syncs it, for ever. */
async function writer({ world }: { readonly world: World }): Promise<void> {
  const file = await world.disk.open(`/log-${world.random.uuid()}`, "create");
  for (;;) {
    await file.append(world.random.bytes(100));
    await file.sync();
    await world.timers.sleep(100);
  }
}

test("processes live in worlds of their own on one time line", async () => {
  const seen: string[] = [];
  const report = await simulate({ seed: 1 }, async (system) => {
    for (const [name, ms] of [
      ["slow", 20],
      ["fast", 10],
    ] as const) {
      system.process(name, async ({ world }) => {
        await world.timers.sleep(ms);
        seen.push(`${name} at ${world.clock.monotonic()}`);
      });
    }
    await Promise.all(system.processes.map((process) => process.ended));
  });
  assert.deepEqual(seen, ["fast at 10", "slow at 20"]);
  assert.equal(report.virtualMs, 20);
  assert.deepEqual(report.faults, []);
});

test("equal seeds give equal runs, other seeds other ones", async () => {
  const run = async (seed: number) => {
    const lines: TraceLine[] = [];
    const report = await simulate(
      { seed, faults: "swarm", safetyMs: 20_000, trace: (line) => lines.push(line) },
      async (system) => {
        for (const name of ["a", "b", "c"]) system.process(name, writer, { whenMainFails: "restart" });
        await system.healed();
      },
    );
    return { ...report, lines };
  };
  const [first, second, other] = [await run(7), await run(7), await run(8)];
  assert.deepEqual(first, second);
  assert.notEqual(first.hash, other.hash);
  assert.ok(first.faults.length >= 5, `${first.faults.length} faults`);
});

test("a crashed process hears nothing more, and its main starts again over what its disk kept", async () => {
  const starts: number[] = [];
  let afterCrash = false;
  await simulate({ seed: 3 }, async (system) => {
    const shop = system.process("shop", async ({ world, incarnation }) => {
      await using engine = await embedded({ directory: "/data", world });
      const result = await engine.keyValue.commit([{ type: "add", key: "starts", by: 1 }]);
      assert.ok(result.committed);
      starts.push(result.counters[0]!);
      if (incarnation === 3) return;
      await world.timers.sleep(60_000);
      afterCrash = true;
    });
    for (let n = 1; n <= 2; n++) {
      await system.until("it counted its start", () => starts.length === n);
      shop.crash();
      shop.restart();
    }
    await shop.ended;
    await system.sleep(120_000);
  });
  assert.deepEqual(starts, [1, 2, 3]);
  assert.equal(afterCrash, false);
});

test("a paused process finds out late, and its clocks have gone on, unless its machine slept", async () => {
  const woken: Record<string, number> = {};
  await simulate({ seed: 1 }, async (system) => {
    for (const manner of ["stopped", "asleep"] as const) {
      const process = system.process(manner, async ({ world }) => {
        const [monotonic, wall] = [world.clock.monotonic(), world.clock.now()];
        await world.timers.sleep(100);
        woken[manner] = world.clock.monotonic() - monotonic;
        woken[`${manner}, wall`] = world.clock.now() - wall;
      });
      await system.sleep(1);
      process.pause(manner);
      await system.sleep(10_000);
      assert.equal(woken[manner], undefined);
      process.resume();
      await process.ended;
    }
  });
  assert.deepEqual(woken, { stopped: 10_001, "stopped, wall": 10_001, asleep: 100, "asleep, wall": 10_100 });
});

test("whoever waits for what is left until a deadline gets there, though sums of fractions are not exact", async () => {
  await simulate({ seed: 1, eventsMax: 10_000 }, async (system) => {
    const process = system.process("punctual", async ({ world: { clock, timers } }) => {
      for (let round = 1; round <= 1_000; round += 1) {
        const deadline = clock.monotonic() + 10 * system.random.float();
        for (let left = 1; left > 0; left = deadline - clock.monotonic()) await timers.sleep(left);
      }
    });
    // Then virtual time is coarser than the time that the process counts.
    process.pause("asleep");
    await system.sleep(100_000);
    process.clock.drift(1.01);
    process.resume();
    await process.ended;
  });
});

test("a clock that gains wakes its sleepers early by everybody else's", async () => {
  const report = await simulate({ seed: 1 }, async (system) => {
    const process = system.process("hasty", async ({ world }) => {
      await world.timers.sleep(1);
      await world.timers.sleep(1_500);
    });
    process.clock.drift(1.5);
    await process.ended;
  });
  assert.ok(Math.abs(report.virtualMs - 1_501 / 1.5) < 1, String(report.virtualMs));
});

test("code inside of a process is in its world, and so is whatever it calls later", async () => {
  const worlds: (World | undefined)[] = [];
  let own: World | undefined;
  await simulate({ seed: 1 }, async (system) => {
    const process = system.process("shop", async ({ world }) => {
      own = world;
      worlds.push(systemWorld());
      await world.timers.sleep(1);
      worlds.push(systemWorld());
      world.timers.schedule(1, () => worlds.push(systemWorld()));
      await world.timers.sleep(5);
    });
    await process.ended;
    process.run(() => worlds.push(systemWorld()));
    assert.equal(ambientWorld(), undefined);
  });
  assert.equal(worlds.length, 4);
  for (const world of worlds) assert.equal(world, own);
});

test("faults strike for a while, then everything is healed", async () => {
  const states: string[] = [];
  const report = await simulate(
    { seed: 5, faults: { perMinute: { crash: 20, pause: 20, "clock-drift": 20, "disk-outage": 20 } } },
    async (system) => {
      for (const name of ["a", "b"]) system.process(name, writer, { whenMainFails: "restart" });
      await system.healed();
      states.push(...system.processes.map((process) => process.state));
      const [one, other] = system.processes as [ProcessHandle, ProcessHandle];
      const before = one.clock.now - other.clock.now;
      await system.sleep(100_000);
      assert.ok(Math.abs(one.clock.now - other.clock.now - before) <= 1);
    },
  );
  assert.deepEqual(states, ["running", "running"]);
  assert.deepEqual([...new Set(report.faults.map((fault) => fault.kind))].sort(), [
    "clock-drift",
    "crash",
    "disk-outage",
    "pause",
  ]);
});

test("leaving a planned fault out leaves the others as they were", async () => {
  const run = (without: readonly number[]) =>
    simulate({ seed: 9, faults: "swarm", without }, async (system) => {
      for (const name of ["a", "b"]) system.process(name, writer, { whenMainFails: "restart" });
      await system.healed();
    });
  const all = (await run([])).faults;
  const left = (await run([0, 2])).faults;
  const times = (faults: typeof all) => faults.map(({ number, atMs, kind }) => ({ number, atMs, kind }));
  const numbers = new Set(left.map((fault) => fault.number));
  assert.ok(!numbers.has(0) && !numbers.has(2) && left.length > 3);
  assert.deepEqual(
    times(left).filter(({ number }) => all.some((fault) => fault.number === number)),
    times(all).filter(({ number }) => numbers.has(number)),
  );
});

test("the scenario goes on at the instant at which what it waits for holds", async () => {
  await simulate({ seed: 1 }, async (system) => {
    let open = false;
    system.process("shop", async ({ world }) => {
      await world.timers.sleep(5);
      open = true;
    });
    await system.until("the shop is open", () => open);
    assert.equal(system.nowMs, 5);
  });
});

test("a deadlock names what everybody waits for", async () => {
  const failure = await failureOf(async (system) => {
    system.process("shop", forever);
    await system.until("the shop opens", () => false);
  });
  assert.match(
    failure.rule,
    /^deadlock: .*the scenario waits until the shop opens; shop \(running\) waits for nothing/,
  );
});

test("what does not come to rest after everything healed fails, too", async () => {
  const failure = await failureOf(
    async (system) => {
      system.process("shop", async ({ world }) => {
        for (;;) await world.timers.sleep(1_000);
      });
      await system.until("the shop is done", () => false);
    },
    { livenessMs: 30_000 },
  );
  assert.match(
    failure.rule,
    /did not come to rest after everything healed.* until the shop is done; shop .* waits for: sleep 1000/,
  );
  assert.equal(failure.report.virtualMs, 90_000);
});

test("a main that throws fails the run", async () => {
  const failure = await failureOf(async (system) => {
    const shop = system.process("shop", async () => {
      throw new Error("no stock");
    });
    await shop.ended;
  });
  assert.equal(failure.rule, "shop main failed: no stock");
});

test("a rule that breaks in the middle ends the run there", async () => {
  const failure = await failureOf(async (system) => {
    system.always("time stays small", () => {
      if (system.nowMs > 5_000) throw new Violation("it is late");
    });
    await system.sleep(60_000);
  });
  assert.equal(failure.rule, "time stays small: it is late");
  assert.ok(failure.report.virtualMs <= 60_000);
});

test("a scenario that throws fails with its own words, and the last events are told", async () => {
  const failure = await failureOf(async (system) => {
    await system.sleep(10);
    system.note("about to fail");
    throw new Violation("two payments of order 7");
  });
  assert.equal(failure.message, "seed 1: two payments of order 7");
  assert.equal(failure.lastEvents.at(-1)?.text, "about to fail");
});

test("code that knows nothing of worlds lives in one all the same", async () => {
  const seen: unknown[] = [];
  await simulate({ seed: 1 }, async (system) => {
    const process = system.process("shop", async () => {
      seen.push(
        new Date().toISOString(),
        await new Promise((resolve) => setTimeout(resolve, 1_500, "late")),
        Date.now(),
      );
    });
    await process.ended;
  });
  assert.deepEqual(seen, ["2026-01-01T00:00:00.000Z", "late", Date.UTC(2026, 0, 1) + 1_500]);
});

test("what leaves the simulation fails the run, by name", async () => {
  const failure = await failureOf(async (system) => {
    const shop = system.process("shop", () => {
      readFileSync("package.json");
    });
    await shop.ended;
  });
  assert.match(failure.rule, /^shop left the simulation: fs.readFileSync\n.*simulate\.test\.ts/);
});

test("a throw in a tick, a microtask or a listener ends its process and no other, and what else is due still comes", async () => {
  const fail = () => {
    throw new Error("nobody catches");
  };
  const throwing: Readonly<Record<string, () => void>> = {
    tick: () => process.nextTick(fail),
    microtask: () => queueMicrotask(fail),
    listener: () => {
      const controller = new AbortController();
      controller.signal.addEventListener("abort", fail);
      controller.abort();
    },
  };
  for (const [name, breaks] of Object.entries(throwing)) {
    const seen: string[] = [];
    await simulate({ seed: 1 }, async (system) => {
      const other = system.process("other", async ({ world }) => {
        await world.timers.sleep(10);
        process.nextTick(() => seen.push("a tick of another"));
        await world.timers.sleep(10);
      });
      const breaking = system.process(
        "breaking",
        async ({ world, incarnation }) => {
          seen.push(`start ${incarnation}`);
          await world.timers.sleep(10);
          if (incarnation === 1) breaks();
          await world.timers.sleep(10);
        },
        { whenMainFails: "restart" },
      );
      await Promise.all([other.ended, breaking.ended]);
    });
    assert.deepEqual(seen, ["start 1", "a tick of another", "start 2"], name);
    const run = simulate({ seed: 1 }, async (system) => {
      system.process("breaking", async () => breaks());
      await system.sleep(1_000);
    });
    await assert.rejects(run, (error: Error) => {
      assert.ok(error instanceof SimulationFailure, name);
      assert.match(error.message, /breaking.*nobody catches/s);
      return true;
    });
  }
});

test("a rejection that nobody handles, or a callback that throws, ends its process and no other", async () => {
  const starts: string[] = [];
  await simulate({ seed: 1 }, async (system) => {
    for (const [name, breaks] of [
      ["rejecting", () => void Promise.reject(new Error("nobody looks"))],
      [
        "throwing",
        () => {
          throw new Error("nobody catches");
        },
      ],
    ] as const) {
      const process = system.process(
        name,
        async ({ world, incarnation }) => {
          starts.push(`${name} ${incarnation}`);
          world.timers.schedule(10, incarnation === 1 ? breaks : () => {});
          await world.timers.sleep(20);
        },
        { whenMainFails: "restart" },
      );
      await process.ended;
    }
  });
  assert.deepEqual(starts, ["rejecting 1", "rejecting 2", "throwing 1", "throwing 2"]);
});

test("a timer is never early by its machine's own monotonic clock, however long the machine slept", async () => {
  let elapsed = 0;
  await simulate({ seed: 1 }, async (system) => {
    const process = system.process("shop", async ({ world }) => {
      const before = world.clock.monotonic();
      await world.timers.sleep(10_000);
      elapsed = world.clock.monotonic() - before;
    });
    await system.sleep(1_000);
    process.pause("asleep");
    await system.sleep(7_000);
    process.resume();
    process.clock.drift(0.5);
    await process.ended;
  });
  assert.ok(elapsed >= 9_999.99 && elapsed < 10_001, String(elapsed));
});

test("a machine that sleeps when everything heals has its wall clock right again", async () => {
  await simulate({ seed: 1, safetyMs: 20_000 }, async (system) => {
    const process = system.process("shop", forever);
    await system.sleep(5_000);
    const start = process.clock.now - 5_000;
    process.pause("asleep");
    await system.healed();
    assert.equal(process.clock.now, start + 20_000);
  });
});

test("the end of a fault takes back what the fault did, and nothing of the scenario's", async () => {
  const faults = { perMinute: { partition: 60, "slow-network": 60 }, partitionMs: { min: 10, max: 3_000 } };
  const report = await simulate({ seed: 2, faults, safetyMs: 30_000 }, async (system) => {
    system.process("a", forever);
    const web = system.process("web", async ({ world }) => {
      await world.network.listen({ host: "web", port: 80 }, () => {});
    });
    await web.ended;
    system.network.block("a", "web");
    const own = { ...system.network.settings, latencyMs: { min: 20, max: 200 } };
    system.network.settings = own;
    await system.sleep(29_000);
    const connected = system.processes[0]!.run(({ world }) =>
      world.network.connect({ host: "web", port: 80 }).then(
        () => "connected",
        () => "blocked",
      ),
    );
    await system.healed();
    assert.equal(system.network.settings, own);
    assert.equal(await Promise.race([connected, system.sleep(60_000).then(() => "waits")]), "connected");
  });
  assert.ok(report.faults.length > 20);
});

test("what is no option is refused, by name", async () => {
  const scenario = (): void => {};
  for (const [options, message] of [
    [undefined, /needs options with a seed/],
    [{ seed: Number.NaN }, /seed is a safe integer/],
    [{ seed: 1, safetyMs: Number.NaN }, /safetyMs is a number/],
    [{ seed: 1, without: [-1] }, /without holds/],
    [{ seed: 1, faults: "swam" }, /faults are "lite"/],
    [{ seed: 1, faults: {} }, /perMinute/],
    [{ seed: 1, faults: { perMinute: { kil: 60 } } }, /no fault "kil"/],
    [{ seed: 1, faults: { perMinute: { kill: -5 } } }, /faults.perMinute\["kill"\] is a number/],
    [{ seed: 1, faults: { swarm: ["kil"] } }, /no fault "kil"/],
    [{ seed: 1, faults: { perMinute: {}, pauseMs: { min: 0, max: 9 } } }, /pauseMs needs 0 < min/],
  ] as const) {
    await assert.rejects(simulate(options as never, scenario), message);
  }
  await assert.rejects(simulate({ seed: 1 }, undefined as never), /needs a scenario/);
  for (const [start, message] of [
    [["", forever], /a name that can be its host's/],
    [["shop", "main"], /main of shop is a function/],
    [["shop", forever, { restart: "byhand" }], /restart: supervised, by hand/],
    [["shop", forever, { faults: { crahs: false } }], /faults of process shop: crash/],
  ] as const) {
    const failure = await failureOf((system) => void (system.process as (...all: unknown[]) => unknown)(...start));
    assert.match(failure.rule, message);
  }
});

test("checks and conditions look at once, and simulations do not nest", async () => {
  const late = await failureOf(async (system) => {
    system.always("nothing", async () => {});
    await system.sleep(2_000);
  });
  assert.match(late.rule, /must not be asynchronous/);
  const condition = await failureOf((system) => system.until("it is", (async () => false) as never));
  assert.match(condition.rule, /answers true or false, at once/);
  const nested = await failureOf(async (system) => {
    await system.process("shop", () => simulate({ seed: 1 }, () => {})).ended;
  });
  assert.match(nested.rule, /inside of a simulated process/);
});
