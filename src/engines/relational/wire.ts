import type { Parameter, Row, Statement } from "./sql.ts";

/** One client of the user's, as a session uses it. Nothing is asked while the answer before is missing, unless it pipelines. */
export interface Wire {
  /**
   * What is asked while answers are missing is sent at once, and carried out in that order; a statement that fails in a transaction has everything behind it refused, the commit included.
   * When left out, it does not.
   */
  readonly pipelines?: boolean;
  /** Connects, and sets what the engine rests on. */
  open(): Promise<unknown>;
  run(statement: Statement, values: readonly Parameter[]): Promise<readonly Row[]>;
  /** Without values. */
  simple(text: string): Promise<unknown>;
  /** Rejects when the server answers that it rolled back. */
  commit(): Promise<unknown>;
  /** Calls back when the connection is over, or in trouble, though nobody asked anything. */
  onBreak(hear: (error: Error) => void): void;
  /** Takes leave of the server, which may have no answer. */
  leave(): Promise<unknown>;
  /** Cuts the connection without waiting for anything. Idempotent. */
  cut(): void;
}
