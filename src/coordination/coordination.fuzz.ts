/** Random holders, pauses and faults in simulated time. `TENON_SEED=7` repeats the runs of one seed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { TenonError } from "../contracts/errors.ts";
import { type Bench, losesReplies, losesRequests, onMemory, Pausable } from "./fixtures.test.ts";
import { fenced, type Lock, mutex, type NamedLockable, readWriteLock, semaphore } from "./index.ts";

const numRuns = process.env.TENON_SLOW === "1" ? 400 : 25;
const seed = process.env.TENON_SEED === undefined ? {} : { seed: Number(process.env.TENON_SEED) };

interface Step {
  readonly restMs: number;
  readonly waitMs: number;
  readonly workMs: number;
  readonly ttlMs: number;
  readonly renew: boolean;
  readonly kind: number;
  readonly pauseMs: number;
  readonly dies: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  restMs: fc.integer({ min: 0, max: 300 }),
  waitMs: fc.integer({ min: 0, max: 3_000 }),
  workMs: fc.integer({ min: 0, max: 900 }),
  ttlMs: fc.integer({ min: 60, max: 1_500 }),
  renew: fc.boolean(),
  kind: fc.integer({ min: 1, max: 4 }),
  pauseMs: fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 4_000 }) },
  ),
  dies: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
});
const histories = fc.array(fc.array(step, { minLength: 1, maxLength: 8 }), { minLength: 2, maxLength: 6 });

/** What every process does with its lock. `enter` and `leave` say how long it believes that it may rely on it. */
type Work = (lock: Lock, step: Step, process: Pausable) => Promise<void>;

/** Each history is a process of its own, which may stand still or die while it holds. */
async function live(
  { other, world, sleep }: Bench,
  history: readonly Step[],
  lockOf: LockOf,
  work: Work,
): Promise<void> {
  let process = new Pausable(other.leases, world);
  for (const each of history) {
    await sleep(each.restMs);
    const lock = await lockOf(process, each).tryAcquire(optionsOf(each)).catch(ifPassing);
    if (lock === undefined) continue;
    await work(lock, each, process);
    if (each.dies) {
      process.pause();
      process = new Pausable(other.leases, world);
    } else await lock[Symbol.asyncDispose]();
  }
}

type LockOf = (process: Pausable, step: Step) => NamedLockable;

function optionsOf({ ttlMs, waitMs, renew, kind }: Step) {
  return { ttlMs, waitMs, renew, permits: kind };
}

function ifPassing(error: unknown): undefined {
  assert.ok(["lost", "unavailable"].includes((error as TenonError).code), String(error));
  return undefined;
}

/** Holds on for as long as the lock says it is valid; a holder whose clocks run never relies on it longer. */
function workWithin(sleep: Bench["sleep"], enter: (lock: Lock, step: Step) => () => void): Work {
  return async (lock, each) => {
    if (lock.signal.aborted) return;
    const leave = enter(lock, each);
    const left = { done: false };
    const leaveOnce = (): void => {
      if (!left.done) leave();
      left.done = true;
    };
    lock.signal.addEventListener("abort", leaveOnce);
    await sleep(each.workMs);
    leaveOnce();
  };
}

test("no two hold a mutex in the same valid time, and tokens grow in the order of the grants", () =>
  fc.assert(
    fc.asyncProperty(histories, fc.integer(), (processes, worldSeed) =>
      onMemory(async (bench) => {
        let holding = 0;
        let last = 0n;
        const work = workWithin(bench.sleep, (lock) => {
          assert.equal(++holding, 1, "somebody else holds it");
          assert.ok(lock.token > last, "tokens grow");
          last = lock.token;
          return () => {
            holding -= 1;
          };
        });
        const lockOf: LockOf = (process) => mutex(process, "a");
        await Promise.all(processes.map((history) => live(bench, history, lockOf, work)));
      }, worldSeed),
    ),
    { numRuns, ...seed },
  ));

test("readers never meet a writer, and permits are never more than there are", () =>
  fc.assert(
    fc.asyncProperty(histories, fc.integer(), (processes, worldSeed) =>
      onMemory(async (bench) => {
        let readers = 0;
        let writers = 0;
        const reading = workWithin(bench.sleep, (_lock, { kind }) => {
          if (kind === 1) writers += 1;
          else readers += 1;
          assert.ok(writers === 0 || (writers === 1 && readers === 0), `${writers} writers and ${readers} readers`);
          return () => {
            if (kind === 1) writers -= 1;
            else readers -= 1;
          };
        });
        const side: LockOf = (process, { kind }) => {
          const prices = readWriteLock(process, "a");
          return kind === 1 ? prices.write : prices.read;
        };
        let taken = 0;
        const taking = workWithin(bench.sleep, (lock) => {
          taken += lock.weight;
          assert.ok(taken <= 5, `${taken} of 5 permits`);
          return () => {
            taken -= lock.weight;
          };
        });
        const permits: LockOf = (process) => semaphore(process, "a", { permits: 5 });
        await Promise.all([
          ...processes.map((history) => live(bench, history, side, reading)),
          ...processes.map((history) => live(bench, history, permits, taking)),
        ]);
      }, worldSeed),
    ),
    { numRuns, ...seed },
  ));

test("holders that stand still for any time overlap, and guarded writes take effect in the order of the tokens all the same", () =>
  fc.assert(
    fc.asyncProperty(histories, fc.integer(), (processes, worldSeed) =>
      onMemory(async (bench) => {
        const { other, sleep } = bench;
        const written: bigint[] = [];
        const work: Work = async (lock, { workMs, pauseMs }, process) => {
          await sleep(workMs);
          process.pause();
          await sleep(pauseMs);
          process.resume();
          try {
            await fenced(other.keyValue, "a", lock.token, [{ type: "put", key: "a", value: new Uint8Array() }]);
            written.push(lock.token);
          } catch (error) {
            assert.equal((error as TenonError).code, "lost");
          }
        };
        const lockOf: LockOf = (process) => mutex(process, "a");
        await Promise.all(processes.map((history) => live(bench, history, lockOf, work)));
        assert.deepEqual(
          written,
          [...written].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)),
        );
      }, worldSeed),
    ),
    { numRuns, ...seed },
  ));

test("through lost requests and replies of every kind no two hold, and the lock is free again in the end", () =>
  fc.assert(
    fc.asyncProperty(
      histories,
      fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 60, maxLength: 60 }),
      fc.integer(),
      (processes, faultKinds, worldSeed) =>
        onMemory(async (bench) => {
          const { engine, faults, other, sleep, world } = bench;
          let next = 0;
          const hook = <Result>(apply: () => Promise<Result>): Promise<Result> => {
            const kind = faultKinds[next++ % faultKinds.length];
            if (kind === 0) return losesRequests<Result>(1)(apply);
            if (kind === 1) return losesReplies<Result>(1)(apply);
            if (kind === 2) return sleep(world.random.float() * 200).then(apply);
            return apply();
          };
          Object.assign(faults, { acquire: hook, renew: hook, release: hook });
          let holding = 0;
          const work = workWithin(sleep, () => {
            assert.equal(++holding, 1, "somebody else holds it");
            return () => {
              holding -= 1;
            };
          });
          const lockOf: LockOf = () => mutex(engine, "a", { timeoutMs: 1_000 });
          await Promise.all(
            processes.map((history) =>
              live(
                bench,
                history.map((each) => ({ ...each, dies: false })),
                lockOf,
                work,
              ),
            ),
          );
          const free = await mutex(other, "a").acquire({ waitMs: 6_000 });
          await free.release();
        }, worldSeed),
    ),
    { numRuns, ...seed },
  ));
