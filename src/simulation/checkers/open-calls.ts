import type { Operation } from "./operation-history.ts";

/** An operation in the doubly linked list of those that returned and have no place in the order yet. */
export interface CallEntry<Input, Output> {
  readonly operation: Operation<Input, Output>;
  /** Among all operations, by their calls. */
  readonly index: number;
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
  /** Bit by bit, which operations have a place. */
  readonly #placed: Uint16Array;

  constructor(operations: readonly Operation<Input, Output>[]) {
    this.count = operations.length;
    this.#placed = new Uint16Array(Math.ceil(operations.length / 16));
    const calls = operations
      .toSorted((a, b) => a.called - b.called)
      .map(
        (operation, index): CallEntry<Input, Output> => ({ operation, index, previous: undefined, next: undefined }),
      );
    this.#unknown = calls.filter(({ operation }) => operation.returned === undefined);
    this.#head = { operation: undefined as never, index: -1, previous: undefined, next: undefined };
    let previous = this.#head;
    for (const call of calls) {
      if (call.operation.returned === undefined) continue;
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
      found.push(call);
    }
    for (const call of this.#unknown) {
      if (call.operation.called < until && !this.#isPlaced(call)) found.push(call);
    }
    return found;
  }

  takeOut(call: CallEntry<Input, Output>): void {
    this.#placed[call.index >>> 4]! |= 1 << (call.index & 15);
    if (call.previous === undefined) return;
    call.previous.next = call.next;
    if (call.next !== undefined) call.next.previous = call.previous;
  }

  /** Of those that were taken out, the last one. */
  putBack(call: CallEntry<Input, Output>): void {
    this.#placed[call.index >>> 4]! &= ~(1 << (call.index & 15));
    if (call.previous === undefined) return;
    call.previous.next = call;
    if (call.next !== undefined) call.next.previous = call;
  }

  /** Equal when the same operations have a place. */
  get placedKey(): string {
    return String.fromCharCode(...this.#placed);
  }

  #isPlaced({ index }: CallEntry<Input, Output>): boolean {
    return (this.#placed[index >>> 4]! & (1 << (index & 15))) !== 0;
  }
}
