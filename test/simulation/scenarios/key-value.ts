/** Shops that put, add, delete, read and watch key-values of one engine, while processes die, connections break and clocks step. */
import type { Condition, KeyValueChange, KeyValueEngine } from "../../../src/contracts/key-value.ts";
import {
  checkKeyValues,
  checkWatchAtRest,
  checkWatchedValues,
  type KeyValueHistory,
  keyValueHistory,
  type ProcessContext,
  readWatch,
  recordKeyValues,
  type SimulatedSystem,
  WatchRecord,
} from "../../../src/simulation/index.ts";
import type { Random, World } from "../../../src/world/world.ts";
import type { ScenarioDefinition } from "../scenario.ts";
import { connected, drawRemote, isOutage, type RemoteSettings, serveEngine, unlessOutage } from "../served-engine.ts";

const shops = ["shop-1", "shop-2", "shop-3"];
/** Keys of different groups are never in one commit, so that each group is a history of its own. */
const groups = ["a/", "b/"];

export const scenario: ScenarioDefinition = {
  name: "key-value",
  options: { livenessMs: 120_000, diskLatency: { minMs: 0.05, maxMs: 40 } },
  run,
};

async function run(system: SimulatedSystem): Promise<void> {
  const served = serveEngine(system);
  const settings = drawRemote(system);
  const pace = { meanMs: system.random.pick([500, 1_000, 2_000]), callers: system.random.integer(1, 3) };
  const history = keyValueHistory(() => system.nowMs);
  /** The latest watch of each shop and prefix. */
  const watches = new Map<string, WatchRecord>();
  const all: WatchRecord[] = [];
  let resting = false;

  const main = async ({ name, incarnation, world }: ProcessContext): Promise<void> => {
    const engine = await connected(world, settings);
    const client = `${name}#${incarnation}`;
    const keyValue = recordKeyValues(engine.keyValue, history, client);
    for (const prefix of groups) void watch(engine.keyValue, world, client, prefix);
    const caller = async (number: number): Promise<void> => {
      const shop = new Shop(keyValue, world.random, `${client}.${number}`);
      while (!resting) {
        await world.timers.sleep(world.random.float() * 2 * pace.meanMs);
        // Who was not answered takes a break, as everybody does: else an outage would leave hundreds of commits of which nobody knows.
        if (!(await unlessOutage(() => shop.work()))) await world.timers.sleep(world.random.float() * 10_000);
      }
    };
    await Promise.all(Array.from({ length: pace.callers }, (_, number) => caller(number)));
  };

  const watch = async (keyValue: KeyValueEngine, world: World, client: string, prefix: string): Promise<void> => {
    for (;;) {
      const record = new WatchRecord(client, prefix, () => system.nowMs, served.clock);
      all.push(record);
      watches.set(`${client.split("#")[0]} ${prefix}`, record);
      try {
        await readWatch(keyValue, record);
      } catch (error) {
        if (!isOutage(error)) {
          broken.push(error);
          return;
        }
      }
      await world.timers.sleep(100);
    }
  };
  const broken: unknown[] = [];
  system.always("a watch tells what it has to", () => {
    if (broken.length > 0) throw broken[0];
  });

  const handles = shops.map((shop) => system.process(shop, main));
  await system.healed();
  resting = true;
  await Promise.all(handles.map((handle) => system.until(`${handle.name} rests`, () => handle.state === "ended")));
  // Whoever has to notice that its connection broke has noticed, and what has a time to live has ended.
  await system.sleep(20_000);
  await atRest(system, settings, history, watches);
  checkKeyValues(history.operations, { clock: served.clock, expiryLatenessMs: 2_000 });
  for (const record of all) checkWatchedValues(record, history.operations);
}

/** Every watcher knows what is stored. A time to live may end just now, so it is given some more looks. */
async function atRest(
  system: SimulatedSystem,
  settings: RemoteSettings,
  history: KeyValueHistory,
  watches: ReadonlyMap<string, WatchRecord>,
): Promise<void> {
  const reader = system.process("reader", async ({ world }: ProcessContext) => {
    const engine = await connected(world, settings);
    const keyValue = recordKeyValues(engine.keyValue, history, "reader");
    for (let looks = 1; ; looks++) {
      const stored = await Promise.all(groups.map((prefix) => keyValue.scan(prefix)));
      await world.timers.sleep(1_000);
      try {
        for (const watch of watches.values()) checkWatchAtRest(watch, stored[groups.indexOf(watch.prefix)]!);
        return;
      } catch (error) {
        if (looks === 5) throw error;
      }
    }
  });
  await reader.ended;
}

/** One caller of a shop: it does one thing after the other, and remembers what it read. */
class Shop {
  readonly #keyValue: KeyValueEngine;
  readonly #random: Random;
  readonly #name: string;
  readonly #versions = new Map<string, bigint>();
  #writes = 0;

  constructor(keyValue: KeyValueEngine, random: Random, name: string) {
    this.#keyValue = keyValue;
    this.#random = random;
    this.#name = name;
  }

  async work(): Promise<void> {
    const group = this.#pick(groups);
    const drawn = this.#random.float();
    if (drawn < 0.3) await this.#read(group);
    else if (drawn < 0.36) await this.#keyValue.scan(group, { limit: this.#pick([2, 1_000]) });
    else await this.#write(group);
  }

  async #read(group: string): Promise<void> {
    const keys = this.#several(["x", "y", "stock", "sold", "hold"]).map((key) => group + key);
    for (const entry of await this.#keyValue.get(keys)) {
      if (entry !== undefined) this.#versions.set(entry.key, entry.version);
    }
  }

  async #write(group: string): Promise<void> {
    const result = await this.#keyValue.commit(this.#changes(group));
    if (!result.committed && result.current !== undefined) {
      this.#versions.set(result.current.key, result.current.version);
    }
  }

  #changes(group: string): readonly KeyValueChange[] {
    const drawn = this.#random.float();
    // A reservation: the record of the request is new, the stock suffices, and both happen or none.
    if (drawn < 0.3) {
      const key = `${group}order/${this.#next()}`;
      return [
        { type: "put", key, value: this.#value(), condition: { ifAbsent: true } },
        { type: "add", key: `${group}stock`, by: -1, min: 0 },
        { type: "add", key: `${group}sold`, by: 1 },
      ];
    }
    if (drawn < 0.4) return [{ type: "add", key: `${group}stock`, by: this.#pick([1, 5]), max: 20 }];
    if (drawn < 0.55)
      return [
        { type: "put", key: `${group}hold`, value: this.#value(), ttlMs: this.#ttl(), condition: { ifAbsent: true } },
      ];
    const keys = this.#several(["x", "y"]);
    return keys.map((key) => this.#change(group + key));
  }

  #change(key: string): KeyValueChange {
    const condition = this.#condition(key);
    const drawn = this.#random.float();
    if (drawn < 0.25) return { type: "delete", key, condition };
    if (drawn < 0.35 && condition !== undefined) return { type: "check", key, condition };
    return { type: "put", key, value: this.#value(), condition };
  }

  #condition(key: string): Condition | undefined {
    const version = this.#versions.get(key);
    const drawn = this.#random.float();
    if (drawn < 0.2) return { ifAbsent: true };
    return drawn < 0.5 && version !== undefined ? { ifVersion: version } : undefined;
  }

  #value(): Uint8Array {
    return Buffer.from(this.#next());
  }

  /** Never twice, over all shops and their incarnations. */
  #next(): string {
    this.#writes += 1;
    return `${this.#name}/${this.#writes}`;
  }

  #ttl(): number {
    return Math.ceil(100 * 100 ** this.#random.float());
  }

  #several(keys: readonly string[]): readonly string[] {
    const some = keys.filter(() => this.#random.float() < 0.5);
    return some.length > 0 ? some : [this.#pick(keys)];
  }

  #pick<Choice>(choices: readonly Choice[]): Choice {
    return choices[Math.floor(this.#random.float() * choices.length)]!;
  }
}
