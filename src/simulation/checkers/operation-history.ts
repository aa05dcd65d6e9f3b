import { TenonError } from "../../contracts/errors.ts";

/** Something that was asked for, and what is known of how it went. */
export interface Operation<Input, Output> {
  /** Who asked: a process, or a part of one. */
  readonly client: string;
  readonly input: Input;
  /** Virtual ms. */
  readonly calledAt: number;
  /** `undefined`: nobody knows how it went. It may take effect at any time after its call, or never. */
  readonly returnedAt: number | undefined;
  /** When the caller heard an error that does not say how it went. Nothing follows from it but that the caller waits no more. */
  readonly failedAt?: number | undefined;
  /** What it answered; there when it returned. */
  readonly output: Output | undefined;
  /** Its place among all calls and returns of the history: of two at one instant, the smaller came first. */
  readonly called: number;
  readonly returned: number | undefined;
}

/** What an error says of an operation, apart from what the caller knows. */
export type ErrorMeaning = "not-applied" | "unknown";

interface Recorded<Input, Output> {
  readonly client: string;
  readonly input: Input;
  readonly calledAt: number;
  readonly called: number;
  returnedAt: number | undefined;
  returned: number | undefined;
  failedAt: number | undefined;
  output: Output | undefined;
}

/**
 * What several clients asked for and were answered, in the order in which it happened. It lives outside of the processes that it records, so that
 * what a crashed one had asked for stays in it as an operation whose outcome nobody knows.
 */
export class OperationHistory<Input, Output> {
  readonly #now: () => number;
  readonly #meaningOf: (error: unknown) => ErrorMeaning;
  readonly #operations = new Set<Recorded<Input, Output>>();
  readonly #refused: Recorded<Input, Output>[] = [];
  #sequence = 0;

  /**
   * `now`: virtual ms. `meaningOf`: what an error means for its operation; when left out, a `TenonError` with `outcome: "not-applied"` has not
   * happened, and of everything else nobody knows.
   */
  constructor(now: () => number, meaningOf: (error: unknown) => ErrorMeaning = meaningOfError) {
    this.#now = now;
    this.#meaningOf = meaningOf;
  }

  /** In the order of their calls. */
  get operations(): readonly Operation<Input, Output>[] {
    return [...this.#operations];
  }

  /** What has not happened, as its callers were told. It changed nothing, but it was asked for. */
  get refused(): readonly Operation<Input, Output>[] {
    return this.#refused;
  }

  /** Calls it, and remembers when it was called, when it returned and with what. */
  async record(client: string, input: Input, call: () => Promise<Output>): Promise<Output> {
    const recorded: Recorded<Input, Output> = {
      client,
      input,
      calledAt: this.#now(),
      called: this.#sequence++,
      returnedAt: undefined,
      returned: undefined,
      failedAt: undefined,
      output: undefined,
    };
    this.#operations.add(recorded);
    try {
      const output = await call();
      recorded.output = output;
      recorded.returnedAt = this.#now();
      recorded.returned = this.#sequence++;
      return output;
    } catch (error) {
      recorded.failedAt = this.#now();
      if (this.#meaningOf(error) === "not-applied") {
        this.#operations.delete(recorded);
        this.#refused.push(recorded);
      }
      throw error;
    }
  }
}

export function meaningOfError(error: unknown): ErrorMeaning {
  return error instanceof TenonError && error.outcome === "not-applied" ? "not-applied" : "unknown";
}
