import { deepEqual, equal, ok } from "node:assert/strict";
import { type LeaseRequest, sharedCapacity } from "../../contracts/index.ts";
import type { LeaseCase } from "../conformance-case.ts";
import { refused, within } from "../expectations.ts";
import { acquired, declined, holders, request } from "./fixtures.ts";

/** Exactly so many bytes of UTF-8. */
function longest(bytes: number): string {
  return "ä".repeat(Math.floor(bytes / 2)) + "a".repeat(bytes % 2);
}

export const limitCases: readonly LeaseCase[] = [
  {
    name: "names and holders of exactly nameBytesMax are taken, longer and empty ones are invalid",
    rule: "`nameBytesMax`: in bytes of UTF-8; also for a holder.",
    async run({ engine }) {
      const { leases } = engine;
      const { nameBytesMax } = leases.capabilities;
      const most = longest(nameBytesMax);
      await acquired(engine, most, most);
      deepEqual(await holders(engine, most), [most]);
      for (const wrong of [`${most}a`, "a".repeat(nameBytesMax + 1), ""]) {
        await refused("invalid", "such a name", () => leases.acquire(wrong, request("a")));
        await refused("invalid", "such a holder", () => leases.acquire("name", request(wrong)));
      }
      await leases.release(most, most);
      await acquired(engine, most, "b");
    },
  },
  {
    name: "data of exactly dataBytesMax is kept, longer data is invalid",
    rule: "`dataBytesMax`: in bytes of UTF-8.",
    async run({ engine }) {
      const data = longest(engine.leases.capabilities.dataBytesMax);
      await acquired(engine, "name", "a", { data });
      equal((await engine.leases.describe("name")).holders[0]!.data, data);
      await refused("invalid", "longer data", () => engine.leases.acquire("other", request("a", { data: `${data}a` })));
    },
  },
  {
    name: "a request with figures that make no sense is invalid, and takes nothing",
    rule: "`invalid`: the argument is wrong.",
    async run({ engine }) {
      const { ttlMsMin, ttlMsMax } = engine.leases.capabilities;
      ok(ttlMsMin > 0 && ttlMsMax >= ttlMsMin);
      const wrong: readonly Partial<LeaseRequest>[] = [
        ...[0, -1, Number.NaN, ttlMsMin / 2, ttlMsMax + 1, Infinity].map((ttlMs) => ({ ttlMs })),
        ...[-1, Number.NaN, 2 ** 31, -Infinity, "5" as unknown as number].map((waitMs) => ({ waitMs })),
        ...[0, -1, 1.5, Number.NaN, sharedCapacity + 1].map((capacity) => ({ capacity })),
        ...[0, -1, 0.5, Number.NaN].map((weight) => ({ weight, capacity: sharedCapacity })),
        { weight: 2 },
        { weight: 3, capacity: 2 },
        { data: 5 as unknown as string },
      ];
      for (const each of wrong) {
        const asked = { ...request("a"), ...each };
        await refused("invalid", JSON.stringify(each), () => engine.leases.acquire("name", asked));
      }
      deepEqual(await holders(engine, "name"), []);
      const lease = await acquired(engine, "name", "a", { ttlMs: ttlMsMax });
      for (const ttlMs of [0, -1, Number.NaN, ttlMsMax + 1]) {
        await refused("invalid", `renewing for ${ttlMs} ms`, () => engine.leases.renew(lease, ttlMs));
      }
      await declined(engine, "name", "b");
    },
  },
  {
    name: "after close everything is refused with `closed`",
    rule: "`closed`: it was closed before.",
    async run({ engine }) {
      const { leases } = engine;
      const lease = await acquired(engine, "name", "a");
      const cut = Promise.allSettled(
        Array.from({ length: 20 }, (_, index) => leases.acquire("other", request(`${index}`))),
      );
      await engine.close();
      await engine.close();
      await within(engine.world, "what was under way is settled either way", cut);
      const error = await refused("closed", "acquire", () => leases.acquire("name", request("b")));
      equal(error.outcome, "not-applied");
      await refused("closed", "renew", () => leases.renew(lease));
      await refused("closed", "release", () => leases.release("name", "a"));
      await refused("closed", "describe", () => leases.describe("name"));
    },
  },
];
