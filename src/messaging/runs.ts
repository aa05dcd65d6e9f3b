import { TenonError } from "../contracts/errors.ts";
import type { World } from "../world/world.ts";
import type { Delivery } from "./delivery.ts";
import type { LaneWorker } from "./lane-worker.ts";
import type { Outcomes } from "./outcomes.ts";

/** How handlers are called: with one message at a time, or with batches. */
export interface Runs {
  /** A message whose turn has come, while a slot is free. */
  take(delivery: Delivery): void;
  /** One whose slot was taken before its delivery was recorded: it goes at once, and by itself. */
  run(delivery: Delivery): void;
  /** There is nothing more to take now. `true` when handlers were called after all. */
  rest(): boolean;
  /** The turn of a message has come whose outcome is known already. */
  turnCame(delivery: Delivery): void;
  /** Aborts the signals of a lane's running handlers, and names their messages. */
  abandonLane(worker: LaneWorker, reason: TenonError): readonly Delivery[];
  stop(): void;
}

/** What runs of handlers need of the consumer that they belong to. */
export interface RunHost {
  readonly world: World;
  readonly topic: string;
  readonly group: string;
  readonly handlerTimeoutMs: number;
  readonly abandonAfterMs: number;
  readonly outcomes: Outcomes;
  /** A slot is free, and nothing has to go alone. */
  readonly mayStart: boolean;
  takeSlot(): void;
  /** The handler that ran with this message, or with it among others, has ended. */
  freeSlot(delivery: Delivery): void;
  pump(): void;
}

export function ranTooLong(what: string, handlerTimeoutMs: number): TenonError {
  return new TenonError("timeout", `The handler of ${what} ran longer than ${handlerTimeoutMs} ms.`);
}

export function givenUp(what: string, { handlerTimeoutMs, abandonAfterMs }: RunHost): TenonError {
  return new TenonError(
    "timeout",
    `The handler of ${what} did not end within ${handlerTimeoutMs} ms and was given up ${abandonAfterMs} ms later.`,
  );
}

export function isThenable(result: unknown): result is PromiseLike<unknown> {
  return typeof result === "object" && result !== null && typeof (result as { then?: unknown }).then === "function";
}
