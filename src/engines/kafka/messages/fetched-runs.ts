import type { FetchedRun } from "../../lanes/index.ts";
import type { RecordBatch } from "../fetching/record-batch.ts";
import { runsIn } from "./record-run.ts";

export interface FetchedRuns {
  readonly runs: readonly FetchedRun[];
  /** Positions between `from` and `end` that hold no message: marks of transactions, and what was compacted or deleted. */
  readonly gaps: readonly { readonly from: number; readonly to: number }[];
  /** Everything below was looked at. */
  readonly end: number;
}

/** Batches from a position on as runs of messages. */
export function runsOf(batches: readonly RecordBatch[], from: number): FetchedRuns {
  const runs: FetchedRun[] = [];
  const gaps: { from: number; to: number }[] = [];
  let end = from;
  const skipTo = (position: number) => {
    if (position <= end) return;
    const last = gaps.at(-1);
    if (last?.to === end) last.to = position;
    else gaps.push({ from: end, to: position });
    end = position;
  };
  for (const batch of batches) {
    for (const run of runsIn(batch, from)) {
      skipTo(run.position);
      runs.push(run);
      end = run.end;
    }
    skipTo(batch.end);
  }
  return { runs, gaps, end };
}
