import { deepEqual, equal, ok } from "node:assert/strict";
import type { KeyValueCase } from "../conformance-case.ts";
import { refused, textOf, within } from "../expectations.ts";
import { add, committed, needsAll, needsSeveralKeys, needsWatch, put, shown, Watching } from "./fixtures.ts";

export const watchCases: readonly KeyValueCase[] = [
  {
    name: "a watch gives the current state, then `synced`, then changes with their versions",
    rule: "First every present entry as a `put`, then `synced`, then changes in the order of their versions.",
    needs: needsWatch,
    async run({ engine }) {
      await committed(engine, put("a:1", "one"));
      await committed(engine, put("a:2", "two"));
      await committed(engine, put("b:1", "other"));
      await committed(engine, put("a:gone", "x"));
      await committed(engine, { type: "delete", key: "a:gone" });
      const watching = new Watching(engine, "a:");
      deepEqual(Object.fromEntries(await watching.state()), { "a:1": "one", "a:2": "two" });
      const { version } = await committed(engine, put("a:3", "three"));
      const event = await watching.next();
      ok(event.type === "put");
      deepEqual([event.entry.key, textOf(event.entry.value), event.entry.version], ["a:3", "three", version]);
      await committed(engine, put("b:2", "other"));
      await committed(engine, add("a:n", 4));
      equal(shown(await watching.next()), "a:n=4");
      const deleted = await committed(engine, { type: "delete", key: "a:1" });
      deepEqual(await watching.next(), { type: "delete", key: "a:1", version: deleted.version });
      await watching.end();
    },
  },
  {
    name: "a watch of nothing is synced at once",
    rule: "First every present entry, then `synced`.",
    needs: needsWatch,
    async run({ engine }) {
      const watching = new Watching(engine, "nothing");
      equal((await watching.state()).size, 0);
      await committed(engine, put("nothing yet", "1"));
      equal(shown(await watching.next()), "nothing yet=1");
      await watching.end();
    },
  },
  {
    name: "a slow reader may miss states in between, never the last one and never a delete",
    rule: "Changes of one key may be merged, but the last state and a delete that ends it are never left out.",
    needs: needsWatch,
    async run({ engine }) {
      await committed(engine, put("k:ends", "0"));
      const watching = new Watching(engine, "k:");
      await watching.state();
      for (let round = 1; round <= 200; round++) {
        await Promise.all([
          committed(engine, put("k:last", String(round))),
          committed(engine, put("k:ends", String(round))),
          committed(engine, put("k:comes and goes", String(round))),
        ]);
      }
      await committed(engine, { type: "delete", key: "k:ends" });
      await committed(engine, { type: "delete", key: "k:comes and goes" });
      await committed(engine, put("k:comes and goes", "back"));
      await committed(engine, put("k:end of test", "1"));
      const last = new Map<string, string>();
      let version = 0n;
      let events = 0;
      while (!last.has("k:end of test")) {
        const event = await watching.next();
        ok(event.type !== "synced", "`synced` comes once");
        const seen = event.type === "put" ? event.entry.version : event.version;
        ok(seen >= version, "changes come in the order of their versions");
        version = seen;
        last.set(event.type === "put" ? event.entry.key : event.key, shown(event));
        events++;
      }
      deepEqual(Object.fromEntries(last), {
        "k:last": "k:last=200",
        "k:ends": "k:ends deleted",
        "k:comes and goes": "k:comes and goes=back",
        "k:end of test": "k:end of test=1",
      });
      ok(events <= 604, "no more events than changes");
      await watching.end();
    },
  },
  {
    name: "watches that begin while keys change end up with the state that a scan sees",
    rule: "Watch gives the current state, `synced`, then changes; it never loses the last state or a delete.",
    needs: needsWatch,
    async run({ engine }) {
      const { random, timers } = engine.world;
      const writers = Array.from({ length: 5 }, async () => {
        for (let round = 0; round < 60; round++) {
          const key = `k:${Math.floor(random.float() * 20)}`;
          await committed(engine, random.float() < 0.4 ? { type: "delete", key } : put(key, String(random.float())));
          if (random.float() < 0.2) await timers.sleep(1);
        }
      });
      const watchers = Array.from({ length: 8 }, async () => {
        await timers.sleep(Math.floor(random.float() * 20));
        const watching = new Watching(engine, "k:");
        const state = new Map(await watching.state());
        while (!state.has("k:end")) {
          const event = await watching.next();
          if (event.type === "put") state.set(event.entry.key, textOf(event.entry.value));
          else if (event.type === "delete") state.delete(event.key);
        }
        await watching.end();
        return state;
      });
      await Promise.all(writers);
      await committed(engine, put("k:end", "1"));
      const expected = new Map((await engine.keyValue.scan("k:")).map((each) => [each.key, textOf(each.value)]));
      for (const state of await Promise.all(watchers))
        deepEqual(new Map([...state].sort()), new Map([...expected].sort()));
    },
  },
  {
    name: "what the state has shown does not come again as a change",
    rule: "First every present entry as a `put`, then `synced`, then changes.",
    needs: needsWatch,
    async run({ engine }) {
      const other = new Watching(engine, "k");
      await other.state();
      const underWay = Promise.all([1, 2, 3].map((number) => committed(engine, put(`k${number}`, "1"))));
      const watching = new Watching(engine, "k");
      const state = await watching.state();
      await underWay;
      await committed(engine, put("k:end", "1"));
      const changed: string[] = [];
      while (!changed.includes("k:end=1")) changed.push(shown(await watching.next()));
      deepEqual([...state].map(([key, text]) => `${key}=${text}`).concat(changed), ["k1=1", "k2=1", "k3=1", "k:end=1"]);
      await watching.end();
      await other.end();
    },
  },
  {
    name: "every key of a commit is seen",
    rule: "Changes in the order of their versions; the last state is never left out.",
    needs: needsAll(needsWatch, needsSeveralKeys),
    async run({ engine }) {
      await committed(engine, put("k:gone", "1"));
      const watching = new Watching(engine, "k:");
      await watching.state();
      await committed(engine, put("k:a", "1"), { type: "delete", key: "k:gone" }, put("elsewhere", "1"), add("k:n", 2));
      const seen = [shown(await watching.next()), shown(await watching.next()), shown(await watching.next())];
      deepEqual(seen.sort(), ["k:a=1", "k:gone deleted", "k:n=2"]);
      await watching.end();
    },
  },
  {
    name: "a declined commit is not seen",
    rule: "All of the changes or none.",
    needs: needsWatch,
    async run({ engine }) {
      await committed(engine, put("k", "1"));
      const watching = new Watching(engine, "k");
      await watching.state();
      await engine.keyValue.commit([put("k", "2", { condition: { ifAbsent: true } })]);
      await committed(engine, put("k", "3"));
      equal(shown(await watching.next()), "k=3");
      await watching.end();
    },
  },
  {
    name: "expiry is seen as a delete",
    rule: "Expiry is seen as `delete`.",
    needs: needsWatch,
    async run({ engine }) {
      const { clock } = engine.world;
      const before = clock.now();
      const watching = new Watching(engine, "k");
      await watching.state();
      const { version } = await committed(engine, put("k", "1", { ttlMs: 100 }));
      // However long the commit took, the put may have been merged away, but not the delete.
      let event = await watching.next();
      if (event.type === "put") event = await watching.next();
      ok(event.type === "delete" && event.key === "k" && event.version > version);
      ok(clock.now() >= before + 100);
      await watching.end();
    },
  },
  {
    name: "several watches see the same, each in its own time",
    rule: "A slow reader costs memory per changed key, not per change.",
    needs: needsWatch,
    async run({ engine }) {
      const watches = [new Watching(engine, "k"), new Watching(engine, "k"), new Watching(engine, "")];
      for (const watching of watches) await watching.state();
      await committed(engine, put("k", "1"));
      for (const watching of watches) equal(shown(await watching.next()), "k=1");
      await watches[0]!.end();
      await committed(engine, put("k", "2"));
      for (const watching of watches.slice(1)) {
        equal(shown(await watching.next()), "k=2");
        await watching.end();
      }
    },
  },
  {
    name: "aborting ends a watch that waits, and one that has not begun",
    rule: "Ends when the signal aborts.",
    needs: needsWatch,
    async run({ engine }) {
      const controller = new AbortController();
      const iterator = engine.keyValue.watch("k", { signal: controller.signal })[Symbol.asyncIterator]();
      equal((await within(engine.world, "synced", iterator.next())).value?.type, "synced");
      const waiting = iterator.next();
      controller.abort();
      equal((await within(engine.world, "the end", waiting)).done, true);
      equal((await iterator.next()).done, true);
      const late = engine.keyValue.watch("k", { signal: AbortSignal.abort() })[Symbol.asyncIterator]();
      equal((await within(engine.world, "the end", late.next())).done, true);
    },
  },
  {
    name: "a reader may stop by leaving the loop",
    rule: "A watch is an async iterable.",
    needs: needsWatch,
    async run({ engine }) {
      await committed(engine, put("k", "1"));
      const seen: string[] = [];
      for await (const event of engine.keyValue.watch("k")) {
        seen.push(shown(event));
        if (event.type === "synced") break;
      }
      deepEqual(seen, ["k=1", "synced"]);
      await committed(engine, put("k", "2"));
    },
  },
  {
    name: "a watch throws `closed` when the engine closes",
    rule: "Throws `closed` when the engine closes.",
    needs: needsWatch,
    async run({ engine }) {
      const iterator = engine.keyValue.watch("k")[Symbol.asyncIterator]();
      await within(engine.world, "synced", iterator.next());
      const waiting = refused("closed", "the waiting watch", () => iterator.next());
      waiting.catch(() => undefined);
      await engine.close();
      await within(engine.world, "the end", waiting);
      await refused("closed", "a new watch", () => engine.keyValue.watch("k")[Symbol.asyncIterator]().next());
    },
  },
  {
    name: "an engine without watch refuses it",
    rule: "What a capability does not declare is refused with `unsupported`.",
    needs: ({ engine }) => !engine.keyValue.capabilities.watch || "the engine declares watch",
    async run({ engine }) {
      await refused("unsupported", "a watch", () => engine.keyValue.watch("k")[Symbol.asyncIterator]().next());
    },
  },
];
