import assert from "node:assert/strict";
import { test } from "node:test";
import { below } from "../../../../test/durability/reports.ts";
import { simulatedWorld } from "../../../simulation/index.ts";
import type { JournaledEngine } from "../embedded-engine.ts";
import { message, opened, reopened, texts } from "../fixtures.test.ts";

const runs = Number(process.env.TENON_FUZZ_RUNS ?? (process.env.TENON_SLOW === "1" ? 500 : 15));
const firstSeed = Number(process.env.TENON_FUZZ_SEED ?? 1);
const join = { sessionMs: 10_000, revokeMs: 1_000, windowMax: 100_000 };

interface ModelTopic {
  /** What was published, by partition. */
  readonly published: string[][];
  /** How much of it each group has settled, by partition. */
  readonly groups: Map<string, number[]>;
  countMax: number | undefined;
}

type Random = (below: number) => number;

/** A model of topics that are declared, used, emptied and removed at random, beside the engine. */
class Model {
  readonly topics = new Map<string, ModelTopic>();
  readonly #random: Random;
  #count = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  async step(engine: JournaledEngine): Promise<void> {
    const name = `topic-${this.#random(3)}`;
    const group = `group-${this.#random(2)}`;
    const topic = this.topics.get(name);
    const drawn = this.#random(20);
    if (topic === undefined || drawn < 2) await this.#declare(engine, name, group);
    else if (drawn < 4) await this.#remove(engine, name);
    else if (drawn < 5) await this.#removeGroup(engine, name, topic, group);
    else if (drawn < 8) await this.#settle(engine, name, topic, group);
    else await this.#append(engine, name, topic);
  }

  async #declare({ messages }: JournaledEngine, name: string, group: string): Promise<void> {
    let topic = this.topics.get(name);
    const partitions = topic?.published.length ?? 1 + this.#random(3);
    const countMax = this.#random(2) === 0 ? undefined : 5 + this.#random(10);
    await messages.declare(name, { partitions, groups: [group], countMax, whenFull: "evict" });
    topic ??= { published: Array.from({ length: partitions }, () => []), groups: new Map(), countMax: undefined };
    topic.countMax = countMax ?? topic.countMax;
    if (!topic.groups.has(group))
      topic.groups.set(
        group,
        topic.published.map((each) => each.length),
      );
    this.topics.set(name, topic);
  }

  async #remove({ messages }: JournaledEngine, name: string): Promise<void> {
    await messages.remove(name);
    this.topics.delete(name);
  }

  async #removeGroup({ messages }: JournaledEngine, name: string, topic: ModelTopic, group: string): Promise<void> {
    if (!topic.groups.delete(group)) return;
    await messages.removeGroup(name, group);
  }

  async #append({ messages }: JournaledEngine, name: string, topic: ModelTopic): Promise<void> {
    const partition = this.#random(topic.published.length);
    const added = Array.from({ length: 1 + this.#random(5) }, () => `m${this.#count++}`.padEnd(this.#random(300), "."));
    const positions = await messages.append({ topic: name, partition, messages: added.map((text) => message(text)) });
    assert.equal(positions[0], BigInt(topic.published[partition]!.length));
    this.#evict(topic, added.length);
    topic.published[partition]!.push(...added);
  }

  /** One message at a time from the fullest partition, the first of equals. */
  #evict(topic: ModelTopic, count: number): void {
    const kept = () => topic.published.map((each, partition) => each.length - lowest(topic, partition));
    const total = () => kept().reduce((sum, each) => sum + each, 0);
    while (topic.countMax !== undefined && total() + count > topic.countMax) {
      const fullest = kept().indexOf(Math.max(...kept()));
      const low = lowest(topic, fullest) + 1;
      for (const lows of topic.groups.values()) lows[fullest] = Math.max(lows[fullest]!, low);
    }
  }

  async #settle({ messages }: JournaledEngine, name: string, topic: ModelTopic, group: string): Promise<void> {
    const lows = topic.groups.get(group);
    if (lows === undefined) return;
    const member = await messages.join(name, group, join);
    for (let left = lows.length; left > 0; left--) {
      const lane = await member.nextLane();
      const waiting = topic.published[lane.partition]!.slice(lows[lane.partition]);
      if (waiting.length === 0) continue;
      const stored = await lane.fetch(1 + this.#random(waiting.length));
      assert.deepEqual(texts(stored), waiting.slice(0, stored.length));
      await lane.commit({ settled: stored.map(({ position }) => position) });
      lows[lane.partition]! += stored.length;
    }
    await member.leave();
  }

  async check({ messages }: JournaledEngine): Promise<void> {
    assert.deepEqual(await messages.topics(), [...this.topics.keys()].sort());
    for (const [name, topic] of this.topics) {
      const { partitions, groups, countMax } = await messages.describe(name);
      assert.equal(countMax, topic.countMax);
      assert.deepEqual(
        partitions.map(({ next }) => Number(next)),
        topic.published.map((each) => each.length),
      );
      const lows = groups.map(({ group, lanes }) => [group, lanes.map(({ low }) => Number(low))]);
      assert.deepEqual(Object.fromEntries(lows), Object.fromEntries(topic.groups), name);
    }
  }
}

function lowest({ published, groups }: ModelTopic, partition: number): number {
  return Math.min(published[partition]!.length, ...[...groups.values()].map((lows) => lows[partition]!));
}

test(`${runs} random lives of topics are as a model says, across cleaning and reopening`, async () => {
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    const random = below(seed);
    const simulation = simulatedWorld({ seed, eventsMax: 1_000_000 });
    const model = new Model(random);
    try {
      await simulation.run(async () => {
        let engine = await opened(simulation);
        for (let step = 0; step < 120; step++) {
          await model.step(engine);
          if (random(15) === 0) await engine.cleaner.clean();
          if (random(20) === 0) engine = await reopened(simulation);
          await model.check(engine);
        }
        await engine.close();
      });
    } catch (error) {
      throw new Error(`TENON_FUZZ_SEED=${seed} TENON_FUZZ_RUNS=1 shows it`, { cause: error });
    }
  }
});
