import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import { type Bench, onMemory } from "./fixtures.test.ts";
import {
  type BatchMessage,
  type Consumer,
  DeadLetter,
  type MessageContext,
  type Topic,
  type TopicOptions,
  text,
  topic,
  type Verdict,
  verdict,
} from "./index.ts";

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

/** The topic, with a loss detector that must never report anything: the engine fails, but it loses nothing. */
function notesOf(bench: Bench, history: History, options: Partial<TopicOptions<string>> = {}): Topic<string> {
  const onLoss = (loss: unknown): void =>
    void history.violations.push(`a false alarm: ${JSON.stringify(loss, textOf)}`);
  const lossDetection = { graceMs: 500, onLoss };
  const whole = { codec: text(), partitions: 3, groups: ["g"], lossDetection, ...options };
  return topic(bench.engine, "notes", whole as TopicOptions<string>);
}

function textOf(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}

function publishing(bench: Bench, history: History): Promise<unknown> {
  const { world } = bench;
  const keys = Array.from({ length: 8 }, (_, index) => `key-${index}`);
  const publishers = keys.map(async (key) => {
    // Short timeouts, so that batches are given up, too.
    const notes = notesOf(bench, history, { publishTimeoutMs: 150, bufferBytesMax: 600 });
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

type BatchAnswer = (messages: readonly BatchMessage<string>[]) => Promise<readonly Verdict[]>;

/** Handles one after the other, stops with a key at its first failure, and now and then fails as a whole. */
function batchHandlerOf(bench: Bench, handle: ReturnType<typeof handlerOf>): BatchAnswer {
  return async (messages) => {
    const failed = new Set<string | undefined>();
    const verdicts: Verdict[] = [];
    if (bench.world.random.float() < 0.05) throw new Error("by chance, all of them");
    for (const message of messages) {
      const { value, key } = message;
      if (failed.has(key)) {
        // It does not count whatever it is.
        verdicts.push(bench.world.random.float() < 0.5 ? verdict.settle : verdict.deadLetter("does not count"));
        continue;
      }
      try {
        await handle(value, message);
        verdicts.push(verdict.settle);
      } catch (error) {
        const dead = error instanceof DeadLetter;
        if (!dead) failed.add(key);
        verdicts.push(dead ? verdict.deadLetter("by chance") : verdict.retry("by chance"));
      }
    }
    return verdicts;
  };
}

async function membersComeAndGo(bench: Bench, history: History, over: () => boolean): Promise<void> {
  const { random } = bench.world;
  const notes = notesOf(bench, history);
  const handler = handlerOf(bench, history);
  const batchHandler = batchHandlerOf(bench, handler);
  const options = { concurrency: 4, prefetch: 20, retry: { delayMs: 20, attemptsMax: 1_000 } };
  const join = (): Promise<Consumer> => {
    if (random.float() < 0.5) return notes.consume("g", handler, options);
    const batchWaitMs = random.float() < 0.5 ? 0 : 5;
    return notes.consumeBatch("g", batchHandler, { ...options, batchCountMax: 8, batchWaitMs });
  };
  const members = [await join(), await join()];
  while (!over()) {
    await bench.sleep(100 + random.float() * 250);
    const paused = members[Math.floor(random.float() * members.length)]!;
    if (random.float() < 0.5) paused.pause(random.float() < 0.5 ? undefined : [0]);
    await bench.sleep(100 + random.float() * 250);
    paused.resume();
    members.push(await join());
    await members.shift()!.close();
  }
  bench.faults.append = undefined;
  bench.faults.commit = undefined;
  bench.faults.fetch = undefined;
  await bench.until(async () => (await notes.lag("g")).messages === 0);
  await Promise.all(members.map((member) => member.close()));
}

test("under failing engines, failing handlers and batches, pauses and changing members nothing is lost, nothing is reordered, no refusal is stored", async () => {
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
