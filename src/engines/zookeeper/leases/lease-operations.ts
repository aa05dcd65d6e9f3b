import { NameQueue, type NameQueueParts } from "./name-queue.ts";
import type { Step, StepAnswers } from "./steps.ts";

/** Operations on leased names, those of one name in the order of the calls. */
export class LeaseOperations {
  readonly #parts: NameQueueParts;
  readonly #queues = new Map<string, NameQueue>();
  #idle: PromiseWithResolvers<void> | undefined;

  constructor(parts: NameQueueParts) {
    this.#parts = parts;
  }

  run<Type extends Step["type"]>(name: string, step: Step & { readonly type: Type }): Promise<StepAnswers[Type]> {
    const present = this.#queues.get(name);
    const queue = present ?? new NameQueue(name, this.#parts);
    const answer = queue.add(step) as Promise<StepAnswers[Type]>;
    if (present === undefined) {
      this.#queues.set(name, queue);
      void this.#drain(name, queue);
    }
    return answer;
  }

  /** When nothing is under way any more. */
  async idle(): Promise<void> {
    if (this.#queues.size === 0) return;
    this.#idle ??= Promise.withResolvers();
    await this.#idle.promise;
  }

  async #drain(name: string, queue: NameQueue): Promise<void> {
    while (!queue.isEmpty) await queue.advance();
    this.#queues.delete(name);
    if (this.#queues.size > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }
}
