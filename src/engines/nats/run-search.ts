/** What lies somewhere in a stream. */
interface Stored {
  readonly sequence: number;
}

/** The first run up to a sequence that is what is looked for, where all that follow it are, too. `runFrom`: the first run of the chain from a sequence on. */
export async function searchRuns<Found extends Stored>(
  last: number,
  runFrom: (sequence: number) => Promise<Found | undefined>,
  isFound: (run: Found) => boolean,
): Promise<Found | undefined> {
  let found: Found | undefined;
  let from = (await runFrom(1))?.sequence ?? 1;
  let to = last;
  while (from <= to) {
    const middle = Math.floor((from + to) / 2);
    const run = await runFrom(middle);
    if (run === undefined || isFound(run)) {
      found = run ?? found;
      to = middle - 1;
    } else from = run.sequence + 1;
  }
  return found;
}
