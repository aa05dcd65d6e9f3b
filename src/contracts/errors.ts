/** What went wrong, as a closed set; a caller may switch over it. */
export type ErrorCode =
  /** The thing named does not exist. */
  | "not-found"
  /** It exists differently, or a condition did not hold. */
  | "conflict"
  /** The time allowed has passed. */
  | "timeout"
  /** The engine cannot be reached or cannot serve now; trying again later may succeed. */
  | "unavailable"
  /** This engine cannot do that, ever. */
  | "unsupported"
  /** The argument is wrong. */
  | "invalid"
  /** A limit is reached: full disk, full buffer, full topic. Trying again later may succeed. */
  | "overloaded"
  /** Ownership (of a lane, a producer epoch, a lease) has passed to somebody else. */
  | "lost"
  /** Stored bytes are not what was written. */
  | "corrupt"
  /** It was closed before. */
  | "closed"
  /** Not allowed. */
  | "denied";

/** Whether the change asked for has happened. Only `"unknown"` may have happened or not. */
export type Outcome = "not-applied" | "applied" | "unknown";

export interface ErrorDetails {
  /** `"not-applied"` when left out. */
  readonly outcome?: Outcome | undefined;
  /** Identifiers and figures: topic, partition, limit, … Never a payload, a parameter or a credential. */
  readonly fields?: Readonly<Record<string, string | number | bigint | boolean>> | undefined;
  readonly cause?: unknown;
}

/** Every operating error of Tenon. Programmer errors inside Tenon are `AssertionError`s. */
export class TenonError extends Error {
  override readonly name: string = "TenonError";
  readonly code: ErrorCode;
  readonly outcome: Outcome;
  readonly fields: Readonly<Record<string, string | number | bigint | boolean>>;

  /** `message` says what failed, on which identifiers, and the next step. */
  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.outcome = details.outcome ?? "not-applied";
    this.fields = details.fields ?? {};
  }
}

/** Whether it is an operating error of one of these kinds. */
export function isCode(error: unknown, ...codes: readonly ErrorCode[]): error is TenonError {
  return error instanceof TenonError && codes.includes(error.code);
}

/** A bug in Tenon itself. It is checked in production too; please report it. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Holds an invariant of our own code. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}
