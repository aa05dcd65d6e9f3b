/** A bug that is put into Tenon's own source on purpose, to see whether the simulator finds it. */
export interface Canary {
  readonly name: string;
  /** The file that has it, from the repository's root. */
  readonly file: string;
  /** What stands in the file, exactly once. */
  readonly find: string;
  readonly replace: string;
  /** The scenario that is to find it. */
  readonly scenario: string;
  /** What the scenario is to say. */
  readonly rule: RegExp;
}

export class CanaryDoesNotFit extends Error {
  override readonly name = "CanaryDoesNotFit";
}

/** The file's text with the bug in it. */
export function withBug({ name, file, find, replace }: Canary, source: string): string {
  const count = source.split(find).length - 1;
  if (count === 1) return source.replace(find, () => replace);
  throw new CanaryDoesNotFit(
    `the canary "${name}" does not fit any more: ${file} holds its text ${count} times, not once. Say anew what it replaces.`,
  );
}
