/** Leases of engines in tables beyond the contract: names that pass from one process to the next, and within one, without being asked for again. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type Lease, type LeaseRequest, sharedCapacity } from "tenon/contracts";
import { fightForOneName } from "./lease-fights.ts";
import { checkGrants, type Grant } from "./lease-grants.ts";
import { type OpenEngine, opening, type TableEngine, type TableServer } from "./table-engine-cases.ts";
import { testPrefix } from "./test-prefix.ts";

const name = "name";

function request(holder: string, more: Partial<LeaseRequest> = {}): LeaseRequest {
  return { holder, ttlMs: 60_000, waitMs: 60_000, ...more };
}

async function together(t: TestContext, open: OpenEngine, count: number): Promise<readonly TableEngine[]> {
  const prefix = testPrefix();
  return Promise.all(Array.from({ length: count }, () => open(t, {}, prefix)));
}

/** Until so many stand in line. */
async function queued({ leases }: TableEngine, count: number): Promise<void> {
  while ((await leases.describe(name)).waiting < count) await new Promise((resolve) => setImmediate(resolve));
}

async function holders({ leases }: TableEngine): Promise<readonly string[]> {
  return (await leases.describe(name)).holders.map(({ holder }) => holder);
}

export function tableLeaseCases(server: TableServer): void {
  const open = opening(server);

  test("a name passes on in the order of the requests, within an engine and from one to the other", async (t) => {
    const [one, other] = await together(t, open, 2);
    const granted: Lease[] = [];
    const all: Promise<void>[] = [];
    await one!.leases.acquire(name, request("a"));
    const wanting = [one, one, other, one, other, other, one].map((engine) => engine!);
    for (const [index, engine] of wanting.entries()) {
      const take = async (lease: Lease | undefined) => {
        granted.push(lease!);
        await engine.leases.release(name, lease!.holder);
      };
      all.push(engine.leases.acquire(name, request(`${index}`)).then(take));
      await queued(one!, index + 1);
    }
    await one!.leases.release(name, "a");
    await Promise.all(all);
    assert.deepEqual(
      granted.map(({ holder }) => holder),
      wanting.map((_, index) => `${index}`),
    );
    const tokens = granted.map(({ token }) => token);
    assert.deepEqual(
      tokens,
      tokens.toSorted((a, b) => (a < b ? -1 : 1)),
    );
    assert.equal(new Set(tokens).size, tokens.length);
    assert.deepEqual(await one!.leases.describe(name), { name, holders: [], waiting: 0 });
  });

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

  test("who has gone before the name reaches it leaves it to the next one", async (t) => {
    const engine = await open(t);
    const { leases } = engine;
    for (const turns of [0, 1, 2, 4, 8, 16, 1_000]) {
      await leases.acquire(name, request("a"));
      const controller = new AbortController();
      const goes = leases.acquire(name, request("goes"), { signal: controller.signal }).catch(() => undefined);
      await queued(engine, 1);
      const next = leases.acquire(name, request("next"));
      await queued(engine, 2);
      const released = leases.release(name, "a");
      for (let turn = 0; turn < turns; turn++) await undefined;
      controller.abort(new Error("gone"));
      if ((await goes) !== undefined) await leases.release(name, "goes");
      await released;
      assert.equal((await next)?.holder, "next");
      assert.deepEqual(await holders(engine), ["next"]);
      await leases.release(name, "next");
    }
  });

  test("who has given up in the moment of the hand-over, and asks anew, has what it is told", async (t) => {
    const engine = await open(t);
    const { leases } = engine;
    for (const turns of [0, 2, 8, 1_000]) {
      await leases.acquire(name, request("a"));
      const controller = new AbortController();
      const first = leases.acquire(name, request("b"), { signal: controller.signal }).catch(() => undefined);
      await queued(engine, 1);
      const released = leases.release(name, "a");
      for (let turn = 0; turn < turns; turn++) await undefined;
      controller.abort(new Error("gone"));
      const again = await leases.acquire(name, request("b"));
      await Promise.all([first, released]);
      assert.equal((await leases.renew(again!)).token, again!.token);
      assert.deepEqual(await holders(engine), ["b"]);
      await leases.release(name, "b");
    }
  });

  test("an engine that closes while a name is handed over in it keeps it from others no longer than the lease", async (t) => {
    const [one, other] = await together(t, open, 2);
    await one!.leases.acquire(name, request("a"));
    const left = one!.leases.acquire(name, request("left", { ttlMs: 200 })).catch((error) => error);
    await queued(one!, 1);
    const next = other!.leases.acquire(name, request("next"));
    await queued(one!, 2);
    const released = one!.leases.release(name, "a").catch((error) => error);
    await one!.close();
    await Promise.all([left, released]);
    assert.equal((await next)?.holder, "next");
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
    for (const fresh of ["one", "two", "three"]) {
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

  test("what ended by itself is free for the engine that granted it, too", async (t) => {
    const { leases } = await open(t);
    const former = await leases.acquire(name, request("former", { ttlMs: 50 }));
    const lease = await leases.acquire(name, request("next"));
    assert.ok(lease!.token > former!.token);
    await assert.rejects(leases.renew(former!), { code: "lost" });
  });

  test("all who share a name are granted it together, each under a token of its own", async (t) => {
    const engine = await open(t);
    const { leases } = engine;
    const share = { capacity: sharedCapacity };
    for (let round = 0; round < 2; round++) {
      await leases.acquire(name, request("writer", { ...share, weight: sharedCapacity }));
      const readers = Array.from({ length: 10 }, (_, index) => leases.acquire(name, request(`${index}`, share)));
      await queued(engine, readers.length);
      await leases.release(name, "writer");
      const tokens = (await Promise.all(readers)).map((lease) => lease!.token);
      assert.equal(new Set(tokens).size, readers.length);
      const described = (await leases.describe(name)).holders.map(({ token }) => token);
      assert.deepEqual(
        described,
        tokens.toSorted((a, b) => (a < b ? -1 : 1)),
      );
      for (const index of readers.keys()) await leases.release(name, `${index}`);
    }
  });
}
