/** How far a topic's move has come, as its seal on the engine that it leaves says. */
export type MoveStage =
  /** Nothing is published any more; the rest is being copied. */
  | "closing"
  /** Everything is copied: publishers go to the other engine. Where the groups stand is being carried over. */
  | "copied"
  /** Consumers go there, too. */
  | "moved";

export interface MoveNote {
  readonly stage: MoveStage;
  /** Every grant of a lane so far had a fence of at most this. */
  readonly fence: bigint;
}

const pattern = /^tenon: (?:being moved, (closing|copied)|(moved), fences above (\d+))$/;

export function moveNote({ stage, fence }: MoveNote): string {
  return stage === "moved" ? `tenon: moved, fences above ${fence}` : `tenon: being moved, ${stage}`;
}

/** `undefined`: the topic is not sealed, or for another reason. */
export function readMoveNote(sealed: string | undefined): MoveNote | undefined {
  const match = sealed === undefined ? null : pattern.exec(sealed);
  if (match === null) return undefined;
  return match[2] === undefined
    ? { stage: match[1] as MoveStage, fence: 0n }
    : { stage: "moved", fence: BigInt(match[3]!) };
}
