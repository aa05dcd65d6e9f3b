import type { LaneProgress } from "../lane-progress.ts";
import { type Copying, copyingOf } from "./copying.ts";

/** A lane of delayed messages. */
export interface WaitingLane {
  readonly partition: number;
  readonly progress: LaneProgress;
  /** Where its partition ends. */
  readonly next: number;
}

/** How many messages wait in the lanes. What has been copied and is not settled yet waits no more: `isStored` says whether a copy is there. */
export async function countWaiting(
  lanes: readonly WaitingLane[],
  isStored: (copying: Copying, partition: number) => Promise<boolean>,
): Promise<number> {
  const counts = lanes.map(async ({ partition, progress, next }) => {
    const waiting = Math.max(0, progress.lag(next));
    const copying = copyingOf(progress.held);
    return copying !== undefined && (await isStored(copying, partition)) ? waiting - copying.positions.length : waiting;
  });
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}
