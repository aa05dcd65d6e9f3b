export interface Output {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** What a command has from the process that it runs in. */
export interface Surroundings {
  /** Where relative paths begin. */
  readonly directory: string;
  /** Aborts with the name of the system's signal. */
  readonly signal: AbortSignal;
  readonly out: Output;
  readonly error: Output;
}
