import { isCode } from "../contracts/errors.ts";
import type { World } from "../world/world.ts";
import { copyForRetry, DeadLetter, deadLetterOf, reasonOf, undecodableReason } from "./dead-letter.ts";
import type { Delivery } from "./delivery.ts";
import { describeError } from "./failures.ts";
import { backoffMs, type RetryPolicy } from "./retry-policy.ts";

export interface OutcomesOptions {
  readonly world: World;
  readonly group: string;
  readonly contentType: string;
  readonly retry: RetryPolicy;
  /** Whether keyless messages may wait elsewhere, which needs an engine that can delay messages. */
  readonly delay: boolean;
  readonly whenExpired: WhenExpired;
  readonly givenUp: GivenUpHandler | undefined;
}

/** What becomes of a message that expired before it was delivered. */
export type WhenExpired = "deadLetter" | "drop";

/** Takes a message that no retry will help, before it is settled. */
export type GivenUpHandler = (delivery: Delivery, reason: string) => void;

/** A keyless message that waits longer than this waits in the retry topic, where it holds nothing back. */
const retryInLaneMsMax = 60_000;

/** Decides what follows when a message was not handled: a retry here, a retry elsewhere, or the dead letters. */
export class Outcomes {
  readonly #options: OutcomesOptions;

  constructor(options: OutcomesOptions) {
    this.#options = options;
  }

  failed(delivery: Delivery, error: unknown): void {
    const { retry, delay, world } = this.#options;
    delivery.failures += 1;
    if (error instanceof DeadLetter || delivery.failures > retry.attemptsMax) {
      this.bury(delivery, reasonOf(error));
      return;
    }
    this.#log("warn", "a handler failed; its message is retried", delivery, describeError(error));
    const waitMs = backoffMs(retry, delivery.failures, world.random.float());
    const dueAt = world.clock.now() + waitMs;
    if (delay && delivery.stored.key === undefined && waitMs > retryInLaneMsMax) {
      delivery.owner.move(delivery, "retry", copyForRetry(delivery, dueAt));
    } else {
      delivery.owner.holdBack(delivery, dueAt);
    }
  }

  notDecoded(delivery: Delivery, error: unknown): void {
    // A schema that validates asynchronously is a mistake in the program, not in the message.
    if (isCode(error, "unsupported")) this.failed(delivery, error);
    else this.bury(delivery, undecodableReason(this.#options.contentType, error));
  }

  /** It will not be delivered any more. */
  expired(delivery: Delivery): void {
    if (this.#options.whenExpired === "deadLetter") this.bury(delivery, "expired");
    else delivery.owner.settle(delivery);
  }

  bury(delivery: Delivery, reason: string): void {
    const { givenUp } = this.#options;
    if (givenUp !== undefined) {
      this.#log("error", "a message was given up", delivery, reason);
      givenUp(delivery, reason);
      delivery.owner.settle(delivery);
      return;
    }
    this.#log("error", "a message became a dead letter", delivery, reason);
    delivery.owner.move(delivery, "dead", deadLetterOf(delivery, reason, this.#options.world.clock.now()));
  }

  #log(level: "warn" | "error", message: string, delivery: Delivery, reason: string): void {
    const { topic, partition, position } = delivery.origin;
    const { group, world } = this.#options;
    world.log.log(level, message, { topic, group, partition, position, failures: delivery.failures, reason });
  }
}
