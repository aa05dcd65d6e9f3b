import assert from "node:assert/strict";
import { test } from "node:test";
import { type Simulation, simulatedWorld } from "./index.ts";

test("sleeping moves virtual time and no other", async () => {
  const simulation = simulatedWorld({ seed: 1, startsAt: 1_000 });
  const { clock, timers } = simulation.world;
  await simulation.run(async () => {
    await timers.sleep(3_600_000);
    assert.equal(clock.monotonic(), 3_600_000);
    assert.equal(clock.now(), 3_601_000);
  });
  assert.equal(simulation.nowMs, 3_600_000);
  assert.equal(simulation.trace.events, 1);
});

test("events come in the order of their instants, equal ones in the order of scheduling", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  const { timers } = simulation.world;
  const seen: string[] = [];
  await simulation.run(async () => {
    timers.schedule(20, () => seen.push("20 first"));
    timers.schedule(10, () => seen.push("10 first"));
    timers.schedule(20, () => seen.push("20 second"));
    timers.schedule(10, () => seen.push("10 second"));
    timers.schedule(0, () => seen.push("0"));
    await timers.sleep(20);
  });
  assert.deepEqual(seen, ["0", "10 first", "10 second", "20 first", "20 second"]);
});

test("what one event sets off is done before the next one fires", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  const { timers } = simulation.world;
  const seen: string[] = [];
  await simulation.run(async () => {
    timers.schedule(5, async () => {
      for (let turn = 0; turn < 50; turn++) await undefined;
      seen.push("fifty microtasks after the first");
    });
    timers.schedule(5, () => seen.push("the second"));
    await timers.sleep(6);
  });
  assert.deepEqual(seen, ["fifty microtasks after the first", "the second"]);
});

test("cancelled calls do not happen, however many there are", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  const { timers } = simulation.world;
  let called = 0;
  await simulation.run(async () => {
    for (let count = 0; count < 5_000; count++) {
      const cancel = timers.schedule(1 + (count % 97), () => {
        called += 1;
      });
      if (count % 10 > 0) cancel();
    }
    const late = timers.schedule(1, () => {
      called += 1;
    });
    await timers.sleep(1_000);
    late();
    late();
  });
  assert.equal(called, 501);
});

test("an aborted sleep rejects with the signal's reason, without waiting", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  const { timers } = simulation.world;
  const reason = new Error("enough");
  await simulation.run(async () => {
    const controller = new AbortController();
    timers.schedule(5, () => controller.abort(reason));
    await assert.rejects(timers.sleep(1_000, { signal: controller.signal }), reason);
    await assert.rejects(timers.sleep(1_000, { signal: controller.signal }), reason);
  });
  assert.equal(simulation.nowMs, 5);
});

test("the wall clock can be set and stepped, and monotonic time does not notice", async () => {
  const simulation = simulatedWorld({ seed: 1, startsAt: 10_000 });
  const { clock, timers } = simulation.world;
  await simulation.run(async () => {
    await timers.sleep(500);
    simulation.stepClock(-2_000);
    assert.equal(clock.now(), 8_500);
    simulation.setClock(77_000);
    await timers.sleep(1);
    assert.equal(clock.now(), 77_001);
    assert.equal(clock.monotonic(), 501);
  });
});

test("a run that can never end says deadlock, and which calls of a crashed process are waited for", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  await assert.rejects(
    simulation.run(() => new Promise(() => {})),
    /deadlock.*seed 1.*never settles/s,
  );
  await assert.rejects(
    simulation.run(async () => {
      const opening = simulation.world.disk.open("/a", "create");
      simulation.crash();
      await opening;
    }),
    /deadlock.*open \/a to create \(crashed meanwhile\)/s,
  );
});

test("a run that goes round for ever is stopped", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax: 1_000 });
  const again = () => {
    simulation.world.timers.schedule(1, again);
  };
  await assert.rejects(
    simulation.run(() => {
      again();
      return new Promise(() => {});
    }),
    /no end in sight.*timer 1/,
  );
});

test("what never comes due does not keep a run alive", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  await assert.rejects(
    simulation.run(() => simulation.world.timers.sleep(Number.POSITIVE_INFINITY)),
    /deadlock/,
  );
});

test("a run answers what its function answers, and fails with its error or with a scheduled call's", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  assert.equal(await simulation.run(() => 7), 7);
  await assert.rejects(
    simulation.run(async () => {
      await simulation.world.timers.sleep(1);
      throw new Error("from inside");
    }),
    /from inside/,
  );
  await assert.rejects(
    simulation.run(async () => {
      simulation.world.timers.schedule(1, () => {
        throw new Error("from a timer");
      });
      await simulation.world.timers.sleep(2);
    }),
    /from a timer/,
  );
  await assert.rejects(
    simulation.run(() => simulation.run(() => 1)),
    /under way/,
  );
});

test("a crashed process hears nothing more, and the next one goes on in the same time", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  const seen: string[] = [];
  await simulation.run(async () => {
    const dead = simulation.world;
    const file = await dead.disk.open("/a", "create");
    dead.timers.schedule(10, () => seen.push("timer before the crash"));
    const controller = new AbortController();
    const settle = (what: string) => () => seen.push(what);
    dead.timers.sleep(5, { signal: controller.signal }).then(settle("sleep"), settle("aborted sleep"));
    file.append(Buffer.from("x")).then(settle("append"), settle("failed append"));
    simulation.crash();
    controller.abort();
    assert.throws(() => simulation.world, /restart/);
    const crashedAt = simulation.nowMs;
    const world = simulation.restart();
    dead.timers.schedule(1, () => seen.push("timer after the crash"));
    dead.timers.sleep(1).then(settle("late sleep"));
    file.sync().then(settle("late sync"), settle("failed late sync"));
    file.close().then(settle("late close"));
    dead.disk.list("/").then(settle("late list"));
    dead.disk.open("/none", "read").then(settle("late open"), settle("failed late open"));
    await world.timers.sleep(100);
    assert.equal(world.clock.monotonic(), crashedAt + 100);
  });
  assert.deepEqual(seen, []);
});

test("a lock is freed by the crash of its process and names the next one's number", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  await simulation.run(async () => {
    assert.ok("release" in (await simulation.world.disk.lock("/owner.db", "me")));
    assert.deepEqual(await simulation.world.disk.lock("/owner.db", "me too"), { heldBy: "me (pid 1)" });
    simulation.crash("process");
    const { disk } = simulation.restart();
    assert.ok("release" in (await disk.lock("/owner.db", "me again")));
    assert.deepEqual(await disk.lock("/owner.db", "x"), { heldBy: "me again (pid 2)" });
  });
});

test("the network says that there is none", async () => {
  const { network } = simulatedWorld({ seed: 1 }).world;
  await assert.rejects(network.connect({ host: "h", port: 1 }), { name: "NetworkError", failure: "unreachable" });
  await assert.rejects(
    network.listen({ host: "h", port: 1 }, () => {}),
    { failure: "unreachable" },
  );
});

/** A bit of everything, with two crashes. */
async function busy(seed: number): Promise<{ simulation: Simulation; drawn: unknown[] }> {
  const simulation = simulatedWorld({ seed });
  const drawn: unknown[] = [];
  await simulation.run(async () => {
    for (let life = 0; life < 3; life++) {
      const { random, timers, disk } = life === 0 ? simulation.world : simulation.restart();
      drawn.push(random.uuid(), random.float(), Buffer.from(random.bytes(5)).toString("hex"));
      const files = await Promise.all(["a", "b", "c"].map((name) => disk.open(`/${name}${life}`, "create")));
      await Promise.all(files.map((file) => file.append(random.bytes(3_000))));
      await Promise.all([disk.syncDirectory("/"), files[0]!.sync(), timers.sleep(random.float() * 3)]);
      await files[1]!.append(random.bytes(2_000));
      drawn.push(...(await disk.list("/")));
      if (life < 2) simulation.crash();
    }
  });
  drawn.push(
    ...["/a0", "/b0", "/a1", "/b1"].map((path) => Buffer.from(simulation.disk.readFile(path)).toString("hex")),
  );
  return { simulation, drawn };
}

test("equal seeds give equal histories, other seeds give others", async () => {
  const hashes = new Set<string>();
  for (let seed = 1; seed <= 20; seed++) {
    const one = await busy(seed);
    const other = await busy(seed);
    assert.deepEqual(one.drawn, other.drawn);
    assert.deepEqual(one.simulation.trace, other.simulation.trace);
    assert.equal(one.simulation.nowMs, other.simulation.nowMs);
    hashes.add(one.simulation.trace.hash);
  }
  assert.equal(hashes.size, 20);
});

test("a seed is a safe integer", () => {
  assert.throws(() => simulatedWorld({ seed: 0.5 }), RangeError);
  assert.throws(() => simulatedWorld({ seed: Number.NaN }), RangeError);
});
