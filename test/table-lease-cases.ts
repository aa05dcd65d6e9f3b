/** Leases of engines in tables beyond the contract. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { systemWorld } from "tenon/world";
import { fightForOneName } from "./lease-fights.ts";
import { checkGrants, type Grant } from "./lease-grants.ts";
import { holders, leaseHandOverCases, name, queued, request } from "./lease-hand-over-cases.ts";
import { type OpenEngine, opening, type TableEngine, type TableServer } from "./table-engine-cases.ts";
import { testPrefix } from "./test-prefix.ts";

async function together(t: TestContext, open: OpenEngine, count: number): Promise<readonly TableEngine[]> {
  const prefix = testPrefix();
  return Promise.all(Array.from({ length: count }, () => open(t, {}, prefix)));
}

export function tableLeaseCases(server: TableServer): void {
  const open = opening(server);

  leaseHandOverCases((t, count) => together(t, open, count));

  test("however many engines fight for a name, it has one holder, and tokens grow", async (t) => {
    await fightForOneName(await together(t, open, 3));
  });

  test("tokens grow under engines that take a name whenever it is free, and give it back at once", async (t) => {
    const [one, other] = await together(t, open, 2);
    const grants: Grant[] = [];
    const take = async ({ leases }: TableEngine, id: string) => {
      for (let round = 0; round < 30; round++) {
        const asked = performance.now();
        const holder = `${id} ${round}`;
        const lease = await leases.acquire(name, request(holder, { waitMs: 0 }));
        if (lease === undefined) continue;
        const grant: Grant = { token: lease.token, asked, at: performance.now(), until: Number.POSITIVE_INFINITY };
        grants.push(grant);
        await leases.renew(lease);
        grant.until = performance.now();
        await leases.release(name, holder);
      }
    };
    await Promise.all([take(one!, "a"), take(one!, "b"), take(other!, "c"), take(other!, "d")]);
    assert.ok(grants.length > 0);
    checkGrants(grants);
  });

  test("who waits gets the name when nobody knows whether that was released, and granted to it", async (t) => {
    const engine = await open(t);
    const { leases } = engine;
    for (const when of ["before", "after"] as const) {
      const first = await leases.acquire(name, request("a"));
      const next = leases.acquire(name, request("b"));
      await queued(engine, 1);
      server.lose({ statement: server.leaseWrite, when });
      await assert.rejects(leases.release(name, "a"), { code: "unavailable", outcome: "unknown" });
      await leases.release(name, "a");
      const lease = await next;
      assert.ok(lease!.token > first!.token);
      assert.deepEqual(await holders(engine), ["b"]);
      await leases.release(name, "b");
    }
  });

  test("who goes when nobody knows whether the name was handed to it keeps it from nobody", async (t) => {
    const engine = await open(t);
    const { leases } = engine;
    await leases.acquire(name, request("a"));
    const controller = new AbortController();
    const goes = leases.acquire(name, request("goes"), { signal: controller.signal }).catch(() => undefined);
    await queued(engine, 1);
    server.lose({ statement: server.leaseWrite, when: "after" });
    await leases.release(name, "a").catch(() => controller.abort(new Error("gone")));
    await goes;
    const next = await leases.acquire(name, request("next", { waitMs: 5_000 }));
    assert.equal(next?.holder, "next");
  });

  test("an acquisition whose reply was lost has the name, and is answered with the same grant when it is repeated", async (t) => {
    const engine = await open(t);
    // With the first acquisition the engine begins to listen, and looks for leases that have ended.
    await engine.leases.acquire("other", request("a"));
    await engine.leases.release("other", "a");
    server.lose({ statement: "COMMIT", when: "after" });
    await assert.rejects(engine.leases.acquire(name, request("a")), { code: "unavailable", outcome: "unknown" });
    const [holder] = (await engine.leases.describe(name)).holders;
    const lease = await engine.leases.acquire(name, request("a"));
    assert.equal(lease!.token, holder!.token);
    assert.equal((await engine.leases.renew(lease!)).token, lease!.token);
  });

  test("who believes that it holds what another engine has granted since takes nothing away", async (t) => {
    const [one, other] = await together(t, open, 2);
    const former = await one!.leases.acquire(name, request("former", { ttlMs: 50 }));
    const lease = await other!.leases.acquire(name, request("next"));
    assert.ok(lease!.token > former!.token);
    await assert.rejects(one!.leases.renew(former!), { code: "lost" });
    await one!.leases.release(name, "former");
    assert.deepEqual(await holders(one!), ["next"]);
    assert.equal(await one!.leases.acquire(name, request("hasty", { waitMs: 0 })), undefined);
  });

  test("who renews or gives back takes nothing from who came to hold the name in another engine since", async (t) => {
    const [one, other] = await together(t, open, 2);
    const half = { capacity: 2, weight: 1 };
    // The row of a name that is used again and again is treated in another way than that of a new one.
    for (let round = 0; round < 4; round++) {
      const first = await one!.leases.acquire(name, request("a", half));
      await other!.leases.acquire(name, request("b", half));
      await one!.leases.renew(first!);
      assert.deepEqual(await holders(one!), ["a", "b"]);
      await other!.leases.renew((await other!.leases.acquire(name, request("b", half)))!);
      await one!.leases.release(name, "a");
      assert.deepEqual(await holders(one!), ["b"]);
      await other!.leases.release(name, "b");
      assert.deepEqual(await holders(one!), []);
      await other!.leases.acquire(name, request("c", half));
      assert.equal(await one!.leases.acquire(name, request("d", { ...half, weight: 2, waitMs: 0 })), undefined);
      await other!.leases.release(name, "c");
    }
    for (const [fresh, usedBefore] of [
      ["one", 0],
      ["two", 1],
      ["three", 4],
    ] as const) {
      for (let round = 0; round < usedBefore; round++) {
        await one!.leases.acquire(fresh, request("a", half));
        await one!.leases.release(fresh, "a");
      }
      await one!.leases.acquire(fresh, request("a", half));
      await other!.leases.acquire(fresh, request("b", half));
      await one!.leases.release(fresh, "a");
      const left = (await one!.leases.describe(fresh)).holders;
      assert.deepEqual(
        left.map(({ holder }) => holder),
        ["b"],
      );
    }
  });

  test("who believes that there is time left renews nothing that has ended by the server's clock", async (t) => {
    const world = systemWorld();
    // It stands still, as if what is sent reached the server at once, however long that takes.
    const clock = { now: () => world.clock.now(), monotonic: () => 0 };
    const engine = await open(t, { world: { ...world, clock } });
    const { leases } = engine;
    const former = await leases.acquire(name, request("former", { ttlMs: 50 }));
    while ((await holders(engine)).length > 0);
    await assert.rejects(leases.renew(former!), { code: "lost" });
    assert.deepEqual(await holders(engine), []);
  });

  test("what ended by itself is free for the engine that granted it, too", async (t) => {
    const { leases } = await open(t);
    const former = await leases.acquire(name, request("former", { ttlMs: 50 }));
    const lease = await leases.acquire(name, request("next"));
    assert.ok(lease!.token > former!.token);
    await assert.rejects(leases.renew(former!), { code: "lost" });
  });
}
