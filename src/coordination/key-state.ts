import { TenonError } from "../contracts/errors.ts";
import type { KeyValueChange, KeyValueEngine, KeyValueEntry } from "../contracts/key-value.ts";
import type { CountingEngine } from "./api.ts";
import { backoffMs } from "./backoff.ts";
import type { Deadline } from "./deadline.ts";
import { asTenonError, passes } from "./failures.ts";

/** The entry of the key as it is now, and whenever it changes. Goes on after failures that pass; ends by an error, or by the deadline's reason. */
export async function* statesOf(
  { keyValue, world }: CountingEngine,
  key: string,
  deadline: Deadline,
): AsyncGenerator<KeyValueEntry | undefined, never, undefined> {
  const { signal } = deadline;
  for (let failures = 0; ; failures++) {
    try {
      let current: KeyValueEntry | undefined;
      let synced = false;
      for await (const event of keyValue.watch(key, { signal })) {
        if (event.type === "synced") synced = true;
        // The watch is by prefix.
        else if (event.type === "put" && event.entry.key === key) current = event.entry;
        else if (event.type === "delete" && event.key === key) current = undefined;
        else continue;
        failures = 0;
        if (synced) yield current;
      }
    } catch (error) {
      const failure = asTenonError(error, `Watching "${key}"`);
      if (!signal.aborted && !passes(failure)) throw failure;
    }
    signal.throwIfAborted();
    await world.timers.sleep(backoffMs(failures, world.random.float()), { signal });
  }
}

/** Asks again while the engine fails in a way that passes, until the deadline. Only for requests that may be repeated. */
export async function repeated<Result>(
  { world }: CountingEngine,
  what: string,
  deadline: Deadline,
  request: () => Promise<Result>,
): Promise<Result> {
  for (let failures = 0; ; failures++) {
    try {
      return await deadline.race(request());
    } catch (error) {
      deadline.signal.throwIfAborted();
      const failure = asTenonError(error, what);
      if (!passes(failure)) throw failure;
    }
    await world.timers.sleep(backoffMs(failures, world.random.float()), { signal: deadline.signal });
  }
}

export function requireWatch({ keyValue }: CountingEngine, what: string): void {
  if (keyValue.capabilities.watch) return;
  throw new TenonError(
    "unsupported",
    `This engine cannot watch keys, so that it cannot carry ${what}. Use another engine.`,
  );
}

export function requireSeveralKeys(keyValue: KeyValueEngine, what: string): void {
  if (keyValue.capabilities.multipleKeys) return;
  throw new TenonError(
    "unsupported",
    `This engine commits one key at a time, and ${what} needs several in one commit. Use another engine.`,
  );
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function putText(
  key: string,
  text: string,
  more: Partial<Extract<KeyValueChange, { type: "put" }>> = {},
): KeyValueChange {
  return { type: "put", key, value: encoder.encode(text), ...more };
}

export function textOf(entry: KeyValueEntry): string {
  return decoder.decode(entry.value);
}
