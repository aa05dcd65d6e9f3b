import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import { type Bench, onMemory } from "./fixtures.test.ts";
import { type Consumer, DeadLetter, type MessageContext, text, topic } from "./index.ts";

const seeds = Number(process.env.TENON_FUZZ_SEEDS ?? 15);

/** The engine fails by chance: before the change, after it, and by refusing it. */
function failByChance({ faults, world }: Bench, rate: number): void {
  const chance = async <R>(apply: () => Promise<R>, mayRefuse: boolean): Promise<R> => {
    await world.timers.sleep(world.random.float() * 5);
    const draw = world.random.float() / rate;
    if (draw < 0.3) throw new TenonError("unavailable", "not reached");
    if (draw < 0.4 && mayRefuse) throw new TenonError("overloaded", "full");
    const result = await apply();
    if (draw >= 0.4 && draw < 0.7) throw new TenonError("unavailable", "no reply", { outcome: "unknown" });
    if (draw >= 0.7 && draw < 1) await world.timers.sleep(world.random.float() * 300);
    return result;
  };
  faults.append = (_, apply) => chance(apply, true);
  faults.commit = (change, apply) => chance(apply, change.appends !== undefined);
  faults.fetch = async (_, apply) => {
    if (world.random.float() < rate / 4) throw new TenonError("unavailable", "not reached");
    return await apply();
  };
}

/**
 * What a publisher was told, by key, in the order of publishing; and what was handled, each with how it ended.
 */
interface History {
  readonly stored: Map<string, string[]>;
  readonly unknown: Set<string>;
  readonly handled: Map<string, string[]>;
  readonly violations: string[];
}

function publishing(bench: Bench, history: History): Promise<unknown> {
  const { world } = bench;
  const keys = Array.from({ length: 8 }, (_, index) => `key-${index}`);
  const publishers = keys.map(async (key) => {
    // Short timeouts, so that batches are given up, too.
    const notes = topic(bench.engine, "notes", {
      codec: text(),
      partitions: 3,
      publishTimeoutMs: 150,
      bufferBytesMax: 600,
    });
    const stored: string[] = [];
    history.stored.set(key, stored);
    for (let number = 0; number < 60; number += 1) {
      const value = `${key}:${number}`;
      try {
        await notes.publish(value, { key });
        stored.push(value);
      } catch (error) {
        assert.ok(error instanceof TenonError);
        if (error.outcome === "unknown") history.unknown.add(value);
      }
      if (world.random.float() < 0.2) await bench.sleep(world.random.float() * 30);
    }
    await notes.close();
  });
  return Promise.all(publishers);
}

function handlerOf(bench: Bench, history: History): (value: string, context: MessageContext) => Promise<void> {
  const { world } = bench;
  const running = new Map<string, bigint>();
  return async (value, { key, fence, partition }) => {
    const lane = `${partition}/${key}`;
    if (fence <= (running.get(lane) ?? 0n)) history.violations.push(`the fence of ${value} does not grow`);
    running.set(lane, fence);
    await world.timers.sleep(world.random.float() * 10);
    if (world.random.float() < 0.1) throw new Error("by chance");
    if (world.random.float() < 0.02) throw new DeadLetter("by chance");
    const values = history.handled.get(key!) ?? [];
    values.push(value);
    history.handled.set(key!, values);
  };
}

async function membersComeAndGo(bench: Bench, history: History, over: () => boolean): Promise<void> {
  const notes = topic(bench.engine, "notes", { codec: text(), partitions: 3, groups: ["g"] });
  const handler = handlerOf(bench, history);
  const join = (): Promise<Consumer> =>
    notes.consume("g", handler, { concurrency: 4, prefetch: 20, retry: { delayMs: 20, attemptsMax: 1_000 } });
  const members = [await join(), await join()];
  while (!over()) {
    await bench.sleep(200 + bench.world.random.float() * 500);
    members.push(await join());
    await members.shift()!.close();
  }
  bench.faults.append = undefined;
  bench.faults.commit = undefined;
  bench.faults.fetch = undefined;
  await bench.until(async () => (await notes.lag("g")).messages === 0);
  await Promise.all(members.map((member) => member.close()));
}

test("under failing engines, failing handlers and changing members nothing is lost, nothing is reordered, no refusal is stored", async () => {
  for (let seed = 1; seed <= seeds; seed += 1) {
    await onMemory(async (bench) => {
      const history: History = { stored: new Map(), unknown: new Set(), handled: new Map(), violations: [] };
      await topic(bench.engine, "notes", { codec: text(), partitions: 3, groups: ["g"] }).declare();
      failByChance(bench, 0.1 + bench.world.random.float() * 0.4);
      let over = false;
      const consuming = membersComeAndGo(bench, history, () => over);
      await publishing(bench, history);
      over = true;
      await consuming;
      await check(bench, history, seed);
    }, seed);
  }
});

async function check(bench: Bench, history: History, seed: number): Promise<void> {
  const letters = await topic(bench.engine, "notes", { codec: text(), partitions: 3 }).deadLetters("g").peek(10_000);
  assert.deepEqual(history.violations, [], `seed ${seed}`);
  const dead = new Set(letters.map(({ value }) => value!));
  assert.equal(dead.size, letters.length, `seed ${seed}: a dead letter is stored once`);
  for (const [key, stored] of history.stored) {
    const handled = history.handled.get(key) ?? [];
    const first = [...new Set(handled)];
    const numbers = first.map((value) => Number(value.split(":")[1]));
    assert.deepEqual(
      numbers,
      numbers.toSorted((one, other) => one - other),
      `seed ${seed}: order of ${key}`,
    );
    const seen = new Set([...handled, ...dead]);
    for (const value of stored) assert.ok(seen.has(value), `seed ${seed}: ${value} was lost`);
    const known = new Set([...stored, ...history.unknown]);
    for (const value of handled) assert.ok(known.has(value), `seed ${seed}: ${value} was refused and yet stored`);
  }
}
