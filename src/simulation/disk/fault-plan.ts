import type { DiskFailure } from "../../world/world.ts";

/** The disk's operations that are counted and can be made to fail. */
export type OperationKind =
  | "open"
  | "append"
  | "read"
  | "sync"
  | "truncate"
  | "rewrite"
  | "rename"
  | "remove"
  | "syncDirectory";

/**
 * What is left on the disk. `"process"`: only the process died; everything written is still there, and still not synced.
 * The others are the whole machine's end: what was not synced is `"lost"`, is `"kept"`, or the seed decides (`"seeded"`)
 * for every file and name, down to single sectors, which then may be torn.
 */
export type CrashOutcome = "process" | "lost" | "kept" | "seeded";

export type Verdict =
  | { readonly type: "fail"; readonly failure: DiskFailure }
  | { readonly type: "crash"; readonly moment: "before" | "during"; readonly outcome: CrashOutcome };

/** A fault that waits for its operation. */
export interface PlannedFault {
  /** Whether it has struck. A loop over N = 1, 2, 3 … ends with the first that has not. */
  readonly struck: boolean;
  /** Withdraws it, also one that strikes from then on. */
  cancel(): void;
}

/** Which of the coming operations fail, or take the process with them. */
export class FaultPlan {
  readonly #faults = new Set<Fault>();
  readonly #counts = new Map<OperationKind, number>();

  /** How many operations were asked for so far, of these kinds or of all. */
  count(kinds?: readonly OperationKind[]): number {
    let total = 0;
    for (const [kind, count] of this.#counts) if (kinds === undefined || kinds.includes(kind)) total += count;
    return total;
  }

  /** `n` counts the operations of the kinds from now on; 1 is the next one. */
  add(n: number, verdict: Verdict, repeats: boolean, kinds: readonly OperationKind[] | undefined): PlannedFault {
    if (!Number.isSafeInteger(n) || n < 1) throw new RangeError(`operations are counted from 1, not ${n}`);
    const fault = new Fault(n, verdict, repeats, kinds, () => this.#faults.delete(fault));
    this.#faults.add(fault);
    return fault;
  }

  clear(): void {
    this.#faults.clear();
  }

  /** Counts an operation and says what becomes of it; `undefined`: it is done. Every fault counts it, the first one decides. */
  next(kind: OperationKind): Verdict | undefined {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    let verdict: Verdict | undefined;
    for (const fault of this.#faults) verdict = fault.next(kind, verdict) ?? verdict;
    return verdict;
  }
}

class Fault implements PlannedFault {
  readonly #verdict: Verdict;
  readonly #repeats: boolean;
  readonly #kinds: readonly OperationKind[] | undefined;
  readonly cancel: () => void;
  #left: number;
  #struck = false;

  constructor(
    n: number,
    verdict: Verdict,
    repeats: boolean,
    kinds: readonly OperationKind[] | undefined,
    cancel: () => void,
  ) {
    this.#left = n;
    this.#verdict = verdict;
    this.#repeats = repeats;
    this.#kinds = kinds;
    this.cancel = cancel;
  }

  get struck(): boolean {
    return this.#struck;
  }

  next(kind: OperationKind, decided: Verdict | undefined): Verdict | undefined {
    if (this.#kinds !== undefined && !this.#kinds.includes(kind)) return undefined;
    this.#left -= 1;
    if (this.#left > 0 || decided !== undefined) return undefined;
    this.#struck = true;
    if (!this.#repeats) this.cancel();
    return this.#verdict;
  }
}
