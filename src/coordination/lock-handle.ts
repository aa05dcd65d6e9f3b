import { TenonError } from "../contracts/errors.ts";
import type { Lock } from "./api.ts";
import type { HeldLease } from "./held-lease.ts";

/** What the handles of one lease share. */
interface Shared {
  readonly what: string;
  readonly name: string;
  readonly weight: number;
  readonly held: HeldLease;
  /** Handles that were not released yet. */
  count: number;
}

export function lockHandle(what: string, name: string, weight: number, held: HeldLease): Lock {
  return new LockHandle({ what, name, weight, held, count: 1 });
}

class LockHandle implements Lock {
  readonly #shared: Shared;
  #released: Promise<void> | undefined;

  constructor(shared: Shared) {
    this.#shared = shared;
  }

  get name(): string {
    return this.#shared.name;
  }

  get token(): bigint {
    return this.#shared.held.token;
  }

  get weight(): number {
    return this.#shared.weight;
  }

  get signal(): AbortSignal {
    return this.#shared.held.signal;
  }

  get validMs(): number {
    return this.#released === undefined ? this.#shared.held.validMs : 0;
  }

  check(): void {
    const { over } = this.#shared.held;
    if (over !== undefined) throw over;
    if (this.#released === undefined) return;
    throw new TenonError(
      "closed",
      `This handle of ${this.#shared.what} was released. Acquire it, or reenter it, again.`,
    );
  }

  reenter(): Lock {
    this.check();
    this.#shared.count += 1;
    return new LockHandle(this.#shared);
  }

  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  #release(): Promise<void> {
    this.#shared.count -= 1;
    return this.#shared.count === 0 ? this.#shared.held.release() : Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What failed is in the log, and the lease ends by itself; throwing here would hide what the block has thrown.
    await this.release().catch(() => {});
  }
}
