import type { CheckedBatch } from "../../lanes/index.ts";

/** A batch, and whoever waits for its positions. */
export interface Waiting {
  readonly checked: CheckedBatch;
  readonly resolve: (positions: bigint[]) => void;
  readonly reject: (error: unknown) => void;
}

export function countOf({ checked }: Waiting): number {
  return checked.batch.messages.length;
}

/** They were stored one after the other, from this position on. */
export function settle(taken: readonly Waiting[], first: number): void {
  let position = first;
  for (const { checked, resolve } of taken) resolve(checked.batch.messages.map(() => BigInt(position++)));
}
