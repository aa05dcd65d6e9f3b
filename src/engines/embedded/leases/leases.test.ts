import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { simulatedWorld } from "../../../simulation/index.ts";
import type { World } from "../../../world/world.ts";
import { directory, opened, reopened, segments } from "../fixtures.test.ts";
import { decodeHolder, encodeHolder, holderKey, parseHolderKey } from "./lease-records.ts";

const eventsMax = 3_000_000;
const request = (holder: string, more: object = {}) => ({ holder, ttlMs: 10_000, waitMs: 0, ...more });

/** The wall clock, moved by so many milliseconds. */
function shifted(world: World, byMs: () => number): World {
  const { clock } = world;
  return { ...world, clock: { now: () => clock.now() + byMs(), monotonic: () => clock.monotonic() } };
}

test("a lease that is renewed again and again takes no more room than one that is not", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    const { timers } = simulation.world;
    let engine = await opened(simulation);
    let lease = (await engine.leases.acquire("name", request("a")))!;
    const still = (await engine.leases.acquire("still", request("s", { ttlMs: 2 ** 31 - 1, data: "stays" })))!;
    for (let round = 0; round < 3_000; round++) {
      lease = await engine.leases.renew(lease);
      if (round % 10 === 0) await timers.sleep(100);
    }
    await timers.sleep(6_000);
    assert.ok((await segments(simulation)).length <= 4, "cleaned segments are left");
    assert.ok(engine.sizeBytes < 40_000, `${engine.sizeBytes} bytes`);
    engine = await reopened(simulation);
    const { holders } = await engine.leases.describe("still");
    assert.deepEqual(holders, [
      { holder: "s", token: still.token, weight: 1, data: "stays", expiresAt: still.since.wall + still.ttlMs },
    ]);
    assert.equal((await engine.leases.renew(lease)).token, lease.token);
    const next = await engine.leases.acquire("other", request("b"));
    assert.ok(next!.token > still.token && next!.token > lease.token);
    await engine.close();
  });
});

test("names that nobody has to do with any more leave nothing in memory", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    const { timers } = simulation.world;
    const engine = await opened(simulation);
    const { leases } = engine;
    for (let index = 0; index < 200; index++) {
      await leases.acquire(`released ${index}`, request("a"));
      await leases.release(`released ${index}`, "a");
      await leases.acquire(`ended ${index}`, request("a", { ttlMs: 50 }));
      await leases.describe(`described ${index}`);
      await leases.release(`unknown ${index}`, "a");
      for await (const _ of leases.watch(`watched ${index}`)) break;
      const answer = leases.acquire(`ended ${index}`, request("b", { waitMs: 1 }));
      await answer;
    }
    await timers.sleep(1_000);
    assert.equal(leases.nameCount, 0);
    assert.equal(engine.stateCount, 0);
    await engine.close();
  });
});

test("tokens grow although nothing of the earlier grants is left in the journal", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    let last = 0n;
    for (let round = 0; round < 3; round++) {
      const { token } = (await engine.leases.acquire("name", request("a")))!;
      assert.ok(token > last, `${token} does not follow ${last}`);
      last = token;
      await engine.leases.release("name", "a");
      for (let fill = 0; fill < 20; fill++) {
        await engine.keyValue.commit([{ type: "put", key: "key", value: Buffer.alloc(1_000) }]);
      }
      await engine.cleaner.clean();
      assert.ok((await segments(simulation)).length <= 2, "the segments of the grant are left");
      engine = await reopened(simulation);
    }
    await engine.close();
  });
});

test("users' keys, scans and watches neither reach nor show leases and rates", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation);
    const { keyValue, leases, rates } = engine;
    await leases.acquire("name", request("a"));
    await rates.decide("key", { type: "fixedWindow", limit: 1, windowMs: 10_000_000 }, 1);
    assert.deepEqual(await keyValue.scan(""), []);
    for (const key of [holderKey("name", "a"), "rfkey"]) {
      await keyValue.commit([{ type: "put", key, value: Buffer.from("1") }]);
      await keyValue.commit([{ type: "delete", key }]);
    }
    assert.equal((await leases.describe("name")).holders.length, 1);
    await engine.close();
  });
});

test("while a clock is set back a lease lasts no longer than it was given, and it does not come back by it", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    let byMs = 0;
    const world = () => shifted(simulation.world, () => byMs);
    let engine = await opened(simulation, { world: world() });
    await engine.leases.acquire("name", request("a"));
    byMs = -3_600_000;
    const { expiresAt } = (await engine.leases.describe("name")).holders[0]!;
    assert.ok(expiresAt <= world().clock.now() + 10_000);
    await simulation.world.timers.sleep(9_000);
    assert.equal(await engine.leases.acquire("name", request("b")), undefined);
    await simulation.world.timers.sleep(1_100);
    // `a` has ended, and `b` follows; by the clock before the restart `a` would have an hour left.
    assert.ok(await engine.leases.acquire("name", request("b", { ttlMs: 60_000 })));
    byMs = -7_200_000;
    simulation.crash("lost");
    simulation.restart();
    engine = await opened(simulation, { world: world() });
    const { holders } = await engine.leases.describe("name");
    assert.deepEqual(
      holders.map(({ holder }) => holder),
      ["b"],
    );
    assert.ok(holders[0]!.expiresAt <= world().clock.now() + 60_000, "it would keep the name for hours");
    await simulation.world.timers.sleep(61_000);
    assert.ok(await engine.leases.acquire("name", request("c")));
    await engine.close();
  });
});

test("a clock that jumps forward ends leases, and their holders are told", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    let byMs = 0;
    const engine = await opened(simulation, { world: shifted(simulation.world, () => byMs) });
    const lease = (await engine.leases.acquire("name", request("a")))!;
    byMs = 3_600_000;
    const next = await engine.leases.acquire("name", request("b"));
    assert.ok(next !== undefined && next.token > lease.token);
    await assert.rejects(engine.leases.renew(lease), { code: "lost", outcome: "not-applied" });
    await engine.close();
  });
});

test("an acquisition that is aborted before its grant is durable gives it up at once", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation);
    const controller = new AbortController();
    const reason = new Error("aborted");
    const cut = engine.leases.acquire("name", request("a"), { signal: controller.signal });
    const waiting = engine.leases.acquire("name", request("b", { waitMs: 1_000 }));
    controller.abort(reason);
    await assert.rejects(cut, (error) => error === reason);
    assert.equal((await waiting)?.holder, "b");
    // Somebody else was told of the same grant: it stays.
    const other = new AbortController();
    const told = engine.leases.acquire("shared", request("a"));
    const repeated = engine.leases.acquire("shared", request("a"), { signal: other.signal });
    other.abort(reason);
    await assert.rejects(repeated, (error) => error === reason);
    assert.equal((await told)?.holder, "a");
    assert.equal((await engine.leases.describe("shared")).holders.length, 1);
    await engine.close();
  });
});

test("a full journal refuses new leases, and lets holders renew and release", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation, { sizeBytesMax: 30_000, segmentBytes: 8_192 });
    const lease = (await engine.leases.acquire("name", request("a")))!;
    const filling = async () => {
      for (let index = 0; ; index++) {
        await engine.keyValue.commit([{ type: "put", key: `key ${index}`, value: Buffer.alloc(1_000) }]);
      }
    };
    await assert.rejects(filling(), { code: "overloaded" });
    await assert.rejects(engine.leases.acquire("other", request("b")), { code: "overloaded", outcome: "not-applied" });
    await assert.rejects(engine.leases.acquire("name", request("b", { waitMs: 1_000 })), { code: "overloaded" });
    await engine.leases.renew(lease);
    await engine.leases.release("name", "a");
    await engine.close();
  });
});

test("leases decide as if the rules were followed by hand, over crashes and cleaned segments", async () => {
  const moves = fc.array(
    fc.record({
      name: fc.constantFrom("x", "y"),
      holder: fc.constantFrom("a", "b", "c", "d"),
      capacity: fc.constantFrom(1, 3),
      weight: fc.constantFrom(1, 1, 2, 3),
      does: fc.constantFrom("acquire", "acquire", "renew", "release", "sleep", "crash"),
    }),
    { minLength: 40, maxLength: 120 },
  );
  await fc.assert(
    fc.asyncProperty(moves, async (steps) => {
      const simulation = simulatedWorld({ seed: 1, eventsMax });
      await simulation.run(async () => {
        let engine = await opened(simulation);
        const held = new Map<
          string,
          { weight: number; capacity: number; token: bigint; lease: never; endsAt: number }
        >();
        let last = 0n;
        for (const { name, holder, capacity, weight: wanted, does } of steps) {
          const weight = Math.min(wanted, capacity);
          const key = `${name}/${holder}`;
          const now = () => simulation.world.clock.now();
          for (const [each, { endsAt }] of held) if (endsAt <= now()) held.delete(each);
          const own = held.get(key);
          if (does === "crash") engine = await reopened(simulation);
          else if (does === "sleep") await simulation.world.timers.sleep(3_000);
          else if (does === "release") {
            await engine.leases.release(name, holder);
            held.delete(key);
          } else if (does === "renew" && own !== undefined) {
            const lease = await engine.leases.renew(own.lease);
            held.set(key, { ...own, endsAt: lease.since.wall + lease.ttlMs });
          } else if (does === "acquire") {
            const used = [...held]
              .filter(([each]) => each.startsWith(name))
              .reduce((sum, [, each]) => sum + each.weight, 0);
            const asking = engine.leases.acquire(name, request(holder, { weight, capacity }));
            if (own !== undefined && (own.weight !== weight || own.capacity !== capacity)) {
              await assert.rejects(asking, { code: "conflict" });
              continue;
            }
            const lease = await asking;
            assert.equal(lease !== undefined, own !== undefined || used + weight <= capacity);
            if (lease === undefined) continue;
            if (own === undefined) assert.ok(lease.token > last, "tokens grow");
            else assert.equal(lease.token, own.token);
            last = lease.token > last ? lease.token : last;
            const endsAt = lease.since.wall + lease.ttlMs;
            held.set(key, { weight, capacity, token: lease.token, lease: lease as never, endsAt });
          }
        }
        await engine.close();
      });
    }),
    { numRuns: 20 },
  );
});

test("holders are stored and found again, whatever their names hold", () => {
  const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(text, text, fc.option(text, { nil: undefined }), fc.nat(), (name, holder, data, number) => {
      assert.deepEqual(parseHolderKey(holderKey(name, holder)), { name, holder });
      const stored = { token: number + 1, weight: 3, capacity: 7, ttlMs: number, expiresAt: number * 3, data };
      assert.deepEqual(decodeHolder(encodeHolder(stored)), stored);
    }),
  );
});

test("leases go on from the journal that a closed engine left", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation, { directory: `${directory}/closed` });
    const lease = (await engine.leases.acquire("name", request("a")))!;
    await engine.close();
    engine = await opened(simulation, { directory: `${directory}/closed` });
    assert.equal((await engine.leases.renew(lease)).token, lease.token);
    await engine.close();
  });
});
