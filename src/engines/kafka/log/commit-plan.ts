import type { LogCommit, NewRecord } from "../../../contracts/log.ts";
import { toPosition } from "../../lanes/positions.ts";
import type { JournaledLog } from "../journal/log.ts";
import type { CommittedCommand } from "../journal/log-commands.ts";

/** What of an output has to be stored. */
export interface PlannedOutput {
  readonly log: JournaledLog;
  readonly partition: number;
  /** Names the partition of the log. */
  readonly place: string;
  readonly records: readonly NewRecord[];
  /** The last sequence; `undefined`: its records have none. */
  readonly last: number | undefined;
  /** The first record's position, when it is stored. */
  first: number | undefined;
}

/** How many records of an output are left out, and what is stored of the others. */
interface Answer {
  readonly known: number;
  readonly output: PlannedOutput | undefined;
}

/** What a commit has to do: without what is known already by its sequence. */
export class CommitPlan {
  readonly outputs: readonly PlannedOutput[];
  readonly committed: CommittedCommand | undefined;
  readonly #answers: readonly Answer[];

  constructor(answers: readonly Answer[], committed: CommittedCommand) {
    this.#answers = answers;
    this.outputs = answers.flatMap(({ output }) => output ?? []);
    const says = committed.positions.length + committed.sequences.length > 0;
    this.committed = says ? committed : undefined;
  }

  get isEmpty(): boolean {
    return this.outputs.length === 0 && this.committed === undefined;
  }

  get positions(): readonly (readonly (bigint | undefined)[])[] {
    return this.#answers.map(({ known, output }) => [
      ...new Array<undefined>(known).fill(undefined),
      ...(output?.records ?? []).map((_, index) => toPosition(output!.first! + index)),
    ]);
  }
}

/** `stored`: by place, what the journal does not say yet of the last sequences. */
export function planOf(
  writer: string,
  { outputs = [], positions = [] }: LogCommit,
  logs: ReadonlyMap<string, JournaledLog>,
  stored: ReadonlyMap<string, number>,
): CommitPlan {
  const answers = outputs.map(({ log: name, partition, records, sequences }): Answer => {
    const log = logs.get(name)!;
    const place = `${partition}/${log.number}`;
    if (sequences === undefined) {
      return { known: 0, output: { log, partition, place, records, last: undefined, first: undefined } };
    }
    const last = Math.max(log.sequence(writer, partition), stored.get(place) ?? -1);
    const fresh = sequences.findIndex((sequence) => sequence > last);
    if (fresh < 0) return { known: records.length, output: undefined };
    const rest = records.slice(fresh);
    const output = { log, partition, place, records: rest, last: Number(sequences.at(-1)), first: undefined };
    return { known: fresh, output };
  });
  return new CommitPlan(answers, {
    kind: "committed",
    writer,
    positions: positions.map(({ reader, log, partition, position }) => [
      logs.get(log)!.number,
      partition,
      reader,
      Number(position),
    ]),
    sequences: answers.flatMap(({ output }): CommittedCommand["sequences"] =>
      output?.last === undefined ? [] : [[output.log.number, output.partition, output.last]],
    ),
  });
}
