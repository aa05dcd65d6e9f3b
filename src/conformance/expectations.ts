import { fail, ok } from "node:assert/strict";
import type { ErrorCode } from "../contracts/index.ts";
import { TenonError } from "../contracts/index.ts";
import type { World } from "../world/world.ts";

/** Long enough for a loaded machine; a case that needs it has failed. */
const patienceMs = 30_000;
/** How long something that must not happen is watched. It can only make a case miss a fault, never fail without one. */
const watchMs = 60;

/** The action is refused with one of the codes. */
export async function refused(
  codes: ErrorCode | readonly ErrorCode[],
  what: string,
  action: () => unknown,
): Promise<TenonError> {
  let answer: unknown;
  try {
    answer = await action();
  } catch (error) {
    ok(error instanceof TenonError, `${what}: refused with a TenonError, not ${String(error)}`);
    ok(codes.includes(error.code), `${what}: expected ${codes}, met ${error.code} (${error.message})`);
    return error;
  }
  return fail(`${what}: expected to be refused with ${codes}, but it was answered (${typeof answer})`);
}

/** Rejects with the very reason of the abort. */
export async function rejectsWith(reason: unknown, what: string, promise: Promise<unknown>): Promise<void> {
  try {
    await promise;
  } catch (error) {
    ok(error === reason, `${what}: rejects with the signal's reason, not ${String(error)}`);
    return;
  }
  fail(`${what}: expected to reject with the signal's reason`);
}

/** The promise's answer; fails with a sentence instead of hanging when it never comes. */
export async function within<T>(world: World, what: string, promise: Promise<T>, ms = patienceMs): Promise<T> {
  const answered = new AbortController();
  const overdue = world.timers.sleep(ms, { signal: answered.signal }).then(
    () => fail(`${what}: did not happen within ${ms} ms`),
    () => undefined as never,
  );
  try {
    return await Promise.race([promise, overdue]);
  } finally {
    answered.abort();
  }
}

/** Asks again, a millisecond apart, until the answer is true. */
export async function eventually(
  world: World,
  what: string,
  condition: () => boolean | Promise<boolean>,
  ms = patienceMs,
): Promise<void> {
  const deadline = world.clock.monotonic() + ms;
  while (!(await condition())) {
    if (world.clock.monotonic() >= deadline) fail(`${what}: did not become true within ${ms} ms`);
    await world.timers.sleep(1);
  }
}

/** The promise does not settle although time passes. */
export async function staysPending(world: World, what: string, promise: Promise<unknown>, ms = watchMs): Promise<void> {
  let settled = false;
  const note = () => {
    settled = true;
  };
  promise.then(note, note);
  await world.timers.sleep(ms);
  ok(!settled, `${what}: must wait, but it settled`);
}

/** The signal aborts. */
export async function aborted(world: World, what: string, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await within(world, what, new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve())));
}

/** Opens once; whoever waits then goes on. */
export class Gate {
  readonly #opened = Promise.withResolvers<void>();

  open(): void {
    this.#opened.resolve();
  }

  get opened(): Promise<void> {
    return this.#opened.promise;
  }
}

/** Gathers what happened and lets a case wait until enough of it has. */
export class Observations<T> {
  readonly items: T[] = [];
  readonly #world: World;
  readonly #waiting: { count: number; resolve: () => void }[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  add(item: T): void {
    this.items.push(item);
    for (let index = this.#waiting.length - 1; index >= 0; index--) {
      const waiter = this.#waiting[index]!;
      if (this.items.length < waiter.count) continue;
      this.#waiting.splice(index, 1);
      waiter.resolve();
    }
  }

  /** What was gathered, as soon as it is at least this much. */
  async atLeast(count: number, ms = patienceMs): Promise<readonly T[]> {
    if (this.items.length < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push({ count, resolve });
      try {
        await within(this.#world, `${count} of them`, promise, ms);
      } catch (cause) {
        throw new Error(`expected at least ${count}, there are ${this.items.length}`, { cause });
      }
    }
    return this.items;
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}

export function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
