/** Names that pass from one process to the next, and within one without being asked for again: for engines that hand over. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type Lease, type LeaseEngine, type LeaseRequest, sharedCapacity } from "tenon/contracts";

export interface LeasingProcess {
  readonly leases: LeaseEngine;
  close(): Promise<void>;
}

/** Opens so many engines that share their names, for as long as the test lasts. */
export type OpenTogether = (t: TestContext, count: number) => Promise<readonly LeasingProcess[]>;

export const name = "name";

export function request(holder: string, more: Partial<LeaseRequest> = {}): LeaseRequest {
  return { holder, ttlMs: 60_000, waitMs: 60_000, ...more };
}

/** Until so many stand in line. */
export async function queued({ leases }: { readonly leases: LeaseEngine }, count: number): Promise<void> {
  while ((await leases.describe(name)).waiting < count) await new Promise((resolve) => setImmediate(resolve));
}

export async function holders({ leases }: { readonly leases: LeaseEngine }): Promise<readonly string[]> {
  return (await leases.describe(name)).holders.map(({ holder }) => holder);
}

export function leaseHandOverCases(together: OpenTogether): void {
  test("a name passes on in the order of the requests, within an engine and from one to the other", async (t) => {
    const [one, other] = await together(t, 2);
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

  test("who has gone before the name reaches it leaves it to the next one", async (t) => {
    const [engine] = await together(t, 1);
    const { leases } = engine!;
    for (const turns of [0, 1, 2, 4, 8, 16, 1_000]) {
      await leases.acquire(name, request("a"));
      const controller = new AbortController();
      const goes = leases.acquire(name, request("goes"), { signal: controller.signal }).catch(() => undefined);
      await queued(engine!, 1);
      const next = leases.acquire(name, request("next"));
      await queued(engine!, 2);
      const released = leases.release(name, "a");
      for (let turn = 0; turn < turns; turn++) await undefined;
      controller.abort(new Error("gone"));
      if ((await goes) !== undefined) await leases.release(name, "goes");
      await released;
      assert.equal((await next)?.holder, "next");
      assert.deepEqual(await holders(engine!), ["next"]);
      await leases.release(name, "next");
    }
  });

  test("who has given up in the moment of the hand-over, and asks anew, has what it is told", async (t) => {
    const [engine] = await together(t, 1);
    const { leases } = engine!;
    for (const turns of [0, 2, 8, 1_000]) {
      await leases.acquire(name, request("a"));
      const controller = new AbortController();
      const first = leases.acquire(name, request("b"), { signal: controller.signal }).catch(() => undefined);
      await queued(engine!, 1);
      const released = leases.release(name, "a");
      for (let turn = 0; turn < turns; turn++) await undefined;
      controller.abort(new Error("gone"));
      const again = await leases.acquire(name, request("b"));
      await Promise.all([first, released]);
      assert.equal((await leases.renew(again!)).token, again!.token);
      assert.deepEqual(await holders(engine!), ["b"]);
      await leases.release(name, "b");
    }
  });

  test("an engine that closes while a name is handed over in it keeps it from nobody", async (t) => {
    for (const turns of [0, 1, 2, 4, 8, 16, 64]) {
      const [one, other] = await together(t, 2);
      await one!.leases.acquire(name, request("a"));
      const left = one!.leases.acquire(name, request("left"));
      const ended = assert.rejects(left, { code: "closed" });
      await queued(one!, 1);
      const next = other!.leases.acquire(name, request("next", { waitMs: 30_000 }));
      await queued(one!, 2);
      const released = one!.leases.release(name, "a");
      for (let turn = 0; turn < turns; turn++) await undefined;
      await one!.close();
      await Promise.all([ended, released]);
      assert.equal((await next)?.holder, "next", `closed after ${turns} turns`);
    }
  });

  test("an engine that closes while it asks for a name keeps it from nobody", async (t) => {
    for (const turns of [0, 1, 2, 4, 8, 16, 64]) {
      const [one, other] = await together(t, 2);
      const asks = one!.leases.acquire(name, request("asks")).catch((error: unknown) => error);
      for (let turn = 0; turn < turns; turn++) await undefined;
      await one!.close();
      const lease = (await asks) as Lease;
      if (lease.holder !== undefined) await other!.leases.release(name, lease.holder);
      const next = await other!.leases.acquire(name, request("next", { waitMs: 30_000 }));
      assert.equal(next?.holder, "next", `closed after ${turns} turns`);
    }
  });

  test("an engine that closes leaves no place in line", async (t) => {
    const [one, other] = await together(t, 2);
    await other!.leases.acquire(name, request("a"));
    const ended = assert.rejects(one!.leases.acquire(name, request("left")), { code: "closed" });
    await queued(other!, 1);
    await one!.close();
    await ended;
    assert.equal((await other!.leases.describe(name)).waiting, 0);
  });

  test("all who share a name are granted it together, each under a token of its own", async (t) => {
    const [engine] = await together(t, 1);
    const { leases } = engine!;
    const share = { capacity: sharedCapacity };
    for (let round = 0; round < 2; round++) {
      await leases.acquire(name, request("writer", { ...share, weight: sharedCapacity }));
      const readers = Array.from({ length: 10 }, (_, index) => leases.acquire(name, request(`${index}`, share)));
      await queued(engine!, readers.length);
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
