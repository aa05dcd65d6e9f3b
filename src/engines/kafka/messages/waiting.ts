import type { NewMessage } from "../../../contracts/messages.ts";
import { type CheckedBatch, isDelayed } from "../../lanes/index.ts";

/** A batch, and whoever waits for its positions. */
export interface Waiting {
  readonly checked: CheckedBatch;
  readonly resolve: (positions: (bigint | undefined)[]) => void;
  readonly reject: (error: unknown) => void;
}

export function countOf({ checked }: Waiting): number {
  return checked.batch.messages.length;
}

/** They were stored one after the other, from this position on. What is delayed has a place among them, and no position. */
export function settle(taken: readonly Waiting[], first: number): void {
  let position = first;
  for (const { checked, resolve } of taken) {
    resolve(checked.batch.messages.map((message) => positionOf(message, position++)));
  }
}

function positionOf(message: NewMessage, position: number): bigint | undefined {
  return isDelayed(message) ? undefined : BigInt(position);
}

/** Where the delayed ones have their places, if there are any. */
export function placesIn(taken: readonly Waiting[], first: number): readonly number[] | undefined {
  if (taken.every(({ checked }) => !checked.special)) return undefined;
  const messages = taken.flatMap(({ checked }) => checked.batch.messages);
  return messages.flatMap((message, index) => (isDelayed(message) ? [first + index] : []));
}
