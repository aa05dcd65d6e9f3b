import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import { type Bench, lostReply, onMemory, valuesOf } from "./fixtures.test.ts";
import { type Entry, json, type Log, log, type PipeOptions, pipe } from "./index.ts";

interface Stage {
  readonly input: Log<number>;
  readonly doubled: Log<number>;
  readonly odd: Log<number>;
}

function stageOf(engine: Bench["engine"], partitions = 2): Stage {
  const codec = json<number>();
  return {
    input: log(engine, "input", { codec, partitions }),
    doubled: log(engine, "doubled", { codec, partitions: 3 }),
    odd: log(engine, "odd", { codec, partitions: 1 }),
  };
}

/** Two outputs for odd numbers, one for even ones. */
function answer({ doubled, odd }: Stage, value: number): readonly Entry[] {
  const key = `${value}`;
  return value % 2 === 1 ? [doubled.entry(value * 2, { key }), odd.entry(value)] : [doubled.entry(value * 2, { key })];
}

function start(stage: Stage, options: PipeOptions = {}, seen: number[] = []) {
  const { input, doubled, odd } = stage;
  const handler = ({ value }: { readonly value: number }) => {
    seen.push(value);
    return answer(stage, value);
  };
  return pipe(input, "double", handler, { outputs: [doubled, odd], ...options });
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);
const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b);

async function fill({ input }: Stage, count: number, from = 0): Promise<void> {
  await Promise.all(numbers(count).map((n) => input.append(from + n)));
}

async function isDone(each: { lag(): Promise<ReadonlyMap<number, bigint>> }): Promise<boolean> {
  return [...(await each.lag()).values()].every((lag) => lag === 0n);
}

async function assertOnce({ doubled, odd }: Stage, count: number): Promise<void> {
  assert.deepEqual(
    sorted(await valuesOf(doubled)),
    numbers(count).map((n) => n * 2),
  );
  assert.deepEqual(
    sorted(await valuesOf(odd)),
    numbers(count).filter((n) => n % 2 === 1),
  );
}

test("every entry counts once in the outputs, and the pipe goes on where it stood", () =>
  onMemory(async ({ engine, until }) => {
    const stage = stageOf(engine);
    await fill(stage, 40);
    const first = await start(stage);
    await until(() => isDone(first));
    assert.deepEqual(first.partitions, [0, 1]);
    await first.close();
    await first.ended;
    await assertOnce(stage, 40);
    await fill(stage, 20, 40);
    const seen: number[] = [];
    const second = await start(stage, {}, seen);
    await until(() => isDone(second));
    await assertOnce(stage, 60);
    assert.deepEqual(sorted(seen), numbers(60).slice(40), "nothing was handled again");
    await second.close();
  }));

for (const [name, reply] of [
  ["was lost after it happened", lostReply],
  ["never happened", () => Promise.reject(new TenonError("unavailable", "away", { outcome: "unknown" }))],
  ["was refused for now", () => Promise.reject(new TenonError("overloaded", "full"))],
] as const) {
  test(`when a commit ${name}, what it held counts once`, () =>
    onMemory(async ({ engine, faults, until }) => {
      const stage = stageOf(engine);
      let commits = 0;
      faults.commit = (_change, apply) => (commits++ % 3 === 1 ? reply(apply) : apply());
      await fill(stage, 60);
      const running = await start(stage, { recordsMax: 4 });
      await until(() => isDone(running));
      faults.commit = undefined;
      await assertOnce(stage, 60);
      await running.close();
    }));
}

test("an engine without transactions is refused at the start, unless at-least-once is asked for", () =>
  onMemory(async ({ simple }) => {
    const stage = stageOf(simple);
    await assert.rejects(start(stage), { code: "unsupported" });
    assert.deepEqual(await simple.log.logs(), [], "nothing was made");
    const { input } = stage;
    await using keepsPositionsOnly = await pipe(input, "look", () => undefined);
    assert.equal(keepsPositionsOnly.name, "look");
  }));

test("at-least-once, outputs of a handler that answers the same again are stored once, whatever replies are lost", () =>
  onMemory(async ({ simple, faults, until, world }) => {
    const stage = stageOf(simple);
    faults.commit = (_change, apply) => (world.random.float() < 0.2 ? lostReply(apply) : apply());
    await fill(stage, 60);
    const seen: number[] = [];
    const running = await start(stage, { guarantee: "at-least-once", recordsMax: 4 }, seen);
    await until(() => isDone(running));
    faults.commit = undefined;
    await assertOnce(stage, 60);
    assert.ok(seen.length > 60, "some were handled again");
    await running.close();
  }));

test("a zombie that comes back from a long pause changes nothing", () =>
  onMemory(async ({ engine, faults, sleep, until }) => {
    const stage = stageOf(engine, 1);
    await fill(stage, 10);
    const isHeld = Promise.withResolvers<void>();
    const goesOn = Promise.withResolvers<void>();
    let zombie: string | undefined;
    faults.commit = async (change, apply, writer) => {
      if (zombie === undefined && change.outputs !== undefined) {
        zombie = `${writer.epoch}`;
        isHeld.resolve();
        await goesOn.promise;
      }
      return apply();
    };
    const first = await start(stage);
    await isHeld.promise;
    // Somebody takes over by force, as after a lease has ended.
    const { log: engineLog, world } = engine;
    const second = await start(stageOf({ log: engineLog, world }, 1));
    await until(() => isDone(second));
    goesOn.resolve();
    await sleep(5_000);
    await fill(stage, 10, 10);
    await sleep(5_000);
    await Promise.all([first.close(), second.close()]);
    await assertOnce(stage, 20);
  }));

test("without leases who comes last takes over, and the former one ends saying so", () =>
  onMemory(async ({ alone, until }) => {
    const stage = stageOf(alone);
    await fill(stage, 20);
    const first = await start(stage);
    await until(() => isDone(first));
    const second = await start(stage);
    await until(async () => (await alone.log.positions("double", "input")).size === 2);
    await fill(stage, 20, 20);
    await until(() => isDone(second));
    await assert.rejects(first.ended, { code: "lost" });
    assert.deepEqual(first.partitions, []);
    await assertOnce(stage, 40);
    await second.close();
  }));

test("with leases processes share the partitions, and one takes over what another leaves", () =>
  onMemory(async ({ engine, until }) => {
    const stage = stageOf(engine, 4);
    const first = await start(stage, { partitionsMax: 2 });
    const second = await start(stage, { partitionsMax: 2 });
    await until(() => first.partitions.length === 2 && second.partitions.length === 2);
    const third = await start(stage);
    assert.deepEqual(sorted([...first.partitions, ...second.partitions]), [0, 1, 2, 3]);
    await fill(stage, 20);
    await until(() => isDone(first));
    assert.deepEqual(third.partitions, []);
    await Promise.all([first.close(), second.close()]);
    await until(() => third.partitions.length === 4);
    await fill(stage, 20, 20);
    await until(() => isDone(third));
    await assertOnce(stage, 40);
    await third.close();
  }));

test("a handler that fails is tried again, and when it fails for good the pipe stops before its entry", () =>
  onMemory(async ({ engine, until }) => {
    const stage = stageOf(engine, 1);
    await fill(stage, 10);
    const failures: number[] = [];
    let mended = false;
    const handler = ({ value }: { readonly value: number }, context: { readonly failures: number }) => {
      if (value === 3 && context.failures < 2) throw new Error("not now");
      if (value === 7) {
        failures.push(context.failures);
        if (!mended) throw new Error("never");
      }
      return answer(stage, value);
    };
    const { input, doubled, odd } = stage;
    const options = { outputs: [doubled, odd], retry: { attemptsMax: 2, delayMs: 10 }, recordsMax: 1 };
    const running = await pipe(input, "double", handler, options);
    await assert.rejects(running.ended, (error: TenonError) => {
      assert.deepEqual(error.fields, { log: "input", partition: 0, position: 7n });
      return /"double".*failed 3 times/.test(error.message);
    });
    assert.deepEqual(failures, [0, 1, 2]);
    await assertOnce(stage, 7);
    mended = true;
    const again = await pipe(input, "double", handler, options);
    await until(() => isDone(again));
    await assertOnce(stage, 10);
    await again.close();
  }));

test("an entry for a log that is not among the outputs stops the pipe", () =>
  onMemory(async ({ engine }) => {
    const stage = stageOf(engine, 1);
    await fill(stage, 1);
    const running = await pipe(stage.input, "double", () => stage.odd.entry(1), { outputs: [stage.doubled] });
    await assert.rejects(running.ended, { code: "invalid" });
    assert.deepEqual(await valuesOf(stage.doubled), []);
  }));

test("a pipe that begins now keeps to it, also when it ends before its first entry", () =>
  onMemory(async ({ engine, until }) => {
    const stage = stageOf(engine, 1);
    await fill(stage, 5);
    const seen: number[] = [];
    const first = await start(stage, { from: "now" }, seen);
    await until(async () => (await engine.log.positions("double", "input")).size === 1);
    await first.close();
    await fill(stage, 5, 5);
    const second = await start(stage, { from: "now" }, seen);
    await until(() => isDone(second));
    assert.deepEqual(seen, [5, 6, 7, 8, 9]);
    await second.close();
  }));

test("a pipe stops at what its log did not keep, or goes past it when asked to", () =>
  onMemory(async ({ engine, sleep, until }) => {
    const codec = json<number>();
    const input = log(engine, "input", { codec, partitions: 1, retentionMs: 1_000 });
    const seen: number[] = [];
    const look = (options: PipeOptions) =>
      pipe(
        input,
        "look",
        ({ value }) => {
          seen.push(value);
          return undefined;
        },
        options,
      );
    const first = await look({ from: "earliest" });
    await until(async () => (await engine.log.positions("look", "input")).size === 1);
    await first.close();
    await input.append(1);
    await sleep(30_000);
    await input.append(2);
    await assert.rejects((await look({})).ended, { code: "not-found" });
    const skipping = await look({ whenDropped: "skip" });
    await until(() => seen.length > 0);
    assert.deepEqual(seen, [2]);
    await skipping.close();
  }));

test("closing lets the handler end and commits what it made", () =>
  onMemory(async ({ engine, sleep }) => {
    const stage = stageOf(engine, 1);
    const { input, doubled } = stage;
    await fill(stage, 3);
    const running = await pipe(
      input,
      "slow",
      async ({ value }) => {
        await sleep(500);
        return doubled.entry(value * 2);
      },
      { outputs: [doubled] },
    );
    await sleep(700);
    await running.close();
    assert.deepEqual(sorted(await valuesOf(doubled)), [0, 2]);
    assert.equal((await engine.log.positions("slow", "input")).get(0), 2n);
  }));
