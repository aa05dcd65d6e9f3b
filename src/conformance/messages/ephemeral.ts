import { deepEqual, equal } from "node:assert/strict";
import type { MessageCase, MessagesEngine } from "../conformance-case.ts";
import { refused } from "../expectations.ts";
import { append, declared, fetchedTexts, join, joinDefaults, needsCrash, numbered, soleLane } from "./fixtures.ts";

async function groupsOf(engine: MessagesEngine): Promise<readonly string[]> {
  return (await engine.messages.describe("orders")).groups.map((each) => each.group);
}

export const ephemeralCases: readonly MessageCase[] = [
  {
    name: "an ephemeral group starts now and is removed when its member leaves",
    rule: "The group is made by this call, starts now, and is removed with this member.",
    async run({ engine }) {
      await declared(engine);
      await append(engine, "orders", "before");
      const { lane, member } = await soleLane(engine, "orders", "mine", { ephemeral: true });
      await append(engine, "orders", "after");
      deepEqual(await fetchedTexts(engine.world, lane, 1), ["after"]);
      deepEqual([...(await groupsOf(engine))].sort(), ["group", "mine"]);
      await member.leave();
      deepEqual(await groupsOf(engine), ["group"]);
      const again = await soleLane(engine, "orders", "mine", { ephemeral: true });
      await append(engine, "orders", "last");
      deepEqual(await fetchedTexts(engine.world, again.lane, 1), ["last"]);
    },
  },
  {
    name: "each ephemeral group receives every message",
    rule: "Broadcast: every member an ephemeral group.",
    async run({ engine }) {
      await declared(engine, { groups: [] });
      const members = [];
      for (const name of ["a", "b", "c"]) members.push(await soleLane(engine, "orders", name, { ephemeral: true }));
      await append(engine, "orders", ...numbered(3));
      for (const { lane } of members) deepEqual(await fetchedTexts(engine.world, lane, 3), numbered(3));
      for (const { member } of members) await member.leave();
      deepEqual(await groupsOf(engine), []);
    },
  },
  {
    name: "a group that is there cannot be ephemeral, and an ephemeral one has one member",
    rule: "The group is made by this call (`conflict` when it is there).",
    async run({ engine }) {
      await declared(engine);
      await refused("conflict", "an ephemeral group of a name that is taken", () =>
        join(engine, "orders", "group", { ephemeral: true }),
      );
      const member = await join(engine, "orders", "mine", { ephemeral: true });
      await refused("conflict", "the same again", () => join(engine, "orders", "mine", { ephemeral: true }));
      await refused("conflict", "joining another's ephemeral group", () => join(engine, "orders", "mine"));
      await refused("conflict", "declaring an ephemeral group", () =>
        engine.messages.declare("orders", { partitions: 1, groups: ["mine"] }),
      );
      await refused("invalid", "an ephemeral group from the start", () =>
        engine.messages.join("orders", "other", { ...joinDefaults, ephemeral: true, from: "earliest" }),
      );
      deepEqual([...(await groupsOf(engine))].sort(), ["group", "mine"]);
      await member.leave();
      await join(engine, "orders", "mine");
      deepEqual([...(await groupsOf(engine))].sort(), ["group", "mine"]);
    },
  },
  {
    name: "an ephemeral group that is removed ends its member",
    rule: "Deletes a group with its progress; its memberships end.",
    async run({ engine }) {
      await declared(engine, { groups: [] });
      const { lane, member } = await soleLane(engine, "orders", "mine", { ephemeral: true });
      const waiting = refused("not-found", "a waiting nextLane", () => member.nextLane());
      await engine.messages.removeGroup("orders", "mine");
      await waiting;
      await refused("lost", "fetch", () => lane.fetch(1));
      await member.leave();
      deepEqual(await groupsOf(engine), []);
    },
  },
  {
    name: "an ephemeral group is gone after the crash of its member's process",
    rule: "An ephemeral group is removed with its member, also when its session ends.",
    needs: needsCrash,
    // An engine outside the crashed process hears of it when the session ends.
    takesMs: 3_000,
    async run(subject) {
      await declared(subject.engine);
      const options = { ephemeral: true, sessionMs: 1_000 };
      await join(subject.engine, "orders", "mine", options);
      await append(subject.engine, "orders", "before");
      await subject.crash!();
      const { engine } = subject;
      const { clock, timers } = engine.world;
      const deadline = clock.monotonic() + 3_000;
      while ((await groupsOf(engine)).includes("mine") && clock.monotonic() < deadline) await timers.sleep(20);
      deepEqual(await groupsOf(engine), ["group"]);
      const { lane } = await soleLane(engine, "orders", "mine", options);
      await append(engine, "orders", "after");
      deepEqual(await fetchedTexts(engine.world, lane, 1), ["after"]);
    },
  },
  {
    name: "members of one group bring the same agreement, and the next ones may bring another",
    rule: "Members of one group at one time must bring the same (`conflict`).",
    async run({ engine }) {
      await declared(engine);
      const first = await join(engine, "orders", "group", { agreement: "tag = red" });
      await refused("conflict", "another agreement", () =>
        join(engine, "orders", "group", { agreement: "tag = blue" }),
      );
      await refused("conflict", "none", () => join(engine, "orders", "group"));
      const second = await join(engine, "orders", "group", { agreement: "tag = red" });
      await first.leave();
      await refused("conflict", "another one while a member is there", () =>
        join(engine, "orders", "group", { agreement: "tag = blue" }),
      );
      await second.leave();
      const third = await join(engine, "orders", "group", { agreement: "tag = blue" });
      equal((await engine.messages.describe("orders")).groups[0]!.members, 1);
      await third.leave();
      await join(engine, "orders", "group");
    },
  },
  {
    name: "an agreement of more than 1,024 bytes is invalid",
    rule: "At most 1,024 bytes.",
    async run({ engine }) {
      await declared(engine);
      await refused("invalid", "1,026 bytes", () => join(engine, "orders", "group", { agreement: "é".repeat(513) }));
      await join(engine, "orders", "group", { agreement: "é".repeat(512) });
    },
  },
];
