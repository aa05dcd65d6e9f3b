import { deepEqual, equal, ok } from "node:assert/strict";
import type { LeaseCase } from "../conformance-case.ts";
import { refused, within } from "../expectations.ts";
import { acquired, declined, holders, longMs, needsCrash, queued, slackMs, waiting } from "./fixtures.ts";

export const crashCases: readonly LeaseCase[] = [
  {
    name: "a lease is still held after a crash, and its holder can go on under the same token",
    rule: "Durable, as `capabilities.survives` says, when it resolves with a lease.",
    needs: needsCrash,
    async run(subject) {
      const lease = await acquired(subject.engine, "name", "a", { data: "at 10.0.0.1" });
      const before = await subject.engine.leases.describe("name");
      await subject.crash!();
      const { engine } = subject;
      deepEqual(await engine.leases.describe("name"), before);
      await declined(engine, "name", "b");
      equal((await engine.leases.renew(lease)).token, lease.token);
      equal((await acquired(engine, "name", "a")).token, lease.token);
      await engine.leases.release("name", "a");
      await acquired(engine, "name", "b");
    },
  },
  {
    name: "a lease whose holder died with the engine ends with its time to live",
    rule: "A holder owns a weight of a name until it releases it or its time to live ends.",
    takesMs: 500,
    needs: needsCrash,
    async run(subject) {
      const { since } = await acquired(subject.engine, "name", "a", { ttlMs: 500 });
      await subject.crash!();
      const { engine } = subject;
      await within(engine.world, "b gets it", waiting(engine, "name", "b"));
      // Monotonic time may begin anew with the process.
      ok(engine.world.clock.now() - since.wall >= 500 - slackMs, "not before its end");
      deepEqual(await holders(engine, "name"), ["b"]);
    },
  },
  {
    name: "a release that was answered survives a crash",
    rule: "Durable when it resolves.",
    needs: needsCrash,
    async run(subject) {
      const lease = await acquired(subject.engine, "name", "a");
      await subject.engine.leases.release("name", "a");
      await subject.crash!();
      deepEqual(await holders(subject.engine, "name"), []);
      await refused("lost", "renewing what was released", () => subject.engine.leases.renew(lease));
      await acquired(subject.engine, "name", "b");
    },
  },
  {
    name: "a renewal that was answered survives a crash",
    rule: "Durable when it resolves.",
    needs: needsCrash,
    async run(subject) {
      const lease = await acquired(subject.engine, "name", "a", { ttlMs: longMs });
      await subject.engine.leases.renew(lease, longMs * 2);
      await subject.crash!();
      const { expiresAt } = (await subject.engine.leases.describe("name")).holders[0]!;
      ok(expiresAt >= lease.since.wall + longMs * 2 - slackMs);
    },
  },
  {
    name: "who waited in a process that died keeps nobody from the name",
    rule: "One that stops waiting (its process vanished) leaves the queue, and those behind it move up.",
    takesMs: 1_000,
    needs: needsCrash,
    async run(subject) {
      await acquired(subject.engine, "name", "a");
      subject.engine.leases.acquire("name", { holder: "b", ttlMs: 500, waitMs: Infinity }).catch(() => undefined);
      await queued(subject.engine, "name", 1);
      await subject.crash!();
      const { engine } = subject;
      const next = waiting(engine, "name", "c");
      await engine.leases.release("name", "a");
      await within(engine.world, "c gets it", next);
    },
  },
];
