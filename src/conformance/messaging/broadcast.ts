import { deepEqual, equal, ok } from "node:assert/strict";
import type { GivenUpMessage } from "../../messaging/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { eventually, Observations, refused, within } from "../expectations.ts";
import { needsCrash } from "../messages/fixtures.ts";
import { orders, quick } from "./fixtures.ts";

export const broadcastCases: readonly MessageCase[] = [
  {
    name: "every member of a broadcast gets every message that is published from then on",
    rule: "Broadcast: every member an ephemeral group that starts now.",
    async run({ engine }) {
      const target = orders(engine, { partitions: 2, groups: [] });
      await target.publish("before");
      const seen = [new Observations<string>(engine.world), new Observations<string>(engine.world)];
      const members = [];
      for (const each of seen) members.push(await target.broadcast((value) => each.add(value), quick));
      for (const value of ["a", "b", "c"]) await target.publish(value);
      for (const each of seen) deepEqual([...(await each.atLeast(3))].sort(), ["a", "b", "c"]);
      ok(members[0]!.group !== members[1]!.group);
      for (const member of members) await member.close();
      deepEqual((await target.describe()).groups, [], "no group stays behind");
      deepEqual(await engine.messages.topics(), ["orders"], "nor a topic for retries or dead letters");
    },
  },
  {
    name: "a member of a broadcast retries, and what it gives up is reported and forgotten",
    rule: "What a member gives up is logged and given to `onGivenUp`; nothing stays behind.",
    async run({ engine }) {
      const target = orders(engine, { groups: [] });
      const attempts = new Observations<string>(engine.world);
      const givenUp = new Observations<GivenUpMessage<string>>(engine.world);
      const member = await target.broadcast(
        (value, { attempt }) => {
          attempts.add(`${value} ${attempt}`);
          if (value === "bad" || attempt === 1) throw new RangeError("bad luck");
        },
        { retry: { attemptsMax: 2, delayMs: 2, delayMsMax: 5 }, onGivenUp: (message) => givenUp.add(message) },
      );
      await target.publish("bad", { key: "k", headers: { h: "v" }, tag: "t" });
      await target.publish("good", { key: "k" });
      await target.publish("keyless");
      const [given] = await givenUp.atLeast(1);
      const { key, value, headers, tag, reason, failures } = given!;
      deepEqual([key, value, headers, tag, failures], ["k", "bad", { h: "v" }, "t", 3]);
      equal(reason, "RangeError: bad luck");
      await attempts.atLeast(7);
      const expected = ["bad 1", "bad 2", "bad 3", "good 1", "good 2", "keyless 1", "keyless 2"];
      deepEqual([...attempts.items].sort(), expected);
      await eventually(engine.world, "everything is settled", async () => {
        const [group] = (await target.describe()).groups;
        return group!.lanes.every(({ lag }) => lag === 0);
      });
      await member.close();
      equal(givenUp.items.length, 1);
      deepEqual(await engine.messages.topics(), ["orders"]);
    },
  },
  {
    name: "closing a topic ends its broadcasts, and a group that is removed ends its member",
    rule: "A member of a broadcast is a group of its own, which ends with it.",
    async run({ engine }) {
      const target = orders(engine, { groups: [] });
      const removed = await target.broadcast(() => undefined);
      const closed = await target.broadcast(() => undefined);
      await engine.messages.removeGroup("orders", removed.group);
      await refused("not-found", "the removed one", () => within(engine.world, "it ends", removed.closed));
      await target.close();
      await within(engine.world, "the other one ends", closed.closed);
      deepEqual((await engine.messages.describe("orders")).groups, []);
    },
  },
  {
    name: "a broadcast's member that crashed holds nothing back",
    rule: "An ephemeral group dies with its session.",
    needs: needsCrash,
    takesMs: 3_000,
    async run(subject) {
      const target = orders(subject.engine, { groups: [] });
      await target.broadcast(() => new Promise<void>(() => undefined), { sessionMs: 1_000 });
      await target.publish("m");
      await subject.crash!();
      const { engine } = subject;
      await eventually(engine.world, "its group is gone", async () => {
        return (await engine.messages.describe("orders")).groups.length === 0;
      });
      const seen = new Observations<string>(engine.world);
      const member = await orders(engine, { groups: [] }).broadcast((value) => seen.add(value), quick);
      await orders(engine, { groups: [] }).publish("later");
      deepEqual(await seen.atLeast(1), ["later"]);
      await member.close();
    },
  },
];
