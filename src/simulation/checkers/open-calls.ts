import type { Operation } from "./operation-history.ts";

/** An operation in the doubly linked list of those that returned and have no place in the order yet. */
export interface CallEntry<Input, Output> {
  readonly operation: Operation<Input, Output>;
  /** Among those that returned, or among those that did not, by their calls. */
  readonly index: number;
  readonly rank: bigint | undefined;
  previous: CallEntry<Input, Output> | undefined;
  next: CallEntry<Input, Output> | undefined;
}

/**
 * The operations that have no place in the order yet, by their calls. They are taken out and put back in the manner of a stack, which is what makes a linked
 * list fit: whoever is put back finds its neighbours as it left them.
 */
export class OpenCalls<Input, Output> {
  readonly count: number;
  readonly #head: CallEntry<Input, Output>;
  /** Those whose outcome nobody knows; they may stay here for ever. */
  readonly #unknown: readonly CallEntry<Input, Output>[];
  /** Those that must follow each other in this order, and how many of them have a place. */
  readonly #ranked: readonly CallEntry<Input, Output>[];
  #rankedPlaced = 0;
  /** Bit by bit, which operations that returned have a place. */
  readonly #placed: Uint16Array;
  /** Bit by bit, which of the others do. */
  #unknownPlaced = 0n;

  constructor(
    operations: readonly Operation<Input, Output>[],
    rankOf: (operation: Operation<Input, Output>) => bigint | undefined,
  ) {
    this.count = operations.length;
    const inOrder = operations.toSorted((a, b) => a.called - b.called);
    const entry = (operation: Operation<Input, Output>, index: number): CallEntry<Input, Output> => {
      const rank = operation.returned === undefined ? undefined : rankOf(operation);
      return { operation, index, rank, previous: undefined, next: undefined };
    };
    const calls = inOrder.filter(({ returned }) => returned !== undefined).map(entry);
    this.#unknown = inOrder.filter(({ returned }) => returned === undefined).map(entry);
    this.#ranked = calls.filter(({ rank }) => rank !== undefined).sort((a, b) => (a.rank! < b.rank! ? -1 : 1));
    this.#placed = new Uint16Array(Math.ceil(calls.length / 16));
    this.#head = { operation: undefined as never, index: -1, rank: undefined, previous: undefined, next: undefined };
    let previous = this.#head;
    for (const call of calls) {
      previous.next = call;
      call.previous = previous;
      previous = call;
    }
  }

  /** The operation that returned before all others that have no place yet. When there is none, the order is complete. */
  get firstReturn(): CallEntry<Input, Output> | undefined {
    let first = this.#head.next;
    for (let call = first; call !== undefined; call = call.next) {
      if (call.operation.called > first!.operation.returned!) break;
      if (call.operation.returned! < first!.operation.returned!) first = call;
    }
    return first;
  }

  /** What may be next in the order: whatever was called before the first return. Those that returned come first, for the others may never have happened. */
  candidates(): readonly CallEntry<Input, Output>[] {
    const first = this.firstReturn;
    if (first === undefined) return [];
    const until = first.operation.returned!;
    const found: CallEntry<Input, Output>[] = [];
    for (let call = this.#head.next; call !== undefined && call.operation.called < until; call = call.next) {
      if (call.rank === undefined || call === this.#ranked[this.#rankedPlaced]) found.push(call);
    }
    for (const call of this.#unknown) {
      if (call.operation.called < until && (this.#unknownPlaced & (1n << BigInt(call.index))) === 0n) found.push(call);
    }
    return found;
  }

  takeOut(call: CallEntry<Input, Output>): void {
    if (call.operation.returned === undefined) {
      this.#unknownPlaced |= 1n << BigInt(call.index);
      return;
    }
    if (call.rank !== undefined) this.#rankedPlaced += 1;
    this.#placed[call.index >>> 4]! |= 1 << (call.index & 15);
    call.previous!.next = call.next;
    if (call.next !== undefined) call.next.previous = call.previous;
  }

  /** Of those that were taken out, the last one. */
  putBack(call: CallEntry<Input, Output>): void {
    if (call.operation.returned === undefined) {
      this.#unknownPlaced &= ~(1n << BigInt(call.index));
      return;
    }
    if (call.rank !== undefined) this.#rankedPlaced -= 1;
    this.#placed[call.index >>> 4]! &= ~(1 << (call.index & 15));
    call.previous!.next = call;
    if (call.next !== undefined) call.next.previous = call;
  }

  /** Equal when the same operations of those that returned have a place. */
  get placedKey(): string {
    return String.fromCharCode(...this.#placed);
  }

  /** Which of the others have a place, bit by bit. */
  get unknownPlaced(): bigint {
    return this.#unknownPlaced;
  }
}
