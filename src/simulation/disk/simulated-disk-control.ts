import type { DiskFailure } from "../../world/world.ts";
import type { CrashOutcome, FaultPlan, OperationKind, PlannedFault } from "./fault-plan.ts";
import type { SimulatedStorage } from "./simulated-storage.ts";

export interface FaultOptions {
  /** Only these kinds of operations are counted and struck; all of them when left out. */
  readonly kinds?: readonly OperationKind[] | undefined;
}

/** The test's hand on the simulated disk. */
export interface SimulatedDiskControl {
  /** How many operations (of these kinds) were asked for since the simulation began. */
  operations(kinds?: readonly OperationKind[]): number;
  /** Lets the `n`-th operation from now fail (1 is the next), alone or with all that follow. */
  failOperation(
    n: number,
    failure: DiskFailure,
    repeat: "once" | "from-then-on",
    options?: FaultOptions | undefined,
  ): PlannedFault;
  /**
   * Crashes the process at the `n`-th operation from now. `"before"`: it has no effect at all; `"during"`: it may have been done
   * wholly, in part, or not. The run that is under way then ends with a `SimulatedCrash`.
   */
  crashAtOperation(
    n: number,
    moment: "before" | "during",
    options?: (FaultOptions & { readonly outcome?: CrashOutcome | undefined }) | undefined,
  ): PlannedFault;
  /** Withdraws every planned failure and crash. */
  clearFaults(): void;
  /** The bytes as a process would read them; `missing` when there is no such file. */
  readFile(path: string): Uint8Array;
  /** Stores a file durably, at once, making its directory when needed. */
  writeFile(path: string, content: Uint8Array): void;
  /** Flips one bit of what is stored, counted from the file's start; bit 0 is the lowest of the first byte. */
  flipBit(path: string, bit: number): void;
}

export class DiskControl implements SimulatedDiskControl {
  readonly #storage: SimulatedStorage;
  readonly #faults: FaultPlan;

  constructor(storage: SimulatedStorage, faults: FaultPlan) {
    this.#storage = storage;
    this.#faults = faults;
  }

  operations(kinds?: readonly OperationKind[]): number {
    return this.#faults.count(kinds);
  }

  failOperation(
    n: number,
    failure: DiskFailure,
    repeat: "once" | "from-then-on",
    options: FaultOptions = {},
  ): PlannedFault {
    return this.#faults.add(n, { type: "fail", failure }, repeat === "from-then-on", options.kinds);
  }

  crashAtOperation(
    n: number,
    moment: "before" | "during",
    options: FaultOptions & { readonly outcome?: CrashOutcome | undefined } = {},
  ): PlannedFault {
    const outcome = options.outcome ?? "seeded";
    return this.#faults.add(n, { type: "crash", moment, outcome }, false, options.kinds);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  readFile(path: string): Uint8Array {
    return this.#storage.tree.find("read", path).cache.slice();
  }

  writeFile(path: string, content: Uint8Array): void {
    this.#storage.put(path, content);
  }

  flipBit(path: string, bit: number): void {
    const content = this.readFile(path);
    const index = Math.floor(bit / 8);
    if (!(index >= 0 && index < content.byteLength)) {
      throw new RangeError(`${path} has ${content.byteLength * 8} bits, there is no bit ${bit}`);
    }
    content[index] = content[index]! ^ (1 << (bit % 8));
    this.#storage.put(path, content);
  }
}
